"""``preset=paper`` on the demo models gives the figures of the published code, to the digits (docs/parity.md)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from no_time_to_train.tasks.bench import run_benchmark

PUBLISHED_CODE = {"box": (49.879, 80.656), "mask": (50.172, 79.402)}
"""AP and AP50 of the published code (commit 214fc79) built around the two demo networks."""
NUM_DETECTIONS = 609
SETTINGS = (
    "preset=paper",
    "encoder=dinov2_demo",
    "mask_model=sam2_demo",
    "encoder.image_size=224",
    "proposals.points_per_side=28",
    "proposals.min_predicted_iou=0.5",
    "output.min_score=0",
    "device=cpu",
    "shots=10",
    "seed=33",
)


@pytest.mark.slow
def test_paper_preset_gives_the_published_codes_figures(tmp_path: Path) -> None:
    folder = run_benchmark([*SETTINGS, f"runs={tmp_path}"]).out
    metrics = json.loads((folder / "metrics.json").read_text())
    for kind, figures in PUBLISHED_CODE.items():
        assert (round(metrics[kind]["nAP"], 3), round(metrics[kind]["nAP50"], 3)) == figures, kind
    assert len(json.loads((folder / "predictions.json").read_text())) == NUM_DETECTIONS
