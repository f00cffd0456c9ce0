"""SAM 2 Hiera-L with DINOv2 ViT-L at full size, from files in the official formats (random values), on one picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Dinov2Config, Dinov2Model

from no_time_to_train import commands
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.models.sam2.model import build_sam2
from no_time_to_train.references.memory_bank import MemoryBank


@pytest.fixture
def full_size_weights(tmp_path: Path) -> Path:
    """A folder as $NTTT_WEIGHTS: sam2_hiera_large.pt as Meta publishes it, dinov2_large as the hub does."""
    torch.manual_seed(0)
    spec = get_spec("sam2_large")
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.save({"model": build_sam2(spec).state_dict()}, folder / spec.official_file)
    config = Dinov2Config(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, image_size=518)
    Dinov2Model(config).save_pretrained(folder / "dinov2_large")
    return folder


@pytest.mark.slow
def test_paper_preset_at_full_size(full_size_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTTT_WEIGHTS", str(full_size_weights))
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(tmp_path / "photos" / "photo.jpg")
    reference = f"{tmp_path / 'photos' / 'photo.jpg'}:thing:100,80,300,260"
    arguments = ["label", str(tmp_path / "photos"), "--ref", reference, "--out", str(tmp_path / "out")]
    # Random weights predict IoUs anywhere: without a threshold every point keeps its mask.
    settings = ["preset=paper", "proposals.points_per_side=4", "proposals.min_predicted_iou=-100", "device=cpu"]
    assert commands.main([*arguments, *settings]) == 0

    memory = MemoryBank.load(tmp_path / "out" / "memory.safetensors")
    assert memory.class_prototypes.shape == (1, 1024)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["models"] == {"encoder": "dinov2_large", "mask_model": "sam2_large"}
    predictions = json.loads((tmp_path / "out" / "predictions.json").read_text())
    for prediction in predictions:
        assert prediction["segmentation"]["size"] == [480, 640]
        assert 0 < prediction["score"] <= 1
        x, y, width, height = prediction["bbox"]
        assert 0 <= x <= x + width <= 639 and 0 <= y <= y + height <= 479  # inclusive boxes: one pixel short
