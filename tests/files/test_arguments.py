from __future__ import annotations

import sys
from pathlib import Path

import pytest

from no_time_to_train.errors import InputError
from no_time_to_train.files.arguments import as_count, as_function, as_object, as_path, as_texts


def test_paths() -> None:
    assert as_path("a/b", "images") == as_path(Path("a/b"), "images") == Path("a/b")
    assert as_path(None, "out", optional=True) is None


@pytest.mark.parametrize(
    ("value", "came"),
    [(None, "NoneType"), (3, "int"), (b"a", "bytes"), (["a"], "list"), ("", "''"), ("a\0b", r"'a\\x00b'")],
)
def test_what_is_no_path(value: object, came: str) -> None:
    with pytest.raises(InputError, match=rf"images must be a path \(text or pathlib.Path\), got {came}"):
        as_path(value, "images")


def test_counts() -> None:
    assert as_count(None, "limit") is None
    assert as_count(3, "limit") == 3
    assert as_count(10**400, "limit") == sys.maxsize  # what islice takes
    for value in (0, -1, 0.5, "3", True, float("nan")):
        with pytest.raises(InputError, match="limit=.* must be a whole number above 0"):
            as_count(value, "limit")


def test_lists_of_text() -> None:
    assert as_texts(("a", "b"), "categories", "boat") == ("a", "b")
    assert as_texts([], "categories", "boat") == []
    for value in ("boat", [3], [None], 3, {"boat": 1}, None, [b"a"]):
        with pytest.raises(InputError, match=r"categories must be a list of text such as \['boat'\], got"):
            as_texts(value, "categories", "boat")


def test_objects_and_functions() -> None:
    assert as_object(Path("a"), Path, "place", "pathlib").name == "a"
    with pytest.raises(InputError, match="place must be a Path, as pathlib makes it, got int"):
        as_object(3, Path, "place", "pathlib")
    assert as_function(print, "on_progress") is print
    with pytest.raises(InputError, match="on_progress must be a function, got int"):
        as_function(3, "on_progress")
