"""Where a benchmark run lies: a function of its settings alone, so that a finished run is found and never repeated."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from no_time_to_train.benchmarks.registry import task_name
from no_time_to_train.build import config_hash, result_settings
from no_time_to_train.config import (
    BenchConfig,
    BenchmarkConfig,
    Config,
    EvaluatorConfig,
    FeaturesConfig,
    MaskModelConfig,
    to_dict,
)
from no_time_to_train.errors import InputError
from no_time_to_train.files.formats import write_text
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.models.checkpoints import sha256_of_file
from no_time_to_train.runs.run_state import RunSettings, read_run, write_run

FINISHED = "finished"

_IN_THE_PATH = ("name", "root", "split", "domain", "fold", "subset")
"""Settings of the benchmark that its name and part in the path stand for, or that only say where data lie."""
_DATA_FILES = ("references", "annotations")
"""Settings of the benchmark that name files: their contents count, not where they are."""


def run_folder(config: BenchConfig) -> Path:
    """``runs/<benchmark>/<part>/<models>[-<hash>]/shots=K/seed=N``.

    The hash is there where settings that can change a result are not the defaults of the models. It is of those
    settings only, so that a new version's further settings leave the folders of earlier runs where they are.
    """
    default = Config(
        features=FeaturesConfig(name=config.features.name, image_size=get_spec(config.features.name).image_size),
        mask_model=MaskModelConfig(name=config.mask_model.name),
    )
    changes = {
        **_changes(result_settings(_method(config)), result_settings(default)),
        **_changes(_benchmark_settings(config.benchmark), _benchmark_settings(BenchmarkConfig()), "benchmark."),
        **_changes(_evaluator_settings(config.evaluator), _evaluator_settings(EvaluatorConfig()), "evaluator."),
    }
    digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:8]
    models = f"{config.features.name}+{config.mask_model.name}" + (f"-{digest}" if changes else "")
    part = task_name(config.benchmark)
    return Path(config.runs) / part / models / f"shots={config.shots}" / f"seed={config.seed}"


class RunFolder:
    """The files of one benchmark run.

    Args:
        config: of the run.
    """

    def __init__(self, config: BenchConfig) -> None:
        self.path = run_folder(config)
        self.metrics = self.path / "metrics.json"
        self.predictions = self.path / "predictions.json"
        self.references = self.path / "references.json"
        self.unfinished = self.path / "unfinished"
        self._config = config
        self._settings: RunSettings

    @property
    def is_finished(self) -> bool:
        """Raises InputError where the folder holds something else than a run."""
        return (read_run(self.path) or {}).get("status") == FINISHED

    def begin(self, references: str, images: str, details: dict[str, Any]) -> None:
        """Write down what is run; an earlier, unfinished run of the same is continued.

        Args:
            references: fingerprint of the references.
            images: fingerprint of the images.
            details: further entries of ``run.json``.

        Raises:
            InputError: the folder holds a run of other data.
        """
        self._settings = RunSettings(
            config=to_dict(self._config),
            config_hash=config_hash(_method(self._config)),
            references=references,
            images=images,
            min_score=self._config.output.draw_min_score,
        )
        earlier = read_run(self.path)
        difference = None if earlier is None else self._settings.difference(earlier["settings"])
        if difference:
            raise InputError(f"{self.path} was begun {difference}. Remove it, or choose another place with runs=DIR.")
        self.end(details, "running")
        write_text(self.path / "config.yaml", yaml.safe_dump(to_dict(self._config), sort_keys=False))

    def end(self, details: dict[str, Any], status: str) -> None:
        """Write down how far the run is; what only a continued one needs goes with the last step."""
        write_run(self.path, self._settings, {**details, "status": status})
        if status == FINISHED:
            shutil.rmtree(self.unfinished, ignore_errors=True)


def _method(config: BenchConfig) -> Config:
    """The settings of the method, without what it is run on."""
    return Config(**{f.name: getattr(config, f.name) for f in fields(Config)})


def _changes(settings: dict[str, Any], default: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings that are not the default, by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= _changes(value, default[key], f"{prefix}{key}.")
        elif value != default[key]:
            found[f"{prefix}{key}"] = value
    return found


def _benchmark_settings(settings: BenchmarkConfig) -> dict[str, Any]:
    found = {key: value for key, value in to_dict(settings).items() if key not in _IN_THE_PATH}
    for key in _DATA_FILES:
        path = None if found[key] is None else Path(found[key])
        if path is not None and path.is_file():
            found[key] = sha256_of_file(path)
    return found


def _evaluator_settings(settings: EvaluatorConfig) -> dict[str, Any]:
    return {key: value for key, value in to_dict(settings).items() if key != "engine"}  # engines agree
