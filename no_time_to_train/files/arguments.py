"""What callers from Python give, checked: paths, counts and lists of text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

from no_time_to_train.errors import InputError, Parameter


@overload
def as_path(value: object, name: str, *, optional: Literal[False] = False) -> Path: ...
@overload
def as_path(value: object, name: str, *, optional: Literal[True]) -> Path | None: ...
def as_path(value: object, name: str, *, optional: bool = False) -> Path | None:
    """Return a path that a caller gave as text or ``pathlib.Path``.

    Args:
        value: what came.
        name: of the argument, for the message.
        optional: None stays None.

    Raises:
        InputError: it is no path, or empty.

    Example:
        >>> from no_time_to_train.files.arguments import as_path
        >>> as_path("photos", "images").name
        'photos'
    """
    if value is None and optional:
        return None
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        came = repr(value)[:60] if isinstance(value, str) else type(value).__name__
        raise InputError(f"{name} must be a path (text or pathlib.Path), got {came}.")
    return Path(value)


def as_count(value: object, name: str) -> int | None:
    """Return a number of things above 0, or None.

    Raises:
        InputError: it is anything else.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    came = Parameter(name, value)
    raise InputError(f"{came} must be a whole number above 0.", parameters=[came])


def as_texts(values: object, name: str, example: str) -> Sequence[str]:
    """Return a list of text; a single text is none, as its letters would be read one by one.

    Raises:
        InputError: it is anything else.

    Example:
        >>> from no_time_to_train.files.arguments import as_texts
        >>> as_texts(["boat", "bird"], "categories", "boat")
        ['boat', 'bird']
    """
    if isinstance(values, Sequence) and not isinstance(values, str) and all(isinstance(text, str) for text in values):
        return values
    raise InputError(f"{name} must be a list of text such as ['{example}'], got {str(values)[:60]!r}.")
