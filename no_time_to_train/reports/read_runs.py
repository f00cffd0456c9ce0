"""Read the results of benchmark runs from their folders."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from no_time_to_train.config import present_names
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.evaluation.instance_ap import METRIC_KINDS
from no_time_to_train.files.json_files import is_number, is_text

_NOT_METRICS = frozenset({"per_category", "num_images", "num_objects", "num_episodes", "seconds_per_image"})


@dataclass(frozen=True, eq=False)
class RunResult:
    """One finished run.

    Attributes:
        folder: ``.../<benchmark>/<part>/<models>/shots=K/seed=N``.
        part: of the benchmark, as the folders name it (``split=1``); empty where it has none.
        shots: references per category.
        seed: of their drawing.
        settings: every setting of the run, by its dotted name.
        metrics: by name (``box nAP``), per cent; what does not apply is left out.
        per_category: the same for every category.
        seconds_per_image: None where it was not measured.
    """

    folder: Path
    part: str
    shots: int
    seed: int
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]
    per_category: Mapping[str, Mapping[str, float]]
    seconds_per_image: float | None = None

    @property
    def benchmark(self) -> str:
        """Return the name of the benchmark."""
        return str(self.settings["benchmark.name"])

    @property
    def models_folder(self) -> Path:
        """Return the folder of all shots and seeds of these models and settings."""
        return self.folder.parents[1]


def collect_runs(folder: Path) -> tuple[list[RunResult], list[tuple[Path, str]]]:
    """Read the finished runs in or below a folder.

    Returns them and what is wrong with the others: (folder, reason).

    Raises:
        InputFileNotFoundError: there is no such folder.
        InputError: no run is finished.
    """
    if not folder.is_dir():
        raise InputFileNotFoundError(f"{folder}: no such folder. Give the folder of runs of nttt bench, e.g. runs/.")
    folder = folder.resolve()
    finished, problems = [], []
    for path in sorted({folder, *folder.rglob("seed=*")}):
        if not (_number(path, "seed") is not None and _number(path.parent, "shots") is not None and path.is_dir()):
            continue
        try:
            finished.append(read_run_result(path))
        except (InputError, OSError) as error:
            problems.append((path, str(error)))
    if not finished:
        listed = "".join(f"\n  {path}: {reason}" for path, reason in problems)
        raise InputError(
            f"{folder} holds no finished run of nttt bench (.../shots=K/seed=N/metrics.json).{listed or ''} "
            "Run e.g. nttt bench benchmark=demo preset=demo shots=3 seed=33 first."
        )
    return finished, problems


def read_run_result(folder: Path) -> RunResult:
    """Read one run's folder.

    Raises:
        InputError: it is unfinished, or a file cannot be read.
    """
    metrics_path, config_path = folder / "metrics.json", folder / "config.yaml"
    if not metrics_path.is_file():
        raise InputError("unfinished (no metrics.json); run its command again")
    settings = _read_settings(config_path)
    try:
        content = read_metrics(metrics_path)
        shots, seed = _number(folder.parent, "shots"), _number(folder, "seed")
        assert shots is not None and seed is not None
        return RunResult(
            folder=folder,
            part=_part(folder, settings),
            shots=shots,
            seed=seed,
            settings=settings,
            metrics=_numbers(content),
            per_category={name: _numbers(values) for name, values in content.get("per_category", {}).items()},
            seconds_per_image=content.get("seconds_per_image"),
        )
    except ValueError as error:
        raise InputError(f"metrics.json cannot be read ({error}); delete it and run the command again") from error


def read_metrics(path: Path) -> dict[str, Any]:
    """Return the content of a run's ``metrics.json``.

    Raises:
        ValueError: it is damaged, or holds something else.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        missing = [kind for kind in METRIC_KINDS.values() if not isinstance(content.get(kind), Mapping)]
        if missing:
            raise ValueError(f"it holds no {' and no '.join(missing)} metrics")
        _optional_number(content.get("seconds_per_image"), "seconds_per_image")
        for numbers in (content, *content.get("per_category", {}).values()):
            _numbers(numbers)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except AttributeError as error:
        raise ValueError("it holds no metrics") from error
    return content


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten ``{"merging": {"name": "hard"}}`` to ``{"merging.name": "hard"}``."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("config.yaml is missing, so what was run is not known") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"config.yaml cannot be read ({error})") from error
    settings = present_names(flatten(content)) if isinstance(content, Mapping) else {}
    if not is_text(settings.get("benchmark.name")):
        raise InputError("config.yaml does not name a benchmark")
    return settings


def _part(folder: Path, settings: Mapping[str, Any]) -> str:
    """Return the folders between the benchmark's and the models'."""
    above = folder.parts[:-3]
    name = settings["benchmark.name"]
    if name not in above:
        return ""
    return "/".join(above[len(above) - above[::-1].index(name) :])


def _number(path: Path, key: str) -> int | None:
    found = re.fullmatch(rf"{key}=(-?\d+)", path.name)
    return int(found.group(1)) if found else None


def _numbers(content: Mapping[str, Any]) -> dict[str, float]:
    """Flatten the metrics of ``metrics.json``: ``{"box": {"nAP": 36.6}}`` -> ``{"box nAP": 36.6}``."""
    numbers: dict[str, float] = {}
    for key, value in content.items():
        if key not in _NOT_METRICS:
            named = {f"{key} {n}": v for n, v in value.items()} if isinstance(value, Mapping) else {key: value}
            may_be_text = not isinstance(value, Mapping)  # the evaluator's name
            read = {
                name: _optional_number(number, name)
                for name, number in named.items()
                if _may_be_number(number) and not (may_be_text and isinstance(number, str))
            }
            numbers |= {name: number for name, number in read.items() if number is not None}
    return numbers


def _may_be_number(value: Any) -> bool:
    """Return whether a value stands where a number does: lists and switches are something else."""
    return not isinstance(value, bool | list | Mapping)


def _optional_number(value: Any, name: str) -> float | None:
    """Return a finite number or None; raise ValueError for anything else."""
    if value is None or is_number(value):
        return None if value is None else float(value)
    raise ValueError(f"{name} must be a number, got {str(value)[:30]!r}")
