"""Where a benchmark run lies: a function of its settings alone, so that a finished run is found and never repeated."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from no_time_to_train.benchmarks.registry import task_name
from no_time_to_train.config import BenchConfig, config_hash, to_dict
from no_time_to_train.errors import InputError
from no_time_to_train.files.formats import write_text
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.runs.run_state import RunSettings, read_run, write_run
from no_time_to_train.settings import settings_of
from no_time_to_train.settings.walk import result_settings

FINISHED = "finished"

_IN_THE_PATH = {
    *("encoder.name", "mask_model.name", "shots", "seed"),
    *("benchmark.name", "benchmark.split", "benchmark.domain", "benchmark.fold", "benchmark.subset"),
}
"""Settings that the path stands for."""


def run_folder(config: BenchConfig) -> Path:
    """``runs/<benchmark>/<part>/<models>[-<hash>]/shots=K/seed=N``.

    The hash is there where settings that can change a result are not the defaults of the models. It is of those
    settings only, so that a new version's further settings leave the folders of earlier runs where they are.
    """
    changes = _changes(config)
    digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:8]
    models = f"{config.encoder.name}+{config.mask_model.name}" + (f"-{digest}" if changes else "")
    part = task_name(config.benchmark)
    return Path(config.runs) / part / models / f"shots={config.shots}" / f"seed={config.seed}"


def _changes(config: BenchConfig) -> dict[str, Any]:
    """The settings that can change a result and are not the default, by their dotted names."""
    default = BenchConfig()
    default.encoder.image_size = get_spec(config.encoder.name).image_size
    defaults = {setting.key: setting.value for setting in settings_of(default)}
    settings = result_settings(config, ("method", "bench", "evaluation"))
    return {key: value for key, value in settings.items() if key not in _IN_THE_PATH and value != defaults[key]}


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
            config_hash=config_hash(self._config),
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
