"""The final numbers of a run reach the logger, and a missing logger is named before the run."""

from __future__ import annotations

import csv
import importlib.util
import warnings
from pathlib import Path

import pytest

from no_time_to_train.errors import EnvironmentProblemError
from no_time_to_train.runs.loggers import check_logger, log_metrics, numbers

METRICS = {"box": {"nAP": 36.5, "nAP50": None}, "num_images": 3, "protocol": "COCO", "flag": True}
PER_CATEGORY = {"per_category": {"mat_(gym)": {"box": {"nAP": 1.0}}}}


def test_numbers_of_nested_metrics() -> None:
    assert numbers(METRICS) == {"box/nAP": 36.5, "num_images": 3.0}


def test_csv(tmp_path: Path) -> None:
    log_metrics("csv", tmp_path, tmp_path, {"shots": 3, "merging": {"name": "soft"}}, METRICS | PER_CATEGORY)
    [row] = csv.DictReader((tmp_path / "logs" / "metrics.csv").open())
    assert float(row["box/nAP"]) == 36.5 and not any("gym" in key for key in row)
    assert "name: soft" in (tmp_path / "logs" / "hparams.yaml").read_text()
    before = [path.read_bytes() for path in sorted((tmp_path / "logs").iterdir())]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a folder that holds an earlier scoring
        log_metrics("csv", tmp_path, tmp_path, {"shots": 3, "merging": {"name": "soft"}}, METRICS | PER_CATEGORY)
    assert [path.read_bytes() for path in sorted((tmp_path / "logs").iterdir())] == before


def test_none_writes_nothing(tmp_path: Path) -> None:
    log_metrics("none", tmp_path, tmp_path, {}, METRICS)
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(EnvironmentProblemError, match=f"trainer.logger={name} needs .* pip install {name}"):
        check_logger(name)
    check_logger("csv")
