"""The typed schema of every setting, composed of the components' sections.

Hydra composes the YAML files in ``configs/`` onto these dataclasses; past the command line no Hydra object exists.
(The classes are not frozen: OmegaConf would make the composed config read-only.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from no_time_to_train.benchmarks.settings import BenchmarkConfig
from no_time_to_train.data.settings import TILES_HELP, BenchImagesConfig, ImagesConfig, check_tiles
from no_time_to_train.evaluation.settings import EvaluatorConfig
from no_time_to_train.models.settings import EncoderConfig, MaskModelConfig
from no_time_to_train.outputs.settings import OutputConfig
from no_time_to_train.proposals.settings import ProposalsConfig, ProposeConfig
from no_time_to_train.references.settings import ReferencesConfig
from no_time_to_train.runs.settings import CacheConfig, TrainerConfig
from no_time_to_train.settings import Scope, section, setting, to_dict, validate
from no_time_to_train.settings.walk import result_settings, settings_of
from no_time_to_train.tracking.settings import TrackingConfig

__all__ = [
    "BenchConfig",
    "BenchmarkConfig",
    "CacheConfig",
    "Config",
    "EncoderConfig",
    "EvaluatorConfig",
    "GraphDiffusionConfig",
    "HardConfig",
    "ImagesConfig",
    "MaskModelConfig",
    "MatchingConfig",
    "MergingConfig",
    "NearestCentersConfig",
    "NearestInstancesConfig",
    "OutputConfig",
    "ProposalsConfig",
    "ProposeConfig",
    "ReferencesConfig",
    "ScoringConfig",
    "TrackingConfig",
    "TrainerConfig",
    "config_hash",
    "method_settings",
    "present_names",
    "to_dict",
    "validate",
]


@dataclass
class NearestCentersConfig:
    """K-means centers of a category's instance prototypes."""

    num_centers: int = setting(4, "Centers of each category; never more than its references.", between=(1, 65536))
    seed: int = setting(0, "Seed of K-means.", between=(0, (1 << 32) - 1))


@dataclass
class NearestInstancesConfig:
    """A vote of the nearest reference instances."""

    num_neighbors: int = setting(5, "Nearest reference instances that vote.", between=(1, 65536))


@dataclass
class MatchingConfig:
    """How a mask gets its label and score."""

    name: str = setting(
        "class_mean",
        "Similarity to each category's mean prototype, to centers of it, or to single reference instances.",
        choices=("class_mean", "nearest_centers", "nearest_instances"),
    )
    labels_per_mask: int = setting(
        1, "The best this many categories of a mask each give a detection.", between=(1, 65536)
    )
    nearest_centers: NearestCentersConfig = section(NearestCentersConfig, one_of="name")
    nearest_instances: NearestInstancesConfig = section(NearestInstancesConfig, one_of="name")


@dataclass
class HardConfig:
    """Hard merging."""

    ios_threshold: float = setting(
        1.0,
        "A mask is dropped whose intersection over self with a better one reaches this.",
        between=(0, 1),
    )


@dataclass
class GraphDiffusionConfig:
    """Graph diffusion (FSOD-VFM, arXiv 2602.03137)."""

    alpha: float = setting(0.3, "Share of a step that comes from the graph.", between=(0, 1))
    steps: int = setting(30, "Most steps.", between=(0, 100_000))
    tolerance: float = setting(1e-6, "Steps end once no score changes by more.", between=(0, 1))
    normalize_rows: bool = setting(True, "Divide every row of the matrix by its sum (the published code does not).")


def _exponent(default: float, help: str) -> float:
    return setting(default, help, between=(0, 100))


@dataclass
class ScoringConfig:
    """Factors of a mask's score and of its rank: a product of powers.

    An exponent of 0 leaves a factor out.
    """

    similarity_exponent: float = _exponent(1.0, "Power of the similarity to the category in the score.")
    predicted_iou_exponent: float = _exponent(
        1.0, "Power of the mask model's own estimate of a mask's quality in the score; 0 leaves it out."
    )
    stability_exponent: float = _exponent(
        1.0, "Power of SAM's stability score in the score: how little a mask changes with its threshold."
    )
    consistency_exponent: float = _exponent(
        0.0, "Power of the mean cosine of a mask's features to their own mean in the score."
    )
    rank_similarity_exponent: float = _exponent(
        2.0, "Power of the similarity in the rank: who suppresses whom in NMS, and whose score merging lowers."
    )
    rank_predicted_iou_exponent: float = _exponent(1.0, "Power of the predicted IoU in the rank.")
    rank_stability_exponent: float = _exponent(2.0, "Power of the stability in the rank.")
    rank_consistency_exponent: float = _exponent(0.0, "Power of the consistency in the rank.")


