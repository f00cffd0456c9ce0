"""Lowest scores that count as found, one for each category."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Self

import numpy as np

from no_time_to_train.errors import InputError, Parameter
from no_time_to_train.files.arguments import as_texts
from no_time_to_train.settings.suggestions import did_you_mean
from no_time_to_train.structures import Category, Detections


@dataclass(frozen=True)
class MinScores:
    """Lowest scores that count as found.

    Attributes:
        default: in 0..1, of the categories that have none of their own.
        by_category: others, by category id.

    Example:
        >>> min_scores = MinScores(0.5, {7: 0.6})
        >>> min_scores.of(7), min_scores.of(8)
        (0.6, 0.5)
    """

    default: float
    by_category: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for value in (self.default, *self.by_category.values()):
            if not (isfinite(value) and 0 <= value <= 1):
                raise ValueError(f"a lowest score is from 0 to 1, got {value}")

    def of(self, category_id: int) -> float:
        """Return the lowest score of a category."""
        return self.by_category.get(category_id, self.default)

    def passed(self, detections: Detections) -> Detections:
        """Select the detections that count, compared as a reader of the files does."""
        lowest = np.array([self.of(int(category_id)) for category_id in detections.category_ids], np.float64)
        return detections[detections.scores.astype(np.float64) >= lowest]

    def by_name(self, categories: Iterable[Category]) -> dict[str, float]:
        """Return the lowest score of every category, by name."""
        return {category.name: self.of(category.id) for category in categories if not category.is_background}

    def describe(self, categories: Iterable[Category]) -> str:
        """Return one number, or the lowest and the highest of the categories.

        Example:
            >>> MinScores(0.5, {1: 0.6}).describe([Category(1, "boat"), Category(2, "bird")])
            '0.50 to 0.60, by category'
        """
        values = sorted(set(self.by_name(categories).values())) or [self.default]
        return f"{values[0]:.2f}" if len(values) == 1 else f"{values[0]:.2f} to {values[-1]:.2f}, by category"

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return {"default": self.default, "by_category": {str(key): value for key, value in self.by_category.items()}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gives.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(content["default"], {int(key): value for key, value in content["by_category"].items()})


MinScoreRequest = float | str | Mapping[str, float] | None
"""``"auto"`` or None, one number, or numbers by category name: ``{"boat": 0.6}`` or ``"boat=0.6,bird=0.5"``."""


def read_min_score(request: MinScoreRequest) -> float | Mapping[str, float] | None:
    """Read what was asked for: None (``auto``), a number, or numbers by name.

    Raises:
        InputError: it is nothing of these, or a number is not from 0 to 1.

    Example:
        >>> read_min_score("boat=0.6,bird=0.5")
        {'boat': 0.6, 'bird': 0.5}
    """
    if request is None or request == "auto":
        return None
    if isinstance(request, Mapping):
        as_texts([*request], "min_score", "boat")
        return {name: _number(value, f"{name}={value}") for name, value in request.items()}
    if isinstance(request, str) and "=" in request:
        pairs = (item.rpartition("=") for item in request.split(","))
        return {name.strip(): _number(value, f"{name}={value}") for name, _, value in pairs}
    return _number(request, str(request))


def choose_min_scores(
    request: MinScoreRequest, categories: Iterable[Category], *, measured: MinScores | None, otherwise: float
) -> MinScores:
    """Choose what counts as found.

    Args:
        request: what was asked for.
        categories: that it may name.
        measured: on the reference images; None: they were not.
        otherwise: for all categories where nothing was measured.

    Raises:
        InputError: the request cannot be read, or names another category.
    """
    asked = read_min_score(request)
    known = measured or MinScores(otherwise)
    if asked is None:
        return known
    if not isinstance(asked, Mapping):
        return MinScores(asked)
    ids = {category.name: category.id for category in categories if not category.is_background}
    for name in asked:
        if name not in ids:
            raise InputError(
                f"a lowest score is given for '{name}', which is no category here. "
                f"Categories: {', '.join(ids)}.{did_you_mean(name, ids)}"
            )
    return MinScores(known.default, {**known.by_category, **{ids[name]: value for name, value in asked.items()}})


def _number(value: object, shown: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        came = Parameter("min_score", shown)
        raise InputError(
            f"{came}: give auto, a number from 0 to 1, or such numbers by category, as in boat=0.6,bird=0.5.",
            parameters=[came],
        )
    return number
