"""Mean and sample standard deviation over seeds, beside published numbers."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from no_time_to_train.config import BenchConfig
from no_time_to_train.files.paths import configs_folder
from no_time_to_train.models.catalog import CATALOG
from no_time_to_train.reports.published import PublishedValue, published_curve, published_value
from no_time_to_train.reports.read_runs import RunResult, flatten
from no_time_to_train.settings import settings_of
from no_time_to_train.settings.walk import with_values

MAIN_METRICS = ("box nAP", "box nAP50", "box nAP75", "mask nAP", "mask nAP50", "mask nAP75")
"""Shown in tables where there are any, before the evaluator's own."""

_HEADLINE_METRICS = {"pascal_voc": "box nAP50", "coco_20i": "miou"}
_NO_VARIANT = {
    *("encoder.name", "encoder.image_size", "mask_model.name", "references.keep_instances"),
    *("benchmark.name", "benchmark.split", "benchmark.domain", "benchmark.fold", "benchmark.subset"),
    *("benchmark.annotations", "benchmark.references", "benchmark.categories", "shots", "seed"),
}


@dataclass(frozen=True)
class Statistic:
    """Mean of a metric over runs.

    Attributes:
        mean: per cent.
        std: sample standard deviation (divided by count - 1); None for one run.
        count: runs that have the metric.
    """

    mean: float
    std: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistic:
        """Compute mean and deviation of at least one value."""
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), std, len(values))


@dataclass(frozen=True, eq=False)
class ReportRow:
    """Runs that differ only in their seed.

    Attributes:
        benchmark, part, models, variant: what was run; ``variant`` names the settings that are not the default's.
        shots: references per category.
        runs: in the order of their seeds.
        metrics: by name, over the runs.
        published: by metric, what is known.
        per_category: category to metric to its mean over the runs.
        seconds_per_image: of the slowest run with these models and settings, whatever its shots: later ones may have
            found masks in the cache. None: not measured.
    """

    benchmark: str
    part: str
    models: str
    variant: str
    shots: int
    runs: tuple[RunResult, ...]
    metrics: Mapping[str, Statistic]
    published: Mapping[str, PublishedValue]
    per_category: Mapping[str, Mapping[str, Statistic]] = field(default_factory=dict)
    seconds_per_image: float | None = None

    @property
    def label(self) -> str:
        """Return models and variant."""
        return f"{self.models}, {self.variant}" if self.variant else self.models

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds of the runs."""
        return tuple(run.seed for run in self.runs)


def summarize(runs: Iterable[RunResult]) -> list[ReportRow]:
    """Summarize runs that differ only in their seed.

    There is one row per benchmark, part, models, variant and shots, in this order.
    """
    groups: dict[tuple[Path, int], list[RunResult]] = defaultdict(list)
    seconds: dict[Path, float] = {}
    for run in runs:
        folder = run.models_folder
        groups[folder, run.shots].append(run)
        if run.seconds_per_image is not None:
            seconds[folder] = max(run.seconds_per_image, seconds.get(folder, 0.0))
    labels = _labels({folder: members[0].settings for (folder, _), members in groups.items()})
    rows = [
        _row(sorted(members, key=lambda run: run.seed), *labels[folder], seconds.get(folder))
        for (folder, _), members in groups.items()
    ]
    return sorted(rows, key=lambda row: (row.benchmark, row.part, row.label, row.shots))


def average_over_parts(rows: Sequence[ReportRow]) -> list[ReportRow]:
    """Average the parts' means of benchmarks that have several parts.

    Parts are splits, domains or folds.

    Only over the same models, variant and shots, and only of metrics that all its parts have; published numbers
    likewise. The standard deviation between parts says nothing about a method, so there is none.
    """
    groups: dict[tuple[str, str, str, int], list[ReportRow]] = defaultdict(list)
    for row in rows:
        groups[row.benchmark, row.models, row.variant, row.shots].append(row)
    return [_average(members) for members in groups.values() if len(members) > 1]


def shown_metrics(rows: Sequence[ReportRow]) -> list[str]:
    """Return the metrics worth a column.

    First come the main ones that some row has, then the evaluator's own.
    """
    present = {name for row in rows for name in row.metrics}
    own = {name for name in present if not name.startswith(("box ", "mask "))}
    return [name for name in MAIN_METRICS if name in present] + sorted(own)


def headline_metric(rows: Sequence[ReportRow]) -> str:
    """Return the metric that these rows' benchmark is known by.

    Where no row has it, it is the first that there is.
    """
    shown = shown_metrics(rows) or sorted({name for row in rows for name in row.metrics})
    wanted = _HEADLINE_METRICS.get(rows[0].benchmark, "box nAP")
    return wanted if wanted in shown else shown[0]


def curve_of_paper(rows: Sequence[ReportRow], metric: str) -> dict[int, PublishedValue]:
    """Return by shots what was published for these rows' benchmark part.

    Nothing where all rows are of the demo models: they were made for synthetic images.
    """
    if all(_is_of_demo_models(row.runs[0].settings) for row in rows):
        return {}
    return published_curve(metric, rows[0].runs[0].settings)


def variant_of(settings: Mapping[str, Any]) -> str:
    """Return the settings that differ from the default, as ``merging=hard, points_per_side=16``.

    Only those that can change results count. A setting is called by the end of its name that no other one has. The demo
    models' default is their preset, without which they are of no use.
    """
    config = with_values(BenchConfig(), settings)
    defaults = _demo_defaults() if _is_of_demo_models(settings) else {}
    changed = []
    for setting in settings_of(config):
        counts = setting.facts.affects_results and setting.unused is None and setting.key not in _NO_VARIANT
        is_other = setting.value != defaults.get(setting.key, setting.default)
        if counts and is_other and setting.facts.scope not in ("track", "propose"):
            changed.append(f"{_short_names()[setting.key]}={setting.value}")
    size = settings.get("encoder.image_size")
    spec = CATALOG.get(str(settings.get("encoder.name")))
    if spec is not None and size not in (None, spec.image_size):
        changed.insert(0, f"image_size={size}")
    return ", ".join(changed)


def _is_of_demo_models(settings: Mapping[str, Any]) -> bool:
    return all(str(settings.get(f"{model}.name")).endswith("_demo") for model in ("encoder", "mask_model"))


@cache
def _demo_defaults() -> Mapping[str, Any]:
    content = yaml.safe_load((configs_folder() / "preset" / "demo.yaml").read_text(encoding="utf-8"))
    return flatten({key: value for key, value in content.items() if key != "defaults"})


@cache
def _short_names() -> Mapping[str, str]:
    """Return the shortest end of every dotted name that no other setting has; ``merging`` for ``merging.name``."""
    keys = {setting.key: setting.key.removesuffix(".name") for setting in settings_of(BenchConfig())}
    ends = Counter(end for key in keys.values() for end in _ends(key))
    return {key: next((end for end in _ends(shown) if ends[end] == 1), key) for key, shown in keys.items()}


def _ends(key: str) -> list[str]:
    """Return the ends of a dotted name, the shortest first.

    Example:
        >>> _ends("proposals.boxes.max_masks")
        ['max_masks', 'boxes.max_masks', 'proposals.boxes.max_masks']
    """
    parts = key.split(".")
    return [".".join(parts[start:]) for start in reversed(range(len(parts)))]


def _labels(settings: Mapping[Path, Mapping[str, Any]]) -> dict[Path, tuple[str, str]]:
    """Return (models, variant) of every models folder; where two would look the same, with the folder's name."""
    labels = {}
    for folder, values in settings.items():
        models = f"{values.get('encoder.name')} + {values.get('mask_model.name')}"
        labels[folder] = (models, variant_of(values))
    seen: dict[tuple[Path, tuple[str, str]], list[Path]] = defaultdict(list)
    for folder, label in labels.items():
        seen[folder.parent, label].append(folder)
    for (_, (models, variant)), folders in seen.items():
        for folder in folders if len(folders) > 1 else ():
            labels[folder] = (models, f"{variant} [{folder.name}]".strip())
    return labels