@dataclass
class SecondLookConfig:
    """Second encoding of an image's best masks, which are then matched again.

    Each is encoded as the crop that a reference gets.
    """

    max_masks: int = setting(
        0, "The best this many masks of an image, one pass of the encoder each; 0: none.", between=(0, 10_000)
    )
    discount: float = setting(
        0.5, "Factor of the similarity of the masks that are not looked at again.", between=(0, 1)
    )


@dataclass
class MergingConfig:
    """How overlapping masks are settled."""

    name: str = setting(
        "semantic_soft",
        "`semantic_soft` is the paper's; `none` leaves scores as matched.",
        choices=("hard", "soft", "semantic_soft", "graph_diffusion", "none"),
    )
    nms_iou_threshold: float = setting(
        0.7, "Class-aware box NMS in the order of the rank: boxes of a higher IoU with a better one go.", between=(0, 1)
    )
    max_masks: int = setting(800, "Masks of an image kept after NMS.", between=(1, 1 << 20))
    exponent: float = setting(
        0.5,
        "Power of the factor that lowers scores.",
        between=(0, 100),
        when={"name": ("soft", "semantic_soft", "graph_diffusion")},
    )
    across_categories: bool = setting(
        False,
        "Of masks that show the same object under several categories only the best is kept: one object, one label.",
    )
    across_categories_iou: float = setting(
        0.7,
        "Masks of two categories with at least this IoU show the same object.",
        between=(0, 1),
        when={"across_categories": ("true",)},
    )
    max_detections: int = setting(100, "Detections of an image.", between=(1, 1 << 20))
    hard: HardConfig = section(HardConfig, one_of="name")
    graph_diffusion: GraphDiffusionConfig = section(GraphDiffusionConfig, one_of="name")


