"""Settings of how predictions are scored."""

from __future__ import annotations

from dataclasses import dataclass

from no_time_to_train.settings import setting

_PAINTED = {"name": ("default", "semantic", "episodes")}


@dataclass
class EvaluatorConfig:
    """How predictions are scored."""

    name: str = setting(
        "default",
        "Protocol; `default` is the benchmark's own.",
        choices=("default", "coco", "voc", "lvis", "semantic", "episodes"),
    )
    engine: str = setting(
        "pycocotools",
        "Program that computes average precision; the numbers are the same.",
        choices=("pycocotools", "faster-coco-eval"),
        affects_results=False,
    )
    as_published: bool = setting(
        False, "Use the published script's semantic maps, faults included.", when={"name": ("default", "semantic")}
    )
    min_score: float = setting(
        0.5,
        "Lowest score that is painted into a semantic map (an episode's best detection always is).",
        between=(0, 1),
        when=_PAINTED,
    )
    num_episodes: int = setting(
        1000, "Episodes of COCO-20i, as in Matcher.", between=(1, 1 << 30), when={"name": ("episodes",)}
    )
