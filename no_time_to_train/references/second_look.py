"""Encode the best candidate masks again, at the references' scale.

A reference is a crop around its object; a target image is seen whole, so that its objects have few patches, mixed with
their surroundings. The crop around a candidate mask gives features as fine as a reference's. It costs one pass of the
encoder for each mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from no_time_to_train.models.interfaces import FeatureEncoder
from no_time_to_train.ops.rle import Rle, decode_rle, rle_to_box_xyxy
from no_time_to_train.references.cropping import crop_reference
from no_time_to_train.references.encoding import encode_crops


def encode_mask_crops(
    pixels: np.ndarray, rles: Sequence[Rle], encoder: FeatureEncoder, *, context_ratio: float, batch_size: int
) -> list[Tensor | None]:
    """Return the mean feature of each mask in its crop.

    It is made as a reference's prototype is.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        rles: masks of the image's size, none of them empty.
        encoder: the one that has encoded the references.
        context_ratio: as ``references.context_ratio``.
        batch_size: crops in one pass of the encoder.

    Returns:
        (D,) float32 on the encoder's device for each mask, not normalized; None where the mask covers no patch of its
        crop.
    """
    found: list[Tensor | None] = []
    for start in range(0, len(rles), batch_size):
        crops = [_crop(pixels, rle, encoder, context_ratio) for rle in rles[start : start + batch_size]]
        found += encode_crops([image for image, _ in crops], [mask for _, mask in crops], encoder)
    return found


def _crop(pixels: np.ndarray, rle: Rle, encoder: FeatureEncoder, context_ratio: float) -> tuple[Tensor, Tensor]:
    x1, y1, x2, y2 = rle_to_box_xyxy(rle).tolist()
    return crop_reference(
        pixels, decode_rle(rle), (x1, y1, x2, y2), context_ratio=context_ratio, image_size=encoder.image_size
    )
