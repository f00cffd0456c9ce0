from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Mapping

import pytest
from packaging.requirements import Requirement

from no_time_to_train.commands import main
from no_time_to_train.files import packages
from no_time_to_train.tasks import doctor
from no_time_to_train.tasks.doctor import Check

ASKED = {"": ["numpy>=1.26", "pillow>=10", "rf-sam-2~=1.0.3"], "video": ["av>=14", "scipy>=1.11"]}


def installed(versions: Mapping[str, str]) -> Callable[[str], str]:
    """A machine on which just these packages are installed."""

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    return version


def test_this_machine(capsys) -> None:
    """Whatever is found, every check gives a finding, and the exit code says whether one is broken."""
    code = main(["doctor"])
    output = capsys.readouterr()
    lines = [line.split() for line in output.out.splitlines()]
    names = [line[0] for line in lines[: len(doctor.CHECKS)]]
    assert names == [check.__name__.removeprefix("check_") for check in doctor.CHECKS]
    broken = any(line[1] == "broken" for line in lines[: len(names)])
    assert code == (3 if broken else 0)


def test_something_broken_exits_with_3(monkeypatch, capsys) -> None:
    checks = (lambda: Check("one", "ok", "fine"), lambda: Check("two", "broken", "pip install two"))
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert main(["doctor"]) == 3
    output = capsys.readouterr()
    assert output.out.splitlines() == ["one  ok      fine", "two  broken  pip install two"]
    assert output.err == "Loading ...\n1 of 2 checks failed: two.\n"


def test_torchvision_of_another_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(name: str):
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(importlib, "import_module", import_module)
    finding = doctor.check_torchvision()
    assert finding.state == "broken"
    assert "(operator torchvision::nms does not exist)" in finding.text and "pip install" in finding.text


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(name: str):
        raise ImportError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", import_module)
    assert doctor.check_torch().state == "broken"
    assert {check().state for check in (doctor.check_gpu, doctor.check_weights, doctor.check_compiler)} == {"note"}
    assert {check().state for check in (doctor.check_cpu, doctor.check_threads)} == {"ok"}


def test_a_missing_compiler_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    finding = doctor.check_compiler()
    assert finding.state == "note" and "no C++ compiler" in finding.text and "apt install g++" in finding.text
    assert "$CXX is 'no-such-compiler'" in finding.text and "at half the speed" in finding.text


def test_a_compiler_is_named_with_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", f"{sys.executable} -O1")
    finding = doctor.check_compiler()
    assert finding.state == "ok" and finding.text.startswith(f"{sys.executable} -O1: the first run on a CPU compiles")


def test_missing_and_old_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "requirements", lambda extra="": map(Requirement, ASKED.get(extra, [])))
    monkeypatch.setattr(
        packages.importlib.metadata, "version", installed({"numpy": "1.20", "av": "15.0", "SAM-2": "1.0"})
    )
    finding = doctor.check_packages()
    assert finding.state == "broken"
    assert finding.text == "numpy 1.20 (needs >=1.26), pillow missing. Fix: pip install 'numpy>=1.26' 'pillow>=10'"
    optional = doctor.check_optional()
    assert optional.text.startswith("not installed: video: scipy. To have them: pip install '.[video]'")


def test_what_is_there_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "requirements", lambda extra="": map(Requirement, ASKED.get(extra, [])))
    versions = {"numpy": "2.0", "pillow": "11.0", "rf-sam-2": "1.0.3", "av": "15.0", "scipy": "1.15"}
    monkeypatch.setattr(packages.importlib.metadata, "version", installed(versions))
    assert doctor.check_packages() == Check("packages", "ok", "numpy 2.0, pillow 11.0, rf-sam-2 1.0.3")
    assert doctor.check_optional().state == "ok"
