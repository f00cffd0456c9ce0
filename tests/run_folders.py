"""Small folders as ``nttt bench`` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_run(
    runs: Path,
    part: str,
    shots: int,
    seed: int,
    metrics: dict[str, Any] | None,
    models: str = "dinov2_large+sam2.1_large",
    **settings: dict[str, Any],
) -> Path:
    """One run of the default method; ``part`` is the benchmark's folder, ``metrics`` None leaves it unfinished."""
    folder = runs / part / models / f"shots={shots}" / f"seed={seed}"
    folder.mkdir(parents=True)
    config: dict[str, Any] = {
        "features": {"name": "dinov2_large", "image_size": 518},
        "mask_model": {"name": "sam2.1_large"},
        "proposals": {"name": "point_grid"},
        "matching": {"name": "class_mean"},
        "merging": {"name": "semantic_soft"},
        "benchmark": {"name": part.split("/")[0]},
    }
    for section, values in settings.items():
        config[section] = config.get(section, {}) | values
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def ap(box: float | None, mask: float | None = None, **more: Any) -> dict[str, Any]:
    """A ``metrics.json`` of these two numbers."""
    return {"box": {"nAP": box, "nAP50": None}, "mask": {"nAP": mask}, "num_images": 5, **more}
