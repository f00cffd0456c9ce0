"""Numbers published for the method, to stand beside one's own (``published_results.yaml``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FILE = Path(__file__).with_name("published_results.yaml")


@dataclass(frozen=True)
class PublishedValue:
    """One number of a paper, per cent.

    Attributes:
        mean: over the seeds, or the number of the only one.
        std: sample standard deviation over the seeds; None: one seed.
        source: where it was published.
    """

    mean: float
    std: float | None
    source: str


@dataclass(frozen=True, eq=False)
class PublishedTable:
    """Numbers of one source for one setting.

    The fields are explained in ``published_results.yaml``.
    """

    source: str
    settings: Mapping[str, Any]
    metrics: tuple[str, ...]
    values: Mapping[int, tuple[Any, ...]]
    seeds: Mapping[int, Mapping[int, tuple[float, ...]]]

    def fits(self, settings: Mapping[str, Any]) -> bool:
        """Return whether the numbers are of a run with these settings."""
        return all(fnmatchcase(str(settings.get(key)), str(wanted)) for key, wanted in self.settings.items())

    def value(self, metric: str, shots: int) -> PublishedValue | None:
        """Return the number for this metric and these shots, if any."""
        if metric not in self.metrics or shots not in self.values:
            return None
        number = self.values[shots][self.metrics.index(metric)]
        mean, std = number if isinstance(number, tuple) else (number, None)
        return PublishedValue(mean, std, self.source)


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """Return all tables, in the order in which they are asked."""
    content = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return tuple(
        PublishedTable(
            source=table["source"],
            settings=table["settings"],
            metrics=tuple(table["metrics"]),
            values=_frozen(table["values"]),
            seeds=_frozen(table.get("seeds", {})),
        )
        for table in content["tables"]
    )


def published_value(metric: str, shots: int, settings: Mapping[str, Any]) -> PublishedValue | None:
    """Return what was published for a run with these settings.

    None: nothing is known.
    """
    found = (table.value(metric, shots) for table in published_tables() if table.fits(settings))
    return next((value for value in found if value is not None), None)


def published_of_seed(metric: str, shots: int, seed: int, settings: Mapping[str, Any]) -> float | None:
    """Return what was published for one seed; None: nothing is known."""
    for table in published_tables():
        numbers = table.seeds.get(shots, {}).get(seed)
        if numbers is not None and metric in table.metrics and table.fits(settings):
            return numbers[table.metrics.index(metric)]
    return None


def published_curve(metric: str, benchmark_settings: Mapping[str, Any]) -> dict[int, PublishedValue]:
    """Return by shots what the paper's own method gave on a benchmark.

    The method of a run plays no part.

    Args:
        metric: its name.
        benchmark_settings: of a run; only the ``benchmark.`` ones count.
    """
    for table in published_tables():
        wanted = {key: value for key, value in table.settings.items() if key.startswith("benchmark.")}
        if metric in table.metrics and PublishedTable("", wanted, (), {}, {}).fits(benchmark_settings):
            values = {shots: table.value(metric, shots) for shots in sorted(table.values)}
            return {shots: value for shots, value in values.items() if value is not None}
    return {}


def _frozen(value: Any) -> Any:
    """Turn lists into tuples, at every depth."""
    if isinstance(value, Mapping):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
