from __future__ import annotations

import importlib.metadata
from email.message import Message

import pytest
from packaging.requirements import Requirement

from no_time_to_train.errors import EnvironmentProblemError, missing_package
from no_time_to_train.files import packages


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    message = Message()
    for line in (
        "numpy>=1.26",
        'uvloop; sys_platform == "nowhere"',
        'av>=14; extra == "video"',
        'lvis; extra == "lvis"',
    ):
        message["Requires-Dist"] = line
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: message)


def test_what_is_always_needed_and_what_an_extra_adds(metadata: None) -> None:
    assert [str(requirement) for requirement in packages.requirements()] == ["numpy>=1.26"]
    assert [requirement.name for requirement in packages.requirements("video")] == ["av"]
    assert list(packages.requirements("nothing")) == []


def test_a_folder_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def metadata(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", metadata)
    with pytest.raises(EnvironmentProblemError, match="pip install ."):
        list(packages.requirements())


@pytest.mark.parametrize("name", ["sam2", "SAM-2"])
def test_another_sam2_does_as_well(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def version(package: str) -> str:
        if package != name:
            raise importlib.metadata.PackageNotFoundError(package)
        return "1.1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert packages.installed_version("rf-sam-2") == f"1.1.0 of {name}"
    assert packages.is_satisfied(Requirement("rf-sam-2~=1.0.3"))
    assert packages.installed_version("numpy") is None and not packages.is_satisfied(Requirement("numpy"))


def test_an_old_version_does_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "1.9")
    assert packages.is_satisfied(Requirement("numpy>=1.9")) and not packages.is_satisfied(Requirement("numpy>=2"))


@pytest.mark.parametrize(
    ("module", "extra"), [("pytorch_lightning.loggers", "bench"), ("av", "video"), ("faiss", "faiss"), ("lvis", "lvis")]
)
def test_missing_packages_name_their_extra(module: str, extra: str) -> None:
    error = missing_package(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert f"pip install '.[{extra}]'" in str(error) and error.exit_code == 3


def test_other_missing_packages_lead_to_the_doctor() -> None:
    error = missing_package(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert str(error) == "No module named 'torch'. `nttt doctor` shows what is missing."
