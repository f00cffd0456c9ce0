"""Means over categories where some have nothing to measure."""

from __future__ import annotations

from collections.abc import Iterable


def mean_of_existing(values: Iterable[float | None]) -> float | None:
    """Average the values that are not None; None where there is none."""
    existing = [value for value in values if value is not None]
    return sum(existing) / len(existing) if existing else None
