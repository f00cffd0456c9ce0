"""What callers from Python give, checked: paths, counts and lists of text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar, overload

from no_time_to_train.errors import InputError, Parameter

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., object])


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
    """Return a number of things above 0, or None; one beyond all counting becomes the largest that can be counted to.

    Raises:
        InputError: it is anything else.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value and min(value, sys.maxsize)
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


def as_object(value: object, kind: type[_T], name: str, source: str) -> _T:
    """Return an object that only the package makes.

    Args:
        value: what came.
        kind: its class.
        name: of the argument, for the message.
        source: what makes one, for the message.

    Raises:
        InputError: it is anything else.
    """
    if isinstance(value, kind):
        return value
    raise InputError(f"{name} must be a {kind.__name__}, as {source} makes it, got {type(value).__name__}.")


def as_function(value: _F, name: str) -> _F:
    """Return what can be called.

    Raises:
        InputError: it cannot.
    """
    if callable(value):
        return value
    raise InputError(f"{name} must be a function, got {type(value).__name__}.")
