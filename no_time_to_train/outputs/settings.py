"""Settings of what is written."""

from __future__ import annotations

from dataclasses import dataclass

from no_time_to_train.settings import setting


@dataclass
class OutputConfig:
    """What is written."""

    min_score: float = setting(0.05, "Lowest score in `predictions.json`; nothing below is kept.", between=(0, 1))
    draw_min_score: float = setting(
        0.35,
        "Lowest score in `annotations.json`, the overlays and the table, where no thresholds are measured.",
        between=(0, 1),
        affects_results=False,
    )
    threshold_images: int = setting(
        100,
        "Most reference images on which the whole pipeline is run to measure thresholds; 0: they are not measured.",
        between=(0, 1 << 20),
        affects_results=False,
    )
    box_convention: str = setting(
        "half_open",
        "`half_open`, or `inclusive`: boxes end on the last pixel's index, one short (as in the published code).",
        choices=("half_open", "inclusive"),
    )
