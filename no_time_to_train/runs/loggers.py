"""The final numbers of a run for Lightning's loggers.

These are csv, TensorBoard, Weights & Biases, MLflow.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from no_time_to_train.errors import EnvironmentProblemError
from no_time_to_train.files.formats import write_yaml

_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
_PROJECT = "no-time-to-train"


def check_logger(name: str) -> None:
    """Raise EnvironmentProblemError where a logger's package is missing.

    It is called before a run, not after it.
    """
    package = _PACKAGES.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise EnvironmentProblemError(
            f"trainer.logger={name} needs a package that is not installed: pip install {package}. Or use "
            "trainer.logger=csv."
        )


def log_metrics(name: str, folder: Path, runs: Path, settings: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    """Give a run's settings and its numbers to a logger.

    Those of single categories are left out.

    Args:
        name: ``csv``, ``tensorboard``, ``wandb``, ``mlflow`` or ``none``.
        folder: of the run; files of loggers go to ``logs`` in it.
        runs: folder of all runs, which share the database of ``mlflow`` (unless ``MLFLOW_TRACKING_URI`` names one).
        settings: nested settings.
        metrics: nested; what is no number is left out.
    """
    if name == "none":
        return
    if name == "csv":  # what an earlier scoring left would be warned about
        shutil.rmtree(folder / "logs", ignore_errors=True)
    logger = _logger(name, folder, runs)
    if name != "csv":  # that writes them by way of OmegaConf, which takes fifty times as long as what stands below
        logger.log_hyperparams(dict(settings))
    logger.log_metrics(numbers({key: value for key, value in metrics.items() if key != "per_category"}))
    logger.save()
    logger.finalize("success")
    if name == "csv":
        write_yaml(folder / "logs" / "hparams.yaml", settings)
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()  # or the next run of a sweep would go on in this one


def numbers(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Flatten every number of nested metrics, as ``box/nAP50``."""
    found: dict[str, float] = {}
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{key}"] = float(value)
    return found


def _logger(name: str, folder: Path, runs: Path) -> Logger:
    logs = folder / "logs"
    if name == "csv":
        return CSVLogger(logs, name=None, version="")
    if name == "tensorboard":
        return TensorBoardLogger(logs, name=None, version="")
    title = folder.relative_to(runs).as_posix()
    if name == "wandb":
        logs.mkdir(parents=True, exist_ok=True)
        return WandbLogger(name=title, save_dir=logs, project=_PROJECT)
    database = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{runs.resolve() / 'mlflow.db'}")
    return MLFlowLogger(experiment_name=_PROJECT, run_name=title, tracking_uri=database)
