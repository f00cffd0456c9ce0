"""The folder of a benchmark run, a function of its settings alone.

So a finished run is found and never repeated.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from no_time_to_train.benchmarks.registry import task_name
from no_time_to_train.config import BenchConfig, config_hash, to_dict
from no_time_to_train.errors import InputError
from no_time_to_train.files.formats import write_yaml
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.reports.read_runs import read_metrics
from no_time_to_train.runs.run_state import FINISHED, LOCK_FILE, RunSettings, read_run
from no_time_to_train.settings import settings_of
from no_time_to_train.settings.fields import Scope
from no_time_to_train.settings.walk import result_settings

_IN_THE_PATH = {
    *("encoder.name", "mask_model.name", "shots", "seed"),
    *("benchmark.name", "benchmark.split", "benchmark.domain", "benchmark.fold", "benchmark.subset"),
}
"""Settings that the path stands for."""


def run_folder(config: BenchConfig) -> Path:
    """Return ``runs/<benchmark>/<part>/<models>[-<hash>]/shots=K/seed=N``.

    The hash is there where settings that can change a result are not the defaults of the models. It is of those
    settings only, so that a new version's further settings leave the folders of earlier runs where they are.
    """
    changes = _changes(config)
    digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:8]
    models = "+".join(map(_as_folder, (config.encoder.name, config.mask_model.name)))
    models += f"-{digest}" if changes else ""
    part = task_name(config.benchmark)
    return Path(config.runs) / part / models / f"shots={config.shots}" / f"seed={config.seed}"


def _changes(config: BenchConfig) -> dict[str, Any]:
    """Return the settings that can change a result and are not the default, by their dotted names."""
    default = BenchConfig()
    default.encoder.image_size = get_spec(config.encoder.name).image_size
    defaults = {setting.key: setting.value for setting in settings_of(default)}
    # How predictions are scored is no part of what they are; episodes have no predictions.
    scopes: list[Scope] = ["method", "bench"]
    if config.evaluator.name == "episodes":
        scopes.append("evaluation")
    settings = result_settings(config, scopes)
    changed = {key: value for key, value in settings.items() if value != defaults[key]}
    return {k: v for k, v in changed.items() if k not in _IN_THE_PATH or (k.endswith(".name") and _as_folder(v) != v)}


def _as_folder(model: str) -> str:
    """Name a folder after a model, which may be called by a path."""
    return re.sub(r"[^\w.+-]+", "_", model)


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

    @property
    def is_finished(self) -> bool:
        """Return whether nothing is left to do.

        Raises InputError where the folder holds something else than a run.
        """
        return self.metrics.is_file() and self._is_labeled() and self._was_scored_so()

    @property
    def is_labeled(self) -> bool:
        """Return whether only the scores are missing.

        They may be there, but of another evaluator.
        """
        return self._config.evaluator.name != "episodes" and self._is_labeled()

    def settings(self, references: str, images: str, reference_counts: Mapping[str, int]) -> RunSettings:
        """Return what must be equal for the folder to be continued.

        Args:
            references: fingerprint of the references.
            images: fingerprint of the images.
            reference_counts: how many references there are of every category, by name.
        """
        return RunSettings(
            config=to_dict(self._config),
            config_hash=config_hash(self._config),
            references=references,
            reference_counts=reference_counts,
            images=images,
            min_score=self._config.output.draw_min_score,
        )

    def read_metrics(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``.

        Raises:
            InputError: it is damaged, or holds something else.
        """
        try:
            return read_metrics(self.metrics)
        except ValueError as error:
            raise InputError(f"{self.metrics} cannot be read ({error}). Remove it and run the same again.") from error

    def write_config(self) -> None:
        """Write ``config.yaml``."""
        write_yaml(self.path / "config.yaml", to_dict(self._config))

    def clean_up(self) -> None:
        """Remove what only a continued run needs."""
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what a run left that was killed at its very end, unless another process is about to."""
        lock_file = self.path / LOCK_FILE
        if not (self.unfinished.exists() or lock_file.exists()):
            return
        with suppress(Timeout), FileLock(lock_file).acquire(timeout=0):
            self.clean_up()
            lock_file.unlink(missing_ok=True)

    def _is_labeled(self) -> bool:
        has_predictions = self._config.evaluator.name == "episodes" or self.predictions.is_file()
        return has_predictions and (read_run(self.path) or {}).get("status") == FINISHED

    def _was_scored_so(self) -> bool:
        earlier = (read_run(self.path) or {})["settings"]["config"].get("evaluator")
        return earlier is None or _scores(earlier) == _scores(to_dict(self._config)["evaluator"])


def _scores(evaluator: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an evaluator that change its numbers: engines agree."""
    return {key: value for key, value in evaluator.items() if key != "engine"}
