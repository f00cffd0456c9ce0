"""Masks for a user's own prompts: clicks, boxes and masks of earlier passes, in pixels of the original image.

The numbers are those of ``sam2.sam2_image_predictor.SAM2ImagePredictor``; nothing is kept between calls but what the
caller passes back in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from no_time_to_train.data.images import ImageSource, as_pixels
from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import ImageEmbedding, MaskModel, PromptBatch
from no_time_to_train.ops.images import as_image_tensor
from no_time_to_train.ops.masks import encode_mask_logits
from no_time_to_train.ops.rle import Rle, decode_rle

Numbers: TypeAlias = np.ndarray | Tensor | Sequence
"""An array, or nested lists of numbers."""

_LOGIT_LIMIT = 32.0
"""Low-resolution logits are cut off here before they serve as a prompt, as SAM 2 was trained."""


@dataclass(frozen=True, eq=False)
class PromptableImage:
    """An image that the mask model has encoded, for any number of prompts.

    Attributes:
        embedding: the mask model's view of it.
        image_size_hw: (height, width) of the original image.
    """

    embedding: ImageEmbedding
    image_size_hw: tuple[int, int]


@dataclass(frozen=True, eq=False)
class PromptedMasks:
    """M masks for each of N prompts; M is 3, or 1.

    Attributes:
        rles: N tuples of M run-length encoded masks of the image's size.
        predicted_ious: (N, M) float32, the mask model's own estimate of each mask's IoU.
        logits: (N, M, m, m) float32 low-resolution logits, the ``mask`` of a prompt that refines them.
        image: of which image; can be prompted again without being encoded again.

    Example:
        >>> segmenter = ntt.load_segmenter(preset="demo", device="cpu")
        >>> masks = segmenter.segment_prompts("photo.jpg", boxes_xyxy=[[60, 60, 200, 200]])
        >>> isinstance(masks, ntt.PromptedMasks), masks.predicted_ious.shape
        (True, (1, 3))
    """

    rles: tuple[tuple[Rle, ...], ...]
    predicted_ious: np.ndarray
    logits: Tensor
    image: PromptableImage

    def __len__(self) -> int:
        return len(self.rles)

    @property
    def masks(self) -> np.ndarray:
        """Return (N, M, H, W) bool masks, decoded on every call: N x M x H x W bytes."""
        masks = np.zeros((*self.predicted_ious.shape, *self.image.image_size_hw), bool)
        for row, rles in zip(masks, self.rles, strict=True):
            for mask, rle in zip(row, rles, strict=True):
                mask[:] = decode_rle(rle)
        return masks

    def best(self) -> PromptedMasks:
        """Return each prompt's mask with the highest predicted IoU (the first of equals)."""
        outputs = self.predicted_ious.argmax(axis=1)
        prompts = np.arange(len(self))
        return PromptedMasks(
            rles=tuple((rles[output],) for rles, output in zip(self.rles, outputs, strict=True)),
            predicted_ious=self.predicted_ious[prompts, outputs][:, None],
            logits=self.logits[prompts, outputs][:, None],
            image=self.image,
        )


@torch.inference_mode()
def embed_image(mask_model: MaskModel, image: ImageSource) -> PromptableImage:
    """Encode an image, (H, W, 3) uint8 RGB or a file, as SAM 2's own predictor does.

    It is squashed to the square by antialiased bilinear resampling. (The published labeling method uses bicubic, see
    ``Segmenter.encode``.)
    """
    pixels = as_pixels(image)
    size = (mask_model.image_size, mask_model.image_size)
    as_tensor = as_image_tensor(pixels, mask_model.device)[None]
    square = interpolate(as_tensor, size, mode="bilinear", align_corners=False, antialias=True)
    [embedding] = mask_model.encode_images(square)
    return PromptableImage(embedding, (pixels.shape[0], pixels.shape[1]))


@torch.inference_mode()
def segment_prompts(
    mask_model: MaskModel,
    image: ImageSource | PromptableImage,
    *,
    points_xy: Numbers | None = None,
    point_labels: Numbers | None = None,
    boxes_xyxy: Numbers | None = None,
    mask: Numbers | None = None,
    multimask: bool = True,
) -> PromptedMasks:
    """Segment what N prompts of one image point at.

    Points, a box and a mask given together are one prompt.

    Args:
        mask_model: frozen promptable mask model.
        image: (H, W, 3) uint8 RGB, a file, or what ``embed_image`` or an earlier result's ``image`` holds.
        points_xy: (N, P, 2) x, y in pixels of the image; (P, 2): P points of a single prompt.
        point_labels: (N, P) or (P,): 1 on the object, 0 beside it, -1 no point at all (fills up prompts with fewer
            points than others).
        boxes_xyxy: (N, 4) in pixels of the image; (4,): one box.
        mask: (N, m, m) or (m, m) logits of an earlier pass, from ``PromptedMasks.logits``.
        multimask: three masks for each prompt, best for ambiguous ones such as a single click; or one, best for several
            points, a box or a refinement.

    Raises:
        InputError: no prompt, points without labels or the reverse, wrong shapes or values, coordinates outside the
            image.
    """
    if all(given is None for given in (points_xy, point_labels, boxes_xyxy, mask)):
        raise InputError("nothing to segment: give points_xy with point_labels, boxes_xyxy or mask.")
    if not isinstance(image, PromptableImage):
        image = embed_image(mask_model, image)
    points, labels = _check_points(points_xy, point_labels, image.image_size_hw)
    boxes = None if boxes_xyxy is None else _check_boxes(boxes_xyxy, image.image_size_hw)
    logits = None if mask is None else _check_mask(mask, mask_model.mask_size)
    _check_counts({"points_xy": points, "boxes_xyxy": boxes, "mask": logits})
    prompts = PromptBatch(
        points_xy=None if points is None else _to_square(points, image, mask_model),
        point_labels=labels,
        boxes_xyxy=None if boxes is None else _to_square(boxes.view(-1, 2, 2), image, mask_model).flatten(1),
        mask_logits=logits,
    )
    prediction = mask_model.predict(image.embedding, prompts, multimask=multimask)
    rles = encode_mask_logits(prediction.logits.flatten(0, 1), image.image_size_hw, antialias=False)
    masks_per_prompt = prediction.logits.shape[1]
    return PromptedMasks(
        rles=tuple(tuple(rles[i : i + masks_per_prompt]) for i in range(0, len(rles), masks_per_prompt)),
        predicted_ious=prediction.predicted_ious.cpu().numpy(),
        logits=prediction.logits.clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT),
        image=image,
    )