def _row(runs: Sequence[RunResult], models: str, variant: str, seconds_per_image: float | None) -> ReportRow:
    first = runs[0]
    metrics = _statistics([run.metrics for run in runs])
    published = {name: published_value(name, first.shots, first.settings) for name in metrics}
    categories = dict.fromkeys(name for run in runs for name in run.per_category)
    return ReportRow(
        benchmark=first.benchmark,
        part=first.part,
        models=models,
        variant=variant,
        shots=first.shots,
        runs=tuple(runs),
        metrics=metrics,
        published={name: value for name, value in published.items() if value is not None},
        per_category={name: _statistics([run.per_category.get(name, {}) for run in runs]) for name in categories},
        seconds_per_image=seconds_per_image,
    )


def _statistics(values: Sequence[Mapping[str, float]]) -> dict[str, Statistic]:
    names = dict.fromkeys(name for of_run in values for name in of_run)
    return {name: Statistic.of([of_run[name] for of_run in values if name in of_run]) for name in names}


def _average(rows: Sequence[ReportRow]) -> ReportRow:
    first, count = rows[0], len(rows)
    metrics = {
        name: Statistic(statistics.fmean(row.metrics[name].mean for row in rows), None, count)
        for name in first.metrics
        if all(name in row.metrics for row in rows)
    }
    published = {
        name: PublishedValue(
            statistics.fmean(row.published[name].mean for row in rows), None, f"mean of {first.published[name].source}"
        )
        for name in metrics
        if all(name in row.published for row in rows)
    }
    runs = tuple(run for row in rows for run in row.runs)
    part = f"mean of {count}"
    return ReportRow(first.benchmark, part, first.models, first.variant, first.shots, runs, metrics, published)
