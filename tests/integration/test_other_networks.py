"""``nttt label`` with an encoder of timm and a mask model of transformers; tiny ones, with random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from no_time_to_train.commands import main
from no_time_to_train.files.paths import demo_data_folder
from tests.models.conftest import randomise
from tests.models.test_promptable import save, tiny_sam2_config

BENCHMARK = demo_data_folder() / "benchmark"
ENCODER = "timm/vit_tiny_patch16_224.augreg_in21k"


def test_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    timm = pytest.importorskip("timm")
    from transformers import Sam2Model

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(timm.create_model(ENCODER.removeprefix("timm/"), num_classes=0).state_dict(), "vit.pth")
    module = Sam2Model(tiny_sam2_config())
    randomise(module, seed=1)
    save(module, tmp_path / "my models" / "sam2")
    Path("photos").mkdir()
    shutil.copy(sorted((BENCHMARK / "test").glob("*.jpg"))[0], "photos")
    train = json.loads((BENCHMARK / "annotations" / "train.json").read_text())
    train["annotations"] = train["annotations"][:3]
    Path("refs.json").write_text(json.dumps(train))

    settings = ["encoder=" + ENCODER, "encoder.weights=vit.pth", "mask_model=hf/my models/sam2", "device=cpu"]
    grid = ["proposals.point_grid.points_per_side=4", "proposals.point_grid.min_predicted_iou=0", "output.min_score=0"]
    references = ["--refs", "refs.json", "--ref-images", str(BENCHMARK / "train")]
    assert main(["label", "photos", *references, *settings, *grid]) == 0
    assert json.loads(Path("photos_labeled/predictions.json").read_text())
    summary = Path("photos_labeled/run.json").read_text()
    assert ENCODER in summary and "hf/my models/sam2" in summary
