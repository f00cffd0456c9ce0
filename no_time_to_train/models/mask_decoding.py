"""What all promptable mask models share: prompts decoded in batches, and which of the three masks are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from no_time_to_train.errors import InputError
from no_time_to_train.models.batching import PromptBatcher, default_prompts_per_batch
from no_time_to_train.models.interfaces import BestMasks, ImageEmbedding, MaskPrediction, PromptBatch
from no_time_to_train.models.precision import forward_precision
from no_time_to_train.ops.transfers import to_device


class PromptDecoder(Protocol):
    """Decoder of one batch of prompts, such as ``PlainDecoder`` and ``PointDecoder``."""

    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, multimask: bool) -> MaskPrediction:
        """Predict all three multimask outputs, or the single one."""

    def predict_best(self, embedding: ImageEmbedding, prompts: PromptBatch, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's best mask, where its IoU is above the minimum."""

    def predict_above(self, embedding: ImageEmbedding, prompts: PromptBatch, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's masks whose IoU is above the minimum."""


class WholeDecoder(ABC):
    """A ``PromptDecoder`` that decodes all three masks of every prompt, and then chooses."""

    @abstractmethod
    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, multimask: bool) -> MaskPrediction:
        """Predict all three multimask outputs, or the single one."""

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
        prompts_above, outputs = torch.nonzero(prediction.predicted_ious > min_predicted_iou, as_tuple=True)
        kept = prompts_above, outputs
        return BestMasks(prediction.logits[kept], prediction.predicted_ious[kept], prompts_above)


def split_embeddings(embedding: Tensor, stride_4: Tensor, stride_8: Tensor) -> list[ImageEmbedding]:
    """Return one embedding per image of a batch, each keeping a batch axis of length 1."""
    return [
        ImageEmbedding(embedding[i : i + 1], (stride_4[i : i + 1], stride_8[i : i + 1])) for i in range(len(embedding))
    ]


def points_with_boxes(prompts: PromptBatch) -> tuple[Tensor, Tensor] | None:
    """Return points and labels for the prompt encoder.

    A box is its two corners (labels 2 and 3) before the points.
    """
    coordinates, labels = [], []
    if prompts.boxes_xyxy is not None:
        coordinates.append(prompts.boxes_xyxy.reshape(-1, 2, 2))
        corners = torch.arange(2, 4, dtype=torch.int32, device=prompts.boxes_xyxy.device)
        labels.append(corners.expand(len(prompts), 2))
    if prompts.points_xy is not None and prompts.point_labels is not None:
        coordinates.append(prompts.points_xy)
        labels.append(prompts.point_labels)
    return (torch.cat(coordinates, dim=1), torch.cat(labels, dim=1)) if coordinates else None


class BatchedMaskModel:
    """The part of a ``MaskModel`` that does not depend on the network: all but ``encode_images``.

    Args:
        decoder: of one batch of prompts.
        model_id: identity of the weights.
        image_size: side of the square input in pixels.
        mask_size: side of the low-resolution masks.
        mean, std: normalization of RGB values in 0..1.
        device: where the network runs.
        dtype: ``torch.float32``, or the format of autocast.
        prompts_per_batch: prompts decoded at once; None: chosen for the device.
    """

    def __init__(
        self,
        decoder: PromptDecoder,
        *,
        model_id: str,
        image_size: int,
        mask_size: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        device: torch.device | str,
        dtype: torch.dtype,
        prompts_per_batch: int | None,
    ) -> None:
        self.model_id = model_id
        self.image_size = image_size
        self.mask_size = mask_size
        self.dtype = dtype
        self._decoder = decoder
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(std, device=device).view(3, 1, 1)
        self.device = self._mean.device  # with its number: in other threads another GPU may be the current one
        self._batcher = PromptBatcher(prompts_per_batch or default_prompts_per_batch(self.device, self.mask_size))

    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, *, multimask: bool) -> MaskPrediction:
        """Predict masks for N prompts of one image.

        Args:
            embedding: from ``encode_images``.
            prompts: N prompts, the values the prompt encoder gets (it adds half a pixel itself). A box and points
                together are one prompt.
            multimask: all three outputs, or the single one, which gives way to the best of the three where it is
                unstable (as in the sam2 package).

        Returns:
            Float32 logits (N, M, m, m) and predicted IoUs (N, M), M = 3 or 1; not clamped.

        Raises:
            EnvironmentProblemError: the GPU is too small even for one prompt at a time.
        """
        if not len(prompts):
            num_masks = 3 if multimask else 1
            return MaskPrediction(self._no_masks(0, num_masks), torch.zeros(0, num_masks, device=self.device))
        prompts = self._on_device(prompts)
        with forward_precision(self.device, self.dtype):
            parts = self._batcher.run(lambda batch: self._decoder.predict(embedding, batch, multimask), prompts)
        return MaskPrediction(
            logits=torch.cat([part.logits for _, part in parts]),
            predicted_ious=torch.cat([part.predicted_ious for _, part in parts]),
        )

    def predict_best(self, embedding: ImageEmbedding, prompts: PromptBatch, *, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's best mask, where its IoU is > ``min_predicted_iou``.

        Arguments and errors as in ``predict``. Masks below the minimum never take memory beyond their batch.
        """
        return self._keep_masks(lambda batch: self._decoder.predict_best(embedding, batch, min_predicted_iou), prompts)

    def predict_above(self, embedding: ImageEmbedding, prompts: PromptBatch, *, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's masks whose IoU is > ``min_predicted_iou``, in their order.

        Arguments, memory and errors as in ``predict_best``.
        """
        return self._keep_masks(lambda batch: self._decoder.predict_above(embedding, batch, min_predicted_iou), prompts)

    def _normalize(self, images: Tensor) -> Tensor:
        """Check (B, 3, image_size, image_size) RGB float in 0..1 and make of it what the network was trained on."""
        side = self.image_size
        if images.shape[1:] != (3, side, side) or not images.is_floating_point():
            raise InputError(
                f"images must be (B, 3, {side}, {side}) float in 0..1, got {tuple(images.shape)} "
                f"{str(images.dtype)[6:]}."
            )
        return (images.to(self.device, torch.float32) - self._mean) / self._std

    def _keep_masks(self, decode: Callable[[PromptBatch], BestMasks], prompts: PromptBatch) -> BestMasks:
        if not len(prompts):
            no_index = torch.zeros(0, dtype=torch.int64, device=self.device)
            return BestMasks(self._no_masks(0), torch.zeros(0, device=self.device), no_index)
        prompts = self._on_device(prompts)
        with forward_precision(self.device, self.dtype):
            parts = self._batcher.run(decode, prompts)
        return BestMasks(
            logits=torch.cat([part.logits for _, part in parts]),
            predicted_ious=torch.cat([part.predicted_ious for _, part in parts]),
            prompt_indices=torch.cat([part.prompt_indices + start for start, part in parts]),
        )

    def _no_masks(self, *leading: int) -> Tensor:
        return torch.zeros(*leading, self.mask_size, self.mask_size, device=self.device)

    def _on_device(self, prompts: PromptBatch) -> PromptBatch:
        def move(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
            return None if tensor is None else to_device(tensor.to(dtype), self.device)

        return PromptBatch(
            points_xy=move(prompts.points_xy, torch.float32),
            point_labels=move(prompts.point_labels, torch.int32),
            boxes_xyxy=move(prompts.boxes_xyxy, torch.float32),
            mask_logits=move(prompts.mask_logits, torch.float32),
        )
