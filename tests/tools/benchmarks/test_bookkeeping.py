from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from no_time_to_train import build
from no_time_to_train.tasks import bench
from tools.benchmarks import bookkeeping


@pytest.mark.parametrize("part", list(bookkeeping._PARTS))
def test_every_part_runs(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in [
        (build, "build_segmenter"),
        (build, "load_models"),
        (build, "assemble_segmenter"),
        (bench, "evaluate_predictions"),
    ]:
        monkeypatch.setattr(module, name, getattr(module, name))  # put back what the tool puts in its place
    options = argparse.Namespace(images=[3], categories=4, references=4, detections=2)
    bookkeeping._PARTS[part](tmp_path, options)()
