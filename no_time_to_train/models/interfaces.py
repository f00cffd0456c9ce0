"""What the pipeline asks of its two frozen networks. Any object with these members will do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PromptBatch:
    """N prompts of one image, in pixels of the mask model's square input (0..image_size).

    Attributes:
        points_xy: (N, P, 2) float or None.
        point_labels: (N, P) int, 1 foreground, 0 background, -1 padding; or None.
        boxes_xyxy: (N, 4) float or None.
        mask_logits: (N, m, m) float low-resolution logits of an earlier pass, or None.
    """

    points_xy: Tensor | None = None
    point_labels: Tensor | None = None
    boxes_xyxy: Tensor | None = None
    mask_logits: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.points_xy is None) != (self.point_labels is None):
            raise ValueError("points_xy and point_labels go together")
        if self.points_xy is None and self.boxes_xyxy is None and self.mask_logits is None:
            raise ValueError("a prompt needs points, a box or a mask")

    @classmethod
    def of_clicks(cls, points_xy: Tensor) -> PromptBatch:
        """Make one prompt of each of (N, 2) foreground points."""
        return cls(points_xy[:, None], torch.ones(len(points_xy), 1, dtype=torch.int32, device=points_xy.device))

    def __len__(self) -> int:
        for tensor in (self.points_xy, self.boxes_xyxy, self.mask_logits):
            if tensor is not None:
                return tensor.shape[0]
        raise AssertionError("unreachable: checked in __post_init__")

    def __getitem__(self, index: slice | Tensor) -> PromptBatch:
        def take(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[index]

        return PromptBatch(take(self.points_xy), take(self.point_labels), take(self.boxes_xyxy), take(self.mask_logits))


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """Masks for N prompts: ``logits`` (N, M, m, m) and ``predicted_ious`` (N, M); M is 3 (multimask) or 1."""

    logits: Tensor
    predicted_ious: Tensor


@dataclass(frozen=True, eq=False)
class BestMasks:
    """The masks that are kept of many prompts.

    They are the best one of each (``predict_best``), or up to three (``predict_above``).

    Attributes:
        logits: (K, m, m) float32.
        predicted_ious: (K,) float32.
        prompt_indices: (K,) int64, ascending: which prompt each mask comes from.
    """

    logits: Tensor
    predicted_ious: Tensor
    prompt_indices: Tensor


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """What the mask model knows of one image; a value that can be kept and passed back in.

    Attributes:
        embedding: (1, D, h, w) image embedding; the "no memory" embedding is already in it where it is to be added.
        high_res_features: the stride-4 and stride-8 features, (1, D/8, 4h, 4w) and (1, D/4, 2h, 2w).
    """

    embedding: Tensor
    high_res_features: tuple[Tensor, Tensor]


@runtime_checkable
class FeatureEncoder(Protocol):
    """A frozen image encoder that gives one feature vector per patch."""

    model_id: str
    """Identity of the weights, e.g. ``dinov2_large``; stored in the memory bank and compared on loading."""
    image_size: int
    """Side of the square input in pixels, a multiple of ``patch_size``."""
    patch_size: int
    feature_dim: int
    device: torch.device

    def encode(self, images: Tensor) -> Tensor:
        """Encode images to (B, h, w, D) float32.

        Args:
            images: (B, 3, image_size, image_size) RGB float in 0..1 (not normalized).
        """
        ...


@runtime_checkable
class MaskModel(Protocol):
    """A frozen promptable segmentation model."""

    model_id: str
    image_size: int
    """Side of the square input in pixels (1024 for SAM 2)."""
    mask_size: int
    """Side m of the low-resolution mask grid (256 for SAM 2)."""
    device: torch.device

    def encode_images(self, images: Tensor) -> list[ImageEmbedding]:
        """Encode images to B embeddings.

        Args:
            images: (B, 3, image_size, image_size) RGB float in 0..1 (not normalized).
        """
        ...

    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, *, multimask: bool) -> MaskPrediction:
        """Predict masks for N prompts: all three multimask outputs, or the single one."""
        ...

    def predict_best(self, embedding: ImageEmbedding, prompts: PromptBatch, *, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's best mask, where its IoU is > ``min_predicted_iou``."""
        ...

    def predict_above(self, embedding: ImageEmbedding, prompts: PromptBatch, *, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's masks whose IoU is > ``min_predicted_iou``, in their order."""
        ...
