"""Settings and registry of the sources of candidate masks.

A further source is its module, its section here with a line in :class:`SourceConfigs`, and its page in the docs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

from no_time_to_train.errors import InputError
from no_time_to_train.settings import section, setting

_T = TypeVar("_T")

_UNION = {"name": ("union",)}
_PREDICTED_IOU = "Masks whose predicted IoU is not above this are dropped."


@dataclass
class PointGridConfig:
    """A regular grid of single foreground points (the paper's source)."""

    points_per_side: int = setting(32, "Grid points on each axis.", between=(1, 1024))
    min_predicted_iou: float = setting(0.4, _PREDICTED_IOU, between=(-1e9, 1))
    prefilter: str = setting(
        "none",
        "`semantic` decodes only points whose patch resembles a prototype; `none` decodes all.",
        choices=("none", "semantic"),
    )
    prefilter_min_similarity: float | None = setting(
        None,
        "Keep points with at least this cosine similarity to some prototype.",
        between=(-1, 1),
        when={"prefilter": ("semantic",)},
    )
    prefilter_top_k: int | None = setting(
        None, "Keep the k most similar points.", between=(1, 1 << 20), when={"prefilter": ("semantic",)}
    )

    def check_settings(self, key: str) -> None:
        """Refuse a prefilter without exactly one limit."""
        if self.prefilter == "semantic" and (self.prefilter_min_similarity is None) == (self.prefilter_top_k is None):
            raise InputError(
                f"{key}.prefilter=semantic needs one of {key}.prefilter_min_similarity and {key}.prefilter_top_k, not "
                "none and not both."
            )


@dataclass
class SemanticClustersConfig:
    """Boxes around clusters of the encoder's patch features."""

    n_clusters: list[int] = setting(
        [4, 8, 16],
        "Numbers of clusters, one K-means each; empty: one number, of 2 to 16, chosen from the features.",
        between=(1, 1 << 20),
    )
    n_pca_components: int = setting(
        8, "Dimensions that patch features are reduced to before K-means.", between=(1, 8192)
    )
    min_cluster_patches: int = setting(
        2, "Connected parts of a cluster with fewer patches give no box.", between=(1, 1 << 20)
    )
    box_padding_patches: float = setting(0.5, "A box is widened by this many patches on every side.", between=(0, 1000))
    min_predicted_iou: float = setting(0.4, _PREDICTED_IOU, between=(-1e9, 1))
    seed: int = setting(0, "Seed of K-means.", between=(0, (1 << 32) - 1))


@dataclass
class AutomaticMasksConfig:
    """SAM's automatic mask generator. The names are SAM's own."""

    points_per_side: int = setting(32, "Points on each axis of the image.", between=(1, 1024))
    pred_iou_thresh: float = setting(
        0.8, "Masks whose predicted IoU is not above this are dropped; 0 or less: none is.", between=(-1e9, 1)
    )
    stability_score_thresh: float = setting(
        0.95, "Masks whose stability score is below this are dropped; 0: none is.", between=(0, 1)
    )
    stability_score_offset: float = setting(
        1.0, "Half the distance of the two thresholds that the stability score compares.", between=(0, 1e9)
    )
    box_nms_thresh: float = setting(
        0.7,
        "Of two masks of one crop whose boxes' IoU is above this, the one of the higher predicted IoU stays.",
        between=(0, 1),
    )
    crop_n_layers: int = setting(0, "Layers of crops besides the whole image; layer i has 2^i x 2^i.", between=(0, 4))
    crop_nms_thresh: float = setting(
        0.7, "As `box_nms_thresh` between crops, where the mask of the smaller crop stays.", between=(0, 1)
    )
    crop_overlap_ratio: float = setting(
        512 / 1500,
        "Overlap of crops as a share of the image's shorter side (layer 1; half in every further).",
        between=(0, 1),
    )
    crop_n_points_downscale_factor: int = setting(
        1, "Layer i has points_per_side / this^i points on each axis.", between=(1, 1024)
    )
    min_mask_region_area: int = setting(
        0,
        "Smaller holes are filled and smaller islands dropped, in pixels of the image; 0: none.",
        between=(0, 1 << 30),
    )


@dataclass
class BoxesConfig:
    """One mask for each box of an object detector."""

    boxes_file: str | None = setting(
        None, "COCO results, or COCO annotations, whose boxes become prompts.", is_file=True
    )
    detector: str | None = setting(
        None,
        "Detector whose boxes become prompts: `owlv2` or `owlv2_large` (boxes of whatever looks like an object), or "
        "the hub id or local folder of an object detector of transformers.",
        is_file=True,
    )
    min_box_score: float = setting(0.0, "Boxes with a lower score are left out.", between=(0, 1))
    nms_iou_threshold: float = setting(
        1.0, "Boxes whose IoU with one of a higher score is above this are left out; 1: none is.", between=(0, 1)
    )
    max_boxes: int = setting(300, "The best this many boxes of an image are used.", between=(1, 1 << 20))
    min_predicted_iou: float = setting(0.4, _PREDICTED_IOU, between=(-1e9, 1))

    def check_settings(self, key: str) -> None:
        """Refuse boxes from nowhere, and from two places."""
        if (self.boxes_file is None) == (self.detector is None):
            raise InputError(
                f"proposals=boxes needs one of {key}.boxes_file and {key}.detector, not none and not both."
            )


def _source(kind: type[_T], component: str) -> _T:
    return section(kind, one_of="chosen", component=f"no_time_to_train.proposals.{component}")


@dataclass
class SourceConfigs:
    """The registry of sources, a line for each.

    The line has its section and the class that is made from it.
    """

    point_grid: PointGridConfig = _source(PointGridConfig, "point_grid:PointGrid")
    semantic_clusters: SemanticClustersConfig = _source(SemanticClustersConfig, "semantic_clusters:SemanticClusters")
    automatic_masks: AutomaticMasksConfig = _source(AutomaticMasksConfig, "automatic_masks:AutomaticMasks")
    boxes: BoxesConfig = _source(BoxesConfig, "boxes:BoxProposals")


SOURCES = tuple(field.name for field in fields(SourceConfigs))
"""The names of all sources."""


@dataclass
class ProposalsConfig(SourceConfigs):
    """Where candidate masks come from."""

    name: str = setting("point_grid", "Source; `union` puts several together.", choices=(*SOURCES, "union"))
    sources: list[str] = setting([], "The sources that `union` puts together.", choices=SOURCES, when=_UNION)
    consistency: str = setting(
        "none",
        "What becomes of masks whose inner features disagree, of every source: `none` keeps them, `drop` leaves them "
        "out. `scoring.consistency_exponent` lowers their score instead.",
        choices=("none", "drop"),
    )
    min_consistency: float = setting(
        0.4,
        "Masks whose features have a lower mean cosine to their own mean are left out.",
        between=(-1, 1),
        when={"consistency": ("drop",)},
    )

    @property
    def chosen(self) -> tuple[str, ...]:
        """Return the names of the sources in use."""
        return tuple(self.sources) if self.name == "union" else (self.name,)

    def check_settings(self, key: str) -> None:
        """Refuse a union of nothing, and of one source twice."""
        if self.name == "union" and (not self.sources or len(set(self.sources)) < len(self.sources)):
            raise InputError(
                f"{key}.sources=[{','.join(self.sources)}]: {key}=union puts different sources together; name some of "
                f"{', '.join(SOURCES)}, e.g. {key}.sources=[point_grid,semantic_clusters]."
            )


@dataclass
class ProposeConfig:
    """Class-free masks (`nttt propose`)."""

    nms_iou_threshold: float = setting(
        0.7, "A mask is left out where its box has a higher IoU with a better mask's.", between=(0, 1)
    )
