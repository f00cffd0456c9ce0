from __future__ import annotations

import ast
import pickle
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from no_time_to_train import errors
from no_time_to_train.commands import build_parser, flags
from no_time_to_train.errors import InputError, InputFileNotFoundError, NoTimeToTrainError, Parameter


def test_a_parameter_reads_as_python_does() -> None:
    assert str(Parameter("out", Path("a b"))) == "out='a b'"
    assert str(Parameter("categories", ["boat"])) == "categories=['boat']"
    assert str(Parameter("benchmark.images", "FOLDER")) == "benchmark.images=FOLDER"


@pytest.mark.parametrize(
    ("verb", "parameter", "spelled"),
    [
        ("label", Parameter("overwrite", True), "--overwrite"),
        ("label", Parameter("images", Path("a")), "--ref-images a"),
        ("label", Parameter("categories", ["a", "b"]), "--classes a,b"),
        ("compare-proposals", Parameter("images", "a"), "--images a"),
        ("eval", Parameter("match_by_name", True), "--match-by-name"),
        ("eval", Parameter("images", "FOLDER"), "--gt-images FOLDER"),
        ("eval", Parameter("crowds_are_objects", True), "--crowds-are-objects"),
        ("bench", Parameter("overwrite", True), "overwrite=True"),
        ("label", Parameter("benchmark.images", "a"), "benchmark.images=a"),
    ],
)
def test_a_command_reads_its_own_flags(verb: str, parameter: Parameter, spelled: str) -> None:
    [parsers] = [action.choices for action in build_parser([verb])._actions if action.choices]
    assert flags.spell_flag(parameter, parsers[verb]) == spelled


ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, NoTimeToTrainError)]


@pytest.mark.parametrize("kind", ALL)
def test_errors_travel_between_processes(kind: type[NoTimeToTrainError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what", parameters=[Parameter("out", "b")])))
    assert str(error) == "what" and error.parameters == (Parameter("out", "b"),)
    assert error.exit_code in (1, 3)


ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {"hydra-core": "hydra", "pillow": "PIL", "pyyaml": "yaml", "rf-sam-2": "sam2"}
INSTALLED_AS = {"faiss": "faiss-cpu", "hydra_plugins": "hydra-joblib-launcher"}
SAID_ELSEWHERE = {"pillow_heif"}  # by images.missing_decoder


def packages_of(extra: str) -> set[str]:
    """Names of all packages that an extra of pyproject.toml brings."""
    needed = list(map(Requirement, PROJECT["optional-dependencies"][extra]))
    own = [part for item in needed if item.name == PROJECT["name"] for part in item.extras]
    return {item.name for item in needed}.union(*map(packages_of, own))


def imported_packages() -> set[str]:
    """Every package outside the standard library that a module of this one imports."""
    found = set()
    for path in (ROOT / "no_time_to_train").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"no_time_to_train"}


@pytest.mark.parametrize("module", errors._OPTIONAL)
def test_a_missing_package_is_in_the_extra_that_is_named(module: str) -> None:
    extra, _ = errors._OPTIONAL[module]
    assert INSTALLED_AS.get(module, module.replace("_", "-")) in packages_of(extra)
    message = str(errors.missing_package(ModuleNotFoundError(name=f"{module}.part")))
    assert message.endswith(f": pip install '.[{extra}]' in the repository's folder.")


def test_every_optional_package_names_its_extra() -> None:
    always = {Requirement(text).name for text in PROJECT["dependencies"]}
    always = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in always}
    assert imported_packages() - always - SAID_ELSEWHERE <= set(errors._OPTIONAL)


def test_every_extra_that_is_written_anywhere_exists() -> None:
    files = [*(ROOT / "no_time_to_train").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    texts = [path.read_text(encoding="utf-8") for path in files]
    named = {name for text in texts for name in re.findall(r"install_command\([\"']([a-z-]+)[\"']\)", text)}
    listed = {name for text in texts for name in re.findall(r"'\.\[([a-z,-]+)\]'", text)}
    assert {"bench", "heic"} <= named and {"all", "video"} <= listed
    assert named.union(*(names.split(",") for names in listed)) <= set(PROJECT["optional-dependencies"])


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(InputError, ValueError)
    with pytest.raises(FileNotFoundError, match="gone"):
        raise InputFileNotFoundError("gone")
