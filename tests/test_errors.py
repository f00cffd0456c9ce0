from __future__ import annotations

import pickle
from pathlib import Path

import pytest

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


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(InputError, ValueError)
    with pytest.raises(FileNotFoundError, match="gone"):
        raise InputFileNotFoundError("gone")