@dataclass
class Config:
    """Everything a run depends on.

    Example:
        >>> config = ntt.compose_config(["preset=demo", "merging=hard"])
        >>> isinstance(config, ntt.Config), config.merging.name
        (True, 'hard')
    """

    images: ImagesConfig = section(ImagesConfig)
    encoder: EncoderConfig = section(EncoderConfig)
    mask_model: MaskModelConfig = section(MaskModelConfig)
    proposals: ProposalsConfig = section(ProposalsConfig)
    matching: MatchingConfig = section(MatchingConfig)
    scoring: ScoringConfig = section(ScoringConfig)
    second_look: SecondLookConfig = section(SecondLookConfig)
    merging: MergingConfig = section(MergingConfig)
    references: ReferencesConfig = section(ReferencesConfig)
    output: OutputConfig = section(OutputConfig)
    tracking: TrackingConfig = section(TrackingConfig, scope="track")
    propose: ProposeConfig = section(ProposeConfig, scope="propose")
    tiles: str = setting("none", TILES_HELP)
    device: str = setting("auto", "`auto`, `cpu`, `cuda`, `cuda:1` or `mps`.", affects_results=False)
    precision: str = setting(
        "auto",
        "Number format of both networks; `auto` is bfloat16 where the hardware has it, else float32.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )

    def check_settings(self, key: str) -> None:
        """Check how the settings fit together; called by ``validate``."""
        check_tiles(self.tiles, self.proposals.chosen)

    @property
    def keeps_instances(self) -> bool:
        """Return whether the memory bank keeps every instance prototype.

        It does where that is asked for, or needed by the matching.
        """
        return self.references.keep_instances or self.matching.name != "class_mean"


@dataclass
class BenchConfig(Config):
    """A benchmark run: the method's settings, and what it is run on."""

    images: ImagesConfig = section(BenchImagesConfig)
    benchmark: BenchmarkConfig = section(BenchmarkConfig, scope="bench")
    evaluator: EvaluatorConfig = section(EvaluatorConfig, scope="evaluation")
    trainer: TrainerConfig = section(TrainerConfig, scope="bench", affects_results=False)
    cache: CacheConfig = section(CacheConfig, scope="bench", affects_results=False)
    shots: int = setting(10, "References of each category.", between=(1, 1 << 20), scope="bench")
    seed: int = setting(33, "Seed of the drawing of references.", between=(0, (1 << 32) - 1), scope="bench")
    runs: str = setting(
        "runs",
        "Folder of all runs; each lies below it, by benchmark, models, shots and seed.",
        affects_results=False,
        scope="bench",
    )


SETTINGS_FORMAT = 2
"""Raised whenever names or meanings of settings change such that hashes of earlier runs cannot be compared."""


def config_hash(config: Config, *scopes: Scope) -> str:
    """Hash every setting that can change a result, as 12 hex digits.

    Left out are what is not in use, the device, the decoder (same numbers) and batch sizes, so that a folder begun on
    one machine can be continued on another.

    Args:
        config: of any command.
        scopes: the command's own settings that count beside the method's.
    """
    settings = result_settings(config, ("method", *scopes))
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def method_settings(config: Config) -> dict[str, Any]:
    """Return what a memory file keeps of a config, by dotted name: what decides the results of labeling and tracking.

    Left out are the device and what only changes the speed, so that the file can go to another machine.

    Example:
        >>> method_settings(Config())["encoder.name"]
        'dinov2_large'
    """
    return {
        setting.key: setting.value
        for setting in settings_of(config)
        if setting.unused is None
        and (setting.facts.affects_results or setting.key == "output.draw_min_score")
        and setting.facts.scope in (None, "method", "track")
    }


OLD_KEYS: dict[str, tuple[str, ...]] = {
    **{
        f"proposals.{name}": (f"proposals.point_grid.{name}",)
        for name in ("prefilter", "prefilter_min_similarity", "prefilter_top_k")
    },
    **{
        f"proposals.{name}": (f"proposals.semantic_clusters.{name}",)
        for name in ("n_pca_components", "n_clusters", "min_cluster_patches", "box_padding_patches", "seed")
    },
    **{
        f"proposals.{name}": (f"proposals.automatic_masks.{name}",)
        for name in (
            "pred_iou_thresh",
            "stability_score_thresh",
            "stability_score_offset",
            "box_nms_thresh",
            "crop_n_layers",
            "crop_nms_thresh",
            "crop_overlap_ratio",
            "crop_n_points_downscale_factor",
            "min_mask_region_area",
        )
    },
    **{
        f"proposals.{name}": (f"proposals.boxes.{name}",)
        for name in ("boxes_file", "detector", "min_box_score", "max_boxes")
    },
    "proposals.points_per_side": ("proposals.point_grid.points_per_side", "proposals.automatic_masks.points_per_side"),
    "proposals.min_predicted_iou": tuple(
        f"proposals.{source}.min_predicted_iou" for source in ("point_grid", "semantic_clusters", "boxes")
    ),
    "matching.num_centres": ("matching.nearest_centers.num_centers",),
    "matching.num_neighbours": ("matching.nearest_instances.num_neighbors",),
    "matching.seed": ("matching.nearest_centers.seed",),
    "merging.ios_threshold": ("merging.hard.ios_threshold",),
    "merging.diffusion_alpha": ("merging.graph_diffusion.alpha",),
    "merging.diffusion_steps": ("merging.graph_diffusion.steps",),
    "merging.diffusion_tolerance": ("merging.graph_diffusion.tolerance",),
    "merging.normalise_rows": ("merging.graph_diffusion.normalize_rows",),
    "features": ("encoder",),
    **{f"features.{name}": (f"encoder.{name}",) for name in ("name", "weights", "image_size", "batch_size", "compile")},
}
"""Names that settings had before, and what they are called now. They work for one release more."""

OLD_OVERRIDES = {"proposals.consistency=weigh": "scoring.consistency_exponent=1"}
"""Whole settings that have become others."""

OLD_VALUES = {
    "matching": {"nearest_centres": "nearest_centers"},
    "matching.name": {"nearest_centres": "nearest_centers"},
}
"""Choices that had another name before, by setting."""


def present_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Rename settings that an earlier version wrote to their present names.

    Example:
        >>> present_names({"merging.normalise_rows": True})
        {'merging.graph_diffusion.normalize_rows': True}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        for target in OLD_KEYS.get(key, (key,)):
            found[target] = OLD_VALUES.get(target, {}).get(value, value) if isinstance(value, str) else value
    return found