def to_square_xy(points_xy: Tensor, image_size_hw: tuple[int, int], side: int) -> Tensor:
    """Convert (..., 2) float32 x, y from an image's pixels to the square input's."""
    return points_xy / torch.tensor(image_size_hw[::-1], dtype=torch.float32, device=points_xy.device) * side


def _to_square(points_xy: Tensor, image: PromptableImage, mask_model: MaskModel) -> Tensor:
    return to_square_xy(points_xy, image.image_size_hw, mask_model.image_size)


def _as_tensor(values: Numbers, name: str, shapes: str) -> Tensor:
    try:
        return torch.as_tensor(values if isinstance(values, Tensor) else np.asarray(values, np.float32)).float()
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be {shapes} numbers, got {str(values)[:60]}.") from error


def _check_points(
    points_xy: Numbers | None, point_labels: Numbers | None, image_size_hw: tuple[int, int]
) -> tuple[Tensor | None, Tensor | None]:
    """Return (N, P, 2) points and (N, P) labels, or neither."""
    if points_xy is None and point_labels is None:
        return None, None
    if points_xy is None or point_labels is None:
        given, missing = ("point_labels", "points_xy") if points_xy is None else ("points_xy", "point_labels")
        raise InputError(f"{given} came without {missing}: every point needs a label, 1 on the object or 0 beside it.")
    points = _as_tensor(points_xy, "points_xy", "(N, P, 2) or (P, 2)").cpu()
    labels = _as_tensor(point_labels, "point_labels", "(N, P) or (P,)").cpu()
    if points.ndim == 2 and labels.ndim == 1:
        points, labels = points[None], labels[None]
    if points.ndim != 3 or points.shape[2] != 2 or points.shape[:2] != labels.shape:
        raise InputError(
            "points_xy must be (N, P, 2) with point_labels (N, P), or (P, 2) with (P,) for a single prompt, got "
            f"{tuple(points.shape)} and {tuple(labels.shape)}."
        )
    if not torch.isin(labels, torch.tensor([-1.0, 0, 1])).all():
        raise InputError(
            f"point_labels must be 1 (on the object), 0 (beside it) or -1 (no point), got {labels.unique().tolist()}."
        )
    _check_inside(points[labels >= 0], image_size_hw, "points_xy")
    return points, labels.int()


def _check_boxes(boxes_xyxy: Numbers, image_size_hw: tuple[int, int]) -> Tensor:
    """Return (N, 4) boxes."""
    boxes = _as_tensor(boxes_xyxy, "boxes_xyxy", "(N, 4) or (4,)").cpu()
    boxes = boxes[None] if boxes.ndim == 1 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"boxes_xyxy must be (N, 4), or (4,) for a single prompt, got {tuple(boxes.shape)}.")
    _check_inside(boxes.reshape(-1, 2), image_size_hw, "boxes_xyxy")
    without_area = ~(boxes[:, :2] < boxes[:, 2:]).all(dim=1)
    if without_area.any():
        raise InputError(
            f"a box must be x1, y1, x2, y2 with x1 < x2 and y1 < y2, got {boxes[without_area][0].tolist()}. "
            "Is it x, y, width, height?"
        )
    return boxes


def _check_mask(mask: Numbers, mask_size: int) -> Tensor:
    """Return (N, m, m) logits."""
    logits = _as_tensor(mask, "mask", "(N, m, m) or (m, m)")
    logits = logits[None] if logits.ndim == 2 else logits
    if not logits.isfinite().all():
        raise InputError("mask must be logits of an earlier result, got NaN or infinite values.")
    if logits.shape[1:] != (mask_size, mask_size):
        raise InputError(
            f"mask must be low-resolution logits of an earlier result, (N, {mask_size}, {mask_size}), got "
            f"{tuple(logits.shape)}. Take one of the masks of each prompt: result.best().logits[:, 0]."
        )
    return logits


def _check_inside(points_xy: Tensor, image_size_hw: tuple[int, int], name: str) -> None:
    height, width = image_size_hw
    outside = ~((points_xy >= 0) & (points_xy <= torch.tensor([width, height]))).all(dim=1)
    if outside.any():
        x, y = points_xy[outside][0].tolist()
        raise InputError(
            f"{name}: ({x:g}, {y:g}) lies outside the image of {width}x{height} pixels. Coordinates are x, y in pixels "
            "of the original image."
        )


def _check_counts(prompts: dict[str, Tensor | None]) -> None:
    counts = {name: len(tensor) for name, tensor in prompts.items() if tensor is not None}
    if len(set(counts.values())) > 1:
        given = " and ".join(f"{count} of {name}" for name, count in counts.items())
        raise InputError(f"what is given together must be as many prompts each, got {given}.")
