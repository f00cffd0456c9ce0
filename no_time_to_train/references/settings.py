"""Settings of how references are read."""

from __future__ import annotations

from dataclasses import dataclass

from no_time_to_train.settings import setting


@dataclass
class ReferencesConfig:
    """How references are read."""

    context_ratio: float = setting(
        0.2, "The square crop around an instance is (1 + this) times its longer side.", between=(0, 10)
    )
    min_box_coverage: float = setting(
        0.05,
        "A mask made from a box that covers a smaller share of the box is replaced by the box.",
        between=(0, 1),
    )
    keep_instances: bool = setting(
        False,
        "Keep every instance prototype in the memory bank. `matching=nearest_centers` and `nearest_instances` need "
        "them and keep them by themselves.",
    )
