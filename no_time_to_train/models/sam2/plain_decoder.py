"""Decoding one batch of prompts with the sam2 package's own modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from no_time_to_train.models.interfaces import ImageEmbedding, MaskPrediction, PromptBatch
from no_time_to_train.models.mask_decoding import WholeDecoder, points_with_boxes

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base


class PlainDecoder(WholeDecoder):
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
