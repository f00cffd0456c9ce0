"""The typed schema of every setting: default, unit and meaning beside each field; checked once.

Hydra composes the YAML files in ``configs/`` onto these dataclasses; past the command line no Hydra object exists.
(The classes are not frozen: OmegaConf would make the composed config read-only.)
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

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
    add_no_memory_embedding: bool | None = None
    """Add the learned "no memory" embedding to the image embedding, as the sam2 package's image predictor does; None:
    what the network's configuration says (``directly_add_no_mem_embed``). The published code does not add it."""


@dataclass
class ProposalsConfig:
    """Where candidate masks come from."""

    name: str = "point_grid"
    """``point_grid``, ``semantic_clusters``, ``automatic_masks``, ``boxes`` or ``union``."""
    sources: list[str] = field(default_factory=list)
    """The sources that ``union`` puts together, by name."""
    points_per_side: int = 32
    """The grid has this many points on each axis (``point_grid``, ``automatic_masks``)."""
    min_predicted_iou: float = 0.4
    """Masks whose predicted IoU is not above this are dropped (all but ``automatic_masks``)."""
    prefilter: str = "none"
    """``semantic`` decodes only grid points whose patch resembles a prototype; ``none`` decodes all."""
    prefilter_min_similarity: float | None = None
    """Keep points with at least this cosine similarity to some prototype (with ``prefilter=semantic``)."""
    prefilter_top_k: int | None = None
    """Keep the k most similar points (with ``prefilter=semantic``)."""
    n_pca_components: int = 8
    """Dimensions that patch features are reduced to before K-means (``semantic_clusters``)."""
    n_clusters: list[int] = field(default_factory=lambda: [4, 8, 16])
    """Numbers of clusters, one K-means each; empty: one number, chosen from the features (``semantic_clusters``)."""
    min_cluster_patches: int = 2
    """Connected parts of a cluster with fewer patches give no box (``semantic_clusters``)."""
    box_padding_patches: float = 0.5
    """A cluster's box is widened by this many patches on every side (``semantic_clusters``)."""
    seed: int = 0
    """Seed of K-means (``semantic_clusters``)."""
    pred_iou_thresh: float = 0.8
    """``automatic_masks``: this and the following are SAM's own names and meanings."""
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0
    boxes_file: str | None = None
    """COCO results, or COCO annotations, whose boxes become prompts (``boxes``)."""
    detector: str | None = None
    """Hub id or local folder of a transformers object detector whose boxes become prompts (``boxes``)."""
    min_box_score: float = 0.0
    """Boxes with a lower score are left out (``boxes``)."""
    max_boxes: int = 300
    """The best this many boxes of an image are used (``boxes``)."""
    consistency: str = "none"
    """What becomes of masks whose inner features disagree: ``none`` (nothing) or ``drop``, for every source.
    ``scoring.consistency_exponent`` lowers their score instead."""
    min_consistency: float = 0.4
    """``drop`` leaves out masks whose features have a lower mean cosine to their own mean."""


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
class ScoringConfig:
    """What a mask's score and its rank are made of: powers of similarity, predicted IoU and consistency."""

    similarity_exponent: float = 1.0
    """Of the similarity to the category, in the score."""
    predicted_iou_exponent: float = 0.0
    """Of the mask model's own estimate of a mask's quality, in the score; 0 leaves it out."""
    consistency_exponent: float = 0.0
    """Of the mean cosine of a mask's features to their own mean, in the score."""
    rank_similarity_exponent: float = 0.0
    """The same three for the rank: who suppresses whom in NMS, and whose score merging lowers."""
    rank_predicted_iou_exponent: float = 1.0
    rank_consistency_exponent: float = 0.0


