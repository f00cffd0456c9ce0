"""The crops of all references, as the encoder sees them.

They come image by image.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from no_time_to_train.config import ReferencesConfig
from no_time_to_train.data.images import UnreadableImageError, describe_size_mismatch, read_image
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.models.interfaces import MaskModel
from no_time_to_train.ops.rle import Rle, decode_rle, encode_mask
from no_time_to_train.references.box_masks import masks_from_boxes
from no_time_to_train.references.cropping import crop_reference
from no_time_to_train.structures import ReferenceInstance, ReferenceSet

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ReferenceCrop:
    """One reference, cut out.

    Attributes:
        number: counts the references in the order they are streamed, from 1; skipped ones count too.
        reference: whose crop it is; with the mask that was made where it had only a box.
        image: (3, S, S) float32, about 0..1.
        mask: (S, S) float32 in 0..1, soft at the edges.
    """

    number: int
    reference: ReferenceInstance
    image: Tensor
    mask: Tensor


def stream_reference_crops(
    references: ReferenceSet, image_size: int, mask_model: MaskModel | None, config: ReferencesConfig
) -> Iterator[ReferenceCrop]:
    """Yield one crop per reference.

    An image with several references is read once, one that cannot be read is skipped with a warning. References
    that have only a box get a mask from the mask model.

    Args:
        references: from ``load_references``.
        image_size: S, side of the crops in pixels.
        mask_model: may be None where all references have masks.
        config: crop and mask settings.

    Raises:
        InputError: a mask has another size than its image, or there are boxes without masks and no mask model.
    """
    if mask_model is None:
        _require_masks(references)
    number = 0
    for image_path, of_image in group_by_image(references).items():
        try:
            image = read_image(image_path, upright=of_image[0].upright)
        except (UnreadableImageError, InputFileNotFoundError) as error:
            number += len(of_image)
            logger.warning("%s References in it that are skipped: %d. The others go on.", error, len(of_image))
            continue
        for reference, mask in zip(of_image, _masks(of_image, image, mask_model, config), strict=True):
            number += 1
            image_crop, mask_crop = crop_reference(
                image, mask, reference.box_xyxy, context_ratio=config.context_ratio, image_size=image_size
            )
            shown = replace(reference, mask=encode_mask(mask)) if reference.mask is None else reference
            yield ReferenceCrop(number, shown, image_crop, mask_crop)


def group_by_image(references: ReferenceSet) -> dict[Path, list[ReferenceInstance]]:
    """Group references by image, in the order in which they are streamed."""
    grouped: dict[Path, list[ReferenceInstance]] = {}
    for reference in references.instances:
        grouped.setdefault(reference.image_path, []).append(reference)
    return grouped


def describe_reference(reference: ReferenceInstance) -> str:
    """Return how a message names a reference."""
    return f"annotation {reference.annotation_id} ('{reference.category.name}', {reference.image_path.name})"


def _require_masks(references: ReferenceSet) -> None:
    without_mask = [reference for reference in references.instances if reference.mask is None]
    if without_mask:
        raise InputError(
            f"{len(without_mask)} references have a box but no mask (first: {describe_reference(without_mask[0])}). "
            "Give a mask model to make the masks, or references with masks."
        )


def _masks(
    of_image: Sequence[ReferenceInstance], image: np.ndarray, mask_model: MaskModel | None, config: ReferencesConfig
) -> Iterator[np.ndarray]:
    """Return the masks of one image's references, in their order; decoded one at a time."""
    boxes = [reference.box_xyxy for reference in of_image if reference.mask is None]
    made: Iterator[np.ndarray] = iter(())
    if boxes and mask_model is not None:
        name = of_image[0].image_path.name
        made = iter(
            masks_from_boxes(mask_model, image, boxes, min_box_coverage=config.min_box_coverage, image_name=name)
        )
    for reference in of_image:
        yield next(made) if reference.mask is None else _decode(reference.mask, reference, image)


def _decode(mask: Rle, reference: ReferenceInstance, image: np.ndarray) -> np.ndarray:
    mismatch = describe_size_mismatch(mask["size"], "RLE size", image.shape[:2], reference.image_path.name)
    if mismatch:
        raise InputError(f"{describe_reference(reference)}: {mismatch}")
    return decode_rle(mask)
