"""Decoding one batch of prompts with the sam2 package's own modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from no_time_to_train.models.interfaces import BestMasks, ImageEmbedding, MaskPrediction, PromptBatch

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base


class PromptDecoder(Protocol):
    """Decoder of one batch of prompts, such as ``PlainDecoder`` and ``PointDecoder``."""

    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, multimask: bool) -> MaskPrediction:
        """Predict all three multimask outputs, or the single one."""

    def predict_best(self, embedding: ImageEmbedding, prompts: PromptBatch, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's best mask, where its IoU is above the minimum."""

    def predict_above(self, embedding: ImageEmbedding, prompts: PromptBatch, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's masks whose IoU is above the minimum."""


class PlainDecoder:
    """The sam2 package's own prompt encoder and mask decoder, called as its ``SAM2ImagePredictor`` does."""

    def __init__(self, sam: SAM2Base) -> None:
        self._sam = sam

    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, multimask: bool) -> MaskPrediction:
        """Predict all three multimask outputs, or the single one."""
        sparse, dense = self._sam.sam_prompt_encoder(
            points=points_with_boxes(prompts),
            boxes=None,
            masks=None if prompts.mask_logits is None else prompts.mask_logits[:, None],
        )
        logits, predicted_ious, _, _ = self._sam.sam_mask_decoder(
            image_embeddings=embedding.embedding,
            image_pe=self._sam.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=True,
            high_res_features=list(embedding.high_res_features),
        )
        return MaskPrediction(logits.float(), predicted_ious.float())

    def predict_best(self, embedding: ImageEmbedding, prompts: PromptBatch, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's best mask (the first of equals), where it is above the minimum."""
        prediction = self.predict(embedding, prompts, True)
        best = prediction.predicted_ious.argmax(dim=1)
        predicted_ious = prediction.predicted_ious.gather(1, best[:, None])[:, 0]
        kept = torch.nonzero(predicted_ious > min_predicted_iou)[:, 0]
        return BestMasks(prediction.logits[kept, best[kept]], predicted_ious[kept], kept)

    def predict_above(self, embedding: ImageEmbedding, prompts: PromptBatch, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's masks whose IoU is above the minimum."""
        prediction = self.predict(embedding, prompts, True)
        kept = prediction.predicted_ious > min_predicted_iou
        return BestMasks(prediction.logits[kept], prediction.predicted_ious[kept], torch.nonzero(kept)[:, 0])


def points_with_boxes(prompts: PromptBatch) -> tuple[Tensor, Tensor] | None:
    """Return points and labels for the prompt encoder.

    A box is its two corners (labels 2 and 3) before the points.
    """
    coordinates, labels = [], []
    if prompts.boxes_xyxy is not None:
        coordinates.append(prompts.boxes_xyxy.reshape(-1, 2, 2))
        labels.append(torch.tensor([2, 3], dtype=torch.int32, device=prompts.boxes_xyxy.device).expand(len(prompts), 2))
    if prompts.points_xy is not None and prompts.point_labels is not None:
        coordinates.append(prompts.points_xy)
        labels.append(prompts.point_labels)
    return (torch.cat(coordinates, dim=1), torch.cat(labels, dim=1)) if coordinates else None