@dataclass
class MergingConfig:
    """How overlapping masks are settled."""

    name: str = "semantic_soft"
    """``hard``, ``soft``, ``semantic_soft``, ``graph_diffusion`` or ``none``."""
    nms_iou_threshold: float = 0.5
    """Class-aware box NMS, in the order of the rank (``scoring``)."""
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
    across_categories: bool = False
    """Of masks that show the same object under several categories only the best is kept: one object, one label."""
    across_categories_iou: float = 0.7
    """Masks of two categories with at least this IoU show the same object."""
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
    """Everything a run depends on.

    Example:
        >>> config = ntt.compose_config(["preset=demo", "merging=hard"])
        >>> isinstance(config, ntt.Config), config.merging.name
        (True, 'hard')
    """

    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    mask_model: MaskModelConfig = field(default_factory=MaskModelConfig)
    proposals: ProposalsConfig = field(default_factory=ProposalsConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    merging: MergingConfig = field(default_factory=MergingConfig)
    references: ReferencesConfig = field(default_factory=ReferencesConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    precision: str = "auto"
    """``auto`` (bfloat16 where the hardware has it), ``float32``, ``bfloat16`` or ``float16``."""

    @property
    def keeps_instances(self) -> bool:
        """Whether the memory bank keeps every instance prototype: asked for, or needed by the matching."""
        return self.references.keep_instances or self.matching.name != "class_mean"


@dataclass
class BenchmarkConfig:
    """Which benchmark, and which part of it. On the command line the part may be named alone: ``split=1``."""

    name: str = "demo"
    """``demo``, ``coco_fsod``, ``pascal_voc``, ``cd_fsod``, ``coco_20i``, ``lvis`` or ``custom``."""
    root: str = "data"
    """Folder that holds the data sets (``nttt data list`` shows what belongs there)."""
    split: int = 1
    """``pascal_voc``: 1, 2 or 3."""
    domain: str = "artaxor"
    """``cd_fsod``: ``artaxor``, ``clipart1k``, ``dior``, ``deepfish``, ``neu_det`` or ``uodd``."""
    fold: int = 0
    """``coco_20i``: 0 to 3."""
    subset: str = "all"
    """``lvis``: ``all``, ``rare``, ``common`` or ``frequent``."""
    references: str | None = None
    """COCO file to draw references from; needed by ``custom``, elsewhere it replaces the benchmark's own (a
    ``references.json`` of an earlier run is used as it is)."""
    reference_images: str | None = None
    """Images of ``references``; None: found beside the file."""
    annotations: str | None = None
    """``custom``: COCO file of the target images."""
    images: str | None = None
    """``custom``: folder of the target images; None: found beside the file."""
    categories: list[str] = field(default_factory=list)
    """``custom``: only these categories; empty: all."""
    sampler: str = "default"
    """How references are drawn: ``default`` is the benchmark's own as in the paper, ``paper`` its seeded sampler,
    ``tfa`` the lists of TFA / Kang, ``released`` the released CD-FSOD shots, ``all`` everything in ``references``."""
    first_annotation_only: bool = False
    """``cd_fsod``: a repeated image gives its first annotation again, as in the published code."""
    limit: int | None = None
    """Only the first this many target images."""


@dataclass
class EvaluatorConfig:
    """How predictions are scored."""

    name: str = "default"
    """``default`` is the benchmark's own; ``coco``, ``voc``, ``lvis``, ``semantic`` or ``episodes``."""
    engine: str = "pycocotools"
    """``pycocotools`` or ``faster-coco-eval``."""
    as_published: bool = False
    """``semantic``: the published script's conversion, faults included."""
    min_score: float = 0.5
    """``semantic`` and ``episodes``: lowest score that is painted (an episode's best detection always is)."""
    num_episodes: int = 1000
    """``episodes``: of COCO-20i as in Matcher."""


@dataclass
class TrainerConfig:
    """Lightning's trainer."""

    devices: int = 1
    """Processes per node, one device each."""
    num_nodes: int = 1
    strategy: str = "auto"
    """``auto``: one process alone, else spawned processes; or any of Lightning's names."""
    num_workers: int = 1
    """Threads that read images ahead in each process."""
    logger: str = "csv"
    """``csv``, ``tensorboard``, ``wandb``, ``mlflow`` or ``none``."""


@dataclass
class CacheConfig:
    """Proposals and their pooled features on disk, for sweeps."""

    enabled: bool = False
    folder: str = "cache/proposals"


@dataclass
class BenchConfig(Config):
    """A benchmark run: the method's settings, and what it is run on."""

    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    evaluator: EvaluatorConfig = field(default_factory=EvaluatorConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    shots: int = 10
    """References per category."""
    seed: int = 33
    """Of the drawing of references."""
    runs: str = "runs"
    """Folder of all runs; this one's lies below it, by benchmark, models, shots and seed."""


_CHOICES: dict[str, tuple[str, ...]] = {
    "mask_model.decoder": ("folded", "plain"),
    "proposals.name": ("point_grid", "semantic_clusters", "automatic_masks", "boxes", "union"),
    "proposals.consistency": ("none", "drop"),
    "proposals.prefilter": ("none", "semantic"),
    "matching.name": ("class_mean", "nearest_centres", "nearest_instances"),
    "merging.name": ("hard", "soft", "semantic_soft", "graph_diffusion", "none"),
    "output.box_convention": ("half_open", "inclusive"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
}
_BENCH_CHOICES: dict[str, tuple[str, ...]] = {
    "benchmark.name": ("demo", "coco_fsod", "pascal_voc", "cd_fsod", "coco_20i", "lvis", "custom"),
    "benchmark.domain": ("artaxor", "clipart1k", "dior", "deepfish", "neu_det", "uodd"),
    "benchmark.subset": ("all", "rare", "common", "frequent"),
    "benchmark.sampler": ("default", "paper", "tfa", "released", "all"),
    "evaluator.name": ("default", "coco", "voc", "lvis", "semantic", "episodes"),
    "evaluator.engine": ("pycocotools", "faster-coco-eval"),
    "trainer.logger": ("csv", "tensorboard", "wandb", "mlflow", "none"),
}
_BENCH_RANGES: dict[str, tuple[float, float]] = {
    "benchmark.split": (1, 3),
    "benchmark.fold": (0, 3),
    "benchmark.limit": (1, 1 << 30),
    "evaluator.min_score": (0, 1),
    "evaluator.num_episodes": (1, 1 << 30),
    "trainer.devices": (1, 4096),
    "trainer.num_nodes": (1, 65536),
    "trainer.num_workers": (0, 1024),
    "shots": (1, 1 << 20),
}
_RANGES: dict[str, tuple[float, float]] = {
    "features.image_size": (8, 8192),
    "features.batch_size": (1, 4096),
    "mask_model.prompts_per_batch": (1, 65536),
    "proposals.points_per_side": (1, 1024),
    "proposals.min_predicted_iou": (-1e9, 1),
    "proposals.prefilter_min_similarity": (-1, 1),
    "proposals.prefilter_top_k": (1, 1 << 20),
    "proposals.n_pca_components": (1, 8192),
    "proposals.min_cluster_patches": (1, 1 << 20),
    "proposals.box_padding_patches": (0, 1000),
    "proposals.pred_iou_thresh": (-1e9, 1),
    "proposals.stability_score_thresh": (0, 1),
    "proposals.stability_score_offset": (0, 1e9),
    "proposals.box_nms_thresh": (0, 1),
    "proposals.crop_n_layers": (0, 4),
    "proposals.crop_nms_thresh": (0, 1),
    "proposals.crop_overlap_ratio": (0, 1),
    "proposals.crop_n_points_downscale_factor": (1, 1024),
    "proposals.min_mask_region_area": (0, 1 << 30),
    "proposals.min_box_score": (0, 1),
    "proposals.max_boxes": (1, 1 << 20),
    "proposals.min_consistency": (-1, 1),
    "matching.labels_per_mask": (1, 65536),
    "matching.num_centres": (1, 65536),
    "matching.num_neighbours": (1, 65536),
    "scoring.similarity_exponent": (0, 100),
    "scoring.predicted_iou_exponent": (0, 100),
    "scoring.consistency_exponent": (0, 100),
    "scoring.rank_similarity_exponent": (0, 100),
    "scoring.rank_predicted_iou_exponent": (0, 100),
    "scoring.rank_consistency_exponent": (0, 100),
    "merging.nms_iou_threshold": (0, 1),
    "merging.max_masks": (1, 1 << 20),
    "merging.exponent": (0, 100),
    "merging.ios_threshold": (0, 1),
    "merging.diffusion_alpha": (0, 1),
    "merging.diffusion_steps": (0, 100_000),
    "merging.diffusion_tolerance": (0, 1),
    "merging.across_categories_iou": (0, 1),
    "merging.max_detections": (1, 1 << 20),
    "references.context_ratio": (0, 10),
    "references.min_box_coverage": (0, 1),
    "output.min_score": (0, 1),
    "output.draw_min_score": (0, 1),
}


AnyConfig = TypeVar("AnyConfig", bound=Config)


def validate(config: AnyConfig) -> AnyConfig:
    """Check choices and ranges; returns the same config. Raises InputError naming the key."""
    is_bench = isinstance(config, BenchConfig)
    for key, choices in (_CHOICES | _BENCH_CHOICES if is_bench else _CHOICES).items():
        value = _lookup(config, key)
        if value not in choices:
            raise InputError(f"{key}={value} is not a choice. Use one of: {', '.join(choices)}.")
    for key, (low, high) in (_RANGES | _BENCH_RANGES if is_bench else _RANGES).items():
        value = _lookup(config, key)
        if value is not None and not low <= value <= high:
            raise InputError(f"{key}={value} is out of range: it must be between {low:g} and {high:g}.")
    if any(k < 1 for k in config.proposals.n_clusters):
        came = f"[{','.join(map(str, config.proposals.n_clusters))}]"
        raise InputError(f"proposals.n_clusters={came} is out of range: every number must be at least 1.")
    if config.proposals.prefilter == "semantic" and (
        (config.proposals.prefilter_min_similarity is None) == (config.proposals.prefilter_top_k is None)
    ):
        raise InputError(
            "proposals.prefilter=semantic needs one of proposals.prefilter_min_similarity and "
            "proposals.prefilter_top_k, not none and not both."
        )
    sources = config.proposals.sources if config.proposals.name == "union" else [config.proposals.name]
    if "boxes" in sources and (config.proposals.boxes_file is None) == (config.proposals.detector is None):
        raise InputError(
            "proposals=boxes needs one of proposals.boxes_file and proposals.detector, not none and not both."
        )
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain dict of a config dataclass (for hashes and run.json)."""
    return {f.name: to_dict(value) if is_dataclass(value := getattr(config, f.name)) else value for f in fields(config)}


def _lookup(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
