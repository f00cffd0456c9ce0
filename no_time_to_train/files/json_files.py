"""JSON and text files that others wrote: whatever is wrong with one is one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from no_time_to_train.errors import InputError

_LARGEST_NUMBER = 1e300
"""Beyond any measure, and still a float."""


def read_json(path: Path) -> Any:
    """Read a JSON file, with or without a byte order mark.

    Raises:
        InputError: it is not JSON, not UTF-8, or nested too deeply to be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # JSON and Unicode errors, and numbers of too many digits
        raise InputError(f"{path} is not valid JSON ({error}). Export it again.") from error
    except RecursionError as error:
        raise InputError(f"{path} is not what it should be: its JSON is nested too deeply. Export it again.") from error


def read_text(path: Path) -> str:
    """Read a UTF-8 text file that others wrote, with or without a byte order mark.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}). Export it again.") from error


def is_number(value: object) -> bool:
    """Return whether a JSON value is a finite number that a float can hold; true and false are none."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER  # false for NaN
    )


def is_whole_number(value: object) -> bool:
    """Return whether a JSON value is an integer that NumPy's int64 holds exactly as a float does."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53


def is_id(value: object) -> bool:
    """Return whether a JSON value can name an image: a whole number, or text that is not empty."""
    return is_whole_number(value) or (isinstance(value, str) and value != "")


def is_text(value: object) -> bool:
    """Return whether a JSON value is text that can be written; half a surrogate pair cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_json_or(path: Path, default: Any) -> Any:
    """Read a JSON file of ours; return the default where there is none.

    Raises:
        InputError: the file is damaged.
    """
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}).") from error
