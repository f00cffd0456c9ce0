"""One setting, one field: its help, choices, range and whether it can change a result stand beside its default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field
from typing import Any, Literal, TypeVar, cast

_KEY = "setting"
_T = TypeVar("_T")

Scope = Literal["method", "propose", "track", "bench", "evaluation"]
"""What a section is for: the method itself, or one command alone."""


@dataclass(frozen=True)
class Facts:
    """What is known of a setting, or of a section of settings, beside its default.

    Attributes:
        help: one or two sentences, with units.
        choices: the allowed values; None: any.
        between: lowest and highest allowed number, both included; of a list, of each of its items.
        when: names of neighboring settings and the values of them with which this one is used; None: with any.
        affects_results: False where only speed, place or looks can change.
        is_file: the contents of the named file or folder count, not where it is.
        scope: of a section; the settings below it have it too.
        one_of: of a section; the neighboring setting that names the sections in use, this one's field name among them.
        component: of a section; ``module:Class`` that is made from it.
    """

    help: str
    choices: tuple[str, ...] | None = None
    between: tuple[float, float] | None = None
    when: Mapping[str, tuple[str, ...]] | None = None
    affects_results: bool = True
    is_file: bool = False
    scope: Scope | None = None
    one_of: str | None = None
    component: str | None = None


def setting(
    default: _T,
    help: str,
    *,
    choices: Sequence[str] | None = None,
    between: tuple[float, float] | None = None,
    when: Mapping[str, tuple[str, ...]] | None = None,
    affects_results: bool = True,
    is_file: bool = False,
    scope: Scope | None = None,
) -> _T:
    """Return a dataclass field with its facts in the metadata; arguments as in :class:`Facts`.

    Example:
        >>> @dataclass
        ... class GridConfig:
        ...     points_per_side: int = setting(32, "Grid points on each axis.", between=(1, 1024))
        >>> GridConfig().points_per_side
        32
    """
    facts = Facts(help, tuple(choices) if choices else None, between, when, affects_results, is_file, scope)
    if isinstance(default, list):
        items = list(default)
        return cast(_T, field(default_factory=lambda: list(items), metadata={_KEY: facts}))
    return field(default=default, metadata={_KEY: facts})


def section(
    kind: type[_T],
    help: str = "",
    *,
    affects_results: bool = True,
    scope: Scope | None = None,
    one_of: str | None = None,
    component: str | None = None,
) -> _T:
    """Return a dataclass field that holds a section, ``kind()`` by default.

    Args:
        kind: dataclass of settings; its docstring is the help where none is given.
        help, affects_results, scope, one_of, component: as in :class:`Facts`.
    """
    facts = Facts(
        help or description(kind), affects_results=affects_results, scope=scope, one_of=one_of, component=component
    )
    return field(default_factory=kind, metadata={_KEY: facts})


def description(kind: type) -> str:
    """Return what the docstring of a section says before its attributes."""
    return " ".join((kind.__doc__ or "").split("Attributes:")[0].split())


def facts_of(field_: Field[Any]) -> Facts:
    """Return the facts of a field that ``setting`` or ``section`` has made."""
    return field_.metadata[_KEY]
