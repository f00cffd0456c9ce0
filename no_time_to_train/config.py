"""The typed schema of every setting: default, unit and meaning beside each field; checked once.

Hydra composes the YAML files in ``configs/`` onto these dataclasses; past the command line no Hydra object exists.
(The classes are not frozen: OmegaConf would make the composed config read-only.)
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from no_time_to_train.errors import InputError


@dataclass
class FeaturesConfig:
    """The frozen encoder."""

    name: str = "dinov2_large"
    """A name of ``nttt weights list``."""
    weights: str | None = None
    """Hub id, local folder or local file to use instead of the name's own; None: the name's."""
    image_size: int = 518
    """Side of the square input in pixels; a multiple of the encoder's patch."""
    batch_size: int = 8
    """Images per forward pass (references and target images)."""
    compile: bool = False
    """torch.compile on the GPU (static shapes)."""


@dataclass
class MaskModelConfig:
    """The frozen promptable mask model."""

    name: str = "sam2.1_large"
    weights: str | None = None
    decoder: str = "folded"
    """``folded``: the shared-image decoder (same numbers, faster); ``plain``: the sam2 package's own."""
    prompts_per_batch: int | None = None
    """Prompts decoded at once; None: chosen for the device (cache-sized on a CPU, hundreds on a GPU)."""
    compile: bool = False


@dataclass
class ProposalsConfig:
    """Where candidate masks come from."""

    name: str = "point_grid"
    points_per_side: int = 32
    """The grid has this many points on each axis."""
    min_predicted_iou: float = 0.4
    """Masks whose predicted IoU is not above this are dropped."""
    prefilter: str = "none"
    """``semantic`` decodes only grid points whose patch resembles a prototype; ``none`` decodes all."""
    prefilter_min_similarity: float | None = None
    """Keep points with at least this cosine similarity to some prototype (with ``prefilter=semantic``)."""
    prefilter_top_k: int | None = None
    """Keep the k most similar points (with ``prefilter=semantic``)."""


@dataclass
class MatchingConfig:
    """How a mask gets its label and score."""

    name: str = "class_mean"
    """``class_mean``, ``nearest_centres`` or ``nearest_instances``."""
    labels_per_mask: int = 1
    """The best this many categories of a mask each give a detection."""
    num_centres: int = 4
    """K-means centres per category (``nearest_centres``); never more than its references."""
    num_neighbours: int = 5
    """Nearest reference instances that vote (``nearest_instances``)."""
    seed: int = 0
    """Seed of K-means."""


@dataclass
class MergingConfig:
    """How overlapping masks are settled."""

    name: str = "semantic_soft"
    """``hard``, ``soft``, ``semantic_soft``, ``graph_diffusion`` or ``none``."""
    nms_iou_threshold: float = 0.5
    """Class-aware box NMS, ranked by predicted IoU."""
    max_masks: int = 800
    """Masks kept after NMS."""
    exponent: float = 0.5
    """Power of the decay factor (soft methods)."""
    ios_threshold: float = 1.0
    """``hard`` drops a mask whose intersection over self with a better one reaches this."""
    diffusion_alpha: float = 0.3
    diffusion_steps: int = 30
    diffusion_tolerance: float = 1e-6
    normalise_rows: bool = True
    """Row-normalise the diffusion matrix (the published code does not)."""
    max_detections: int = 100
    """Detections per image."""


@dataclass
class ReferencesConfig:
    """How references are read."""

    context_ratio: float = 0.2
    """The square crop around an instance is (1 + this) times its longer side."""
    min_box_coverage: float = 0.05
    """A mask made from a box that covers less of the box than this is replaced by the box."""
    keep_instances: bool = False
    """Keep every instance prototype in the memory bank (needed by the nearest_* matchings, set by them)."""


@dataclass
class OutputConfig:
    """What is written."""

    min_score: float = 0.05
    """Lowest score in ``predictions.json``; nothing below is kept."""
    draw_min_score: float = 0.4
    """Lowest score in ``annotations.json``, the overlays and the table."""
    box_convention: str = "half_open"
    """``half_open``, or ``inclusive``: boxes end on the last pixel's index, one short (the published code's)."""


@dataclass
class Config:
    """Everything a run depends on."""

    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    mask_model: MaskModelConfig = field(default_factory=MaskModelConfig)
    proposals: ProposalsConfig = field(default_factory=ProposalsConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    merging: MergingConfig = field(default_factory=MergingConfig)
    references: ReferencesConfig = field(default_factory=ReferencesConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    precision: str = "auto"
    """``auto`` (bfloat16 where the hardware has it), ``float32``, ``bfloat16`` or ``float16``."""


_CHOICES: dict[str, tuple[str, ...]] = {
    "mask_model.decoder": ("folded", "plain"),
    "proposals.name": ("point_grid",),
    "proposals.prefilter": ("none", "semantic"),
    "matching.name": ("class_mean", "nearest_centres", "nearest_instances"),
    "merging.name": ("hard", "soft", "semantic_soft", "graph_diffusion", "none"),
    "output.box_convention": ("half_open", "inclusive"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
}
_RANGES: dict[str, tuple[float, float]] = {
    "features.image_size": (8, 8192),
    "features.batch_size": (1, 4096),
    "mask_model.prompts_per_batch": (1, 65536),
    "proposals.points_per_side": (1, 1024),
    "proposals.min_predicted_iou": (-1e9, 1),
    "proposals.prefilter_min_similarity": (-1, 1),
    "proposals.prefilter_top_k": (1, 1 << 20),
    "matching.labels_per_mask": (1, 65536),
    "matching.num_centres": (1, 65536),
    "matching.num_neighbours": (1, 65536),
    "merging.nms_iou_threshold": (0, 1),
    "merging.max_masks": (1, 1 << 20),
    "merging.exponent": (0, 100),
    "merging.ios_threshold": (0, 1),
    "merging.diffusion_alpha": (0, 1),
    "merging.diffusion_steps": (0, 100_000),
    "merging.diffusion_tolerance": (0, 1),
    "merging.max_detections": (1, 1 << 20),
    "references.context_ratio": (0, 10),
    "references.min_box_coverage": (0, 1),
    "output.min_score": (0, 1),
    "output.draw_min_score": (0, 1),
}


def validate(config: Config) -> Config:
    """Check choices and ranges; returns the same config. Raises InputError naming the key."""
    for key, choices in _CHOICES.items():
        value = _lookup(config, key)
        if value not in choices:
            raise InputError(f"{key}={value} is not a choice. Use one of: {', '.join(choices)}.")
    for key, (low, high) in _RANGES.items():
        value = _lookup(config, key)
        if value is not None and not low <= value <= high:
            raise InputError(f"{key}={value} is out of range: it must be between {low:g} and {high:g}.")
    if config.proposals.prefilter == "semantic" and (
        (config.proposals.prefilter_min_similarity is None) == (config.proposals.prefilter_top_k is None)
    ):
        raise InputError(
            "proposals.prefilter=semantic needs one of proposals.prefilter_min_similarity and "
            "proposals.prefilter_top_k, not none and not both."
        )
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain dict of a config dataclass (for hashes and run.json)."""
    return {
        f.name: to_dict(value) if is_dataclass(value := getattr(config, f.name)) else value for f in fields(config)
    }


def _lookup(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
