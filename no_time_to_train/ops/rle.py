"""COCO run-length encoding, byte for byte as ``pycocotools`` writes it, without full-size masks where possible.

Runs go down the columns. Internally a mask is a sorted list of *toggles*: positions in column-major order at which the
value changes, beginning from 0; the run lengths are their differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from pycocotools import mask as coco_mask
from torch import Tensor

from no_time_to_train.errors import InputError

_MAX_COORDINATE_PX = 1e6  # pycocotools walks along every polygon edge pixel by pixel


class Rle(TypedDict):
    """COCO run-length encoding, column-major: ``size`` is [height, width], ``counts`` the compressed bytes."""

    size: list[int]
    counts: bytes


def encode_mask(mask: np.ndarray) -> Rle:
    """Encode an (H, W) bool mask."""
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def encode_mask_crop(crop: np.ndarray | Tensor, top: int, left: int, image_size_hw: tuple[int, int]) -> Rle:
    """Encode a mask that is False outside a crop, without building it.

    Args:
        crop: (h, w) bool, the mask inside the crop.
        top: first row of the crop in the image.
        left: first column of the crop in the image.
        image_size_hw: (height, width) of the image; the crop lies inside it.
    """
    columns = np.asarray(crop.cpu() if isinstance(crop, Tensor) else crop, bool).T
    height, width = image_size_hw
    if not (0 <= top <= height - columns.shape[1] and 0 <= left <= width - columns.shape[0]):
        raise ValueError(
            f"a crop of {columns.shape[::-1]} (height, width) at top {top}, left {left} does not lie inside an image "
            f"of {(height, width)}"
        )
    x, y = np.nonzero(np.diff(columns, axis=1, prepend=False, append=False))
    return rle_from_toggles((left + x) * height + top + y, image_size_hw)


def rle_from_toggles(toggles: np.ndarray, image_size_hw: tuple[int, int]) -> Rle:
    """Encode the mask whose value changes at the given positions.

    Args:
        toggles: (T,) int column-major pixel positions, ascending. Two at one position cancel; those at the very end
            (height * width) have no effect.
        image_size_hw: (height, width).
    """
    num_pixels = image_size_hw[0] * image_size_hw[1]
    positions, repeats = np.unique(toggles, return_counts=True)
    positions = positions[(repeats % 2 == 1) & (positions < num_pixels)]
    counts = np.diff(positions, prepend=0, append=num_pixels)
    return coco_mask.frPyObjects({"size": list(image_size_hw), "counts": counts}, *image_size_hw)


def decode_rle(rle: Rle) -> np.ndarray:
    """Decode an RLE to (H, W) bool, column-major in memory."""
    return coco_mask.decode(rle).view(bool)


def rle_area(rle: Rle) -> int:
    """Return the number of pixels of the mask."""
    return int(coco_mask.area(rle))


def rle_to_box_xyxy(rle: Rle) -> np.ndarray:
    """Return the (4,) float32 tight half-open box; zeros for an empty mask."""
    return rles_to_boxes_xyxy([rle])[0]


def rles_to_boxes_xyxy(rles: Sequence[Rle]) -> np.ndarray:
    """Return the (N, 4) float32 tight half-open boxes of N masks; zeros for the empty ones.

    Example:
        >>> mask = np.zeros((4, 6), bool)
        >>> mask[1:3, 2:5] = True
        >>> rles_to_boxes_xyxy([encode_mask(mask)]).tolist()
        [[2.0, 1.0, 5.0, 3.0]]
    """
    boxes = np.asarray(coco_mask.toBbox(list(rles)), np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes.astype(np.float32)


def intersection_over_self(rles: Sequence[Rle]) -> np.ndarray:
    """Return the share of each mask that every other one covers.

    This is |m and n| / |m|, equation 5 of arXiv 2507.02798.

    Args:
        rles: N masks of one size. Pairs whose boxes do not overlap cost nothing.

    Returns:
        (N, N) float64 in 0..1, [m, n]; the diagonal is 1. Rows and columns of empty masks are 0.
    """
    if not rles:
        return np.zeros((0, 0))
    # IoU with a "crowd" region divides by the first mask's area alone: the very definition.
    return coco_mask.iou(list(rles), list(rles), [1] * len(rles))


def mask_iou(rles: Sequence[Rle]) -> np.ndarray:
    """Intersection over union of every pair of masks, (N, N) float64 in 0..1.

    Args:
        rles: N masks of one size. Pairs whose boxes do not overlap cost nothing.
    """
    if not rles:
        return np.zeros((0, 0))
    return coco_mask.iou(list(rles), list(rles), [0] * len(rles))


def segmentation_to_rle(segmentation: Any, image_size_hw: tuple[int, int]) -> Rle:
    """Encode the ``segmentation`` of a COCO annotation.

    Args:
        segmentation: polygons ``[[x0, y0, x1, y1, ...], ...]`` in pixels, or an RLE dict whose counts are a list
            (uncompressed), text or bytes (compressed). Polygons of fewer than three points are dropped; an empty list
            gives an empty mask.
        image_size_hw: (height, width) of the image.

    Raises:
        InputError: the segmentation is none of these, an RLE's size is not the image's, or its runs do not add up.
    """
    if isinstance(segmentation, dict):
        return _canonical_rle(segmentation, image_size_hw)
    if isinstance(segmentation, list | tuple):
        return _polygons_to_rle(segmentation, image_size_hw)
    raise InputError(
        "A segmentation must be a list of polygons or an RLE dict with size and counts, got "
        f"{type(segmentation).__name__}. Correct the annotation."
    )


def _polygons_to_rle(polygons: Sequence[Any], image_size_hw: tuple[int, int]) -> Rle:
    parts = [_polygon_coordinates(polygon) for polygon in polygons]
    parts = [part.tolist() for part in parts if len(part) >= 6]
    if not parts:
        return rle_from_toggles(np.zeros(0, np.int64), image_size_hw)
    return coco_mask.merge(coco_mask.frPyObjects(parts, *image_size_hw))


def _polygon_coordinates(polygon: Any) -> np.ndarray:
    try:
        coordinates = np.asarray(polygon, np.float64)
    except (TypeError, ValueError):
        coordinates = np.zeros(())
    if coordinates.ndim != 1 or len(coordinates) % 2:
        raise InputError(
            "Each polygon of a segmentation must be a flat list of pairs [x0, y0, x1, y1, ...], got "
            f"{str(polygon)[:60]}. Correct the annotation (one list of numbers inside one list of polygons)."
        )
    if not (np.abs(coordinates) <= _MAX_COORDINATE_PX).all():
        raise InputError(
            f"Polygon coordinates must be finite pixels of the image, got {coordinates.min():g} to "
            f"{coordinates.max():g}. Correct the annotation."
        )
    return coordinates


def _canonical_rle(rle: dict[str, Any], image_size_hw: tuple[int, int]) -> Rle:
    """Check an RLE from a file; runs of length 0 inside it, which other writers leave, are joined."""
    if not {"size", "counts"} <= rle.keys():
        raise InputError(f"An RLE segmentation must have size and counts, got the keys {sorted(rle)}.")
    size, counts = rle["size"], rle["counts"]
    if list(size) != list(image_size_hw):
        raise InputError(
            f"RLE size is {list(size)} but the image is {list(image_size_hw)} (height, width). "
            "Was the image resized after labeling?"
        )
    lengths = _decompress_counts(counts) if isinstance(counts, str | bytes) else np.asarray(counts)
    num_pixels = image_size_hw[0] * image_size_hw[1]
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != num_pixels:
        raise InputError(
            f"The runs of an RLE of size {list(size)} must be whole numbers of at least 0 that add up to {num_pixels}, "
            f"got {str(counts)[:60]}. The annotation is damaged: write it again."
        )
    return rle_from_toggles(lengths.cumsum()[:-1], image_size_hw)


def _decompress_counts(text: str | bytes) -> np.ndarray:
    """Run lengths of compressed counts; what is no such text gives lengths that cannot be right (an empty array).

    Each number is written in groups of five bits, lowest first, as characters from "0" on; bit 5 says that more
    follow, and bit 4 of the last group is the sign. From the fourth on, a number is the difference to the last but one.
    """
    encoded = text.encode("ascii", "replace") if isinstance(text, str) else text
    codes = np.frombuffer(encoded, np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(codes & 32 == 0) + 1
    starts = np.concatenate([[0], ends[:-1]])
    if (ends - starts).max() > 7:  # more bits than a 32-bit length has
        return np.zeros(0, np.int64)
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= (codes[ends - 1] >> 4 & 1) << 5 * (ends - starts)
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers
