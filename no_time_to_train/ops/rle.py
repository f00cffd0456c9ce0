"""COCO run-length encoding, byte for byte as ``pycocotools`` writes it, without full-size masks where possible.

Runs go down the columns. Internally a mask is a sorted list of *toggles*: positions in column-major order at which the
value changes, beginning from 0; the run lengths are their differences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_MAX_SIDES_OUTSIDE = 4
_MAX_PX_OUTSIDE = 1000
"""pycocotools walks along every polygon edge pixel by pixel: how far outside of the image one may go."""
_MAX_GROUPS = 7
"""Characters of a number in compressed counts: more would be longer than 32 bits."""


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
    columns = np.asarray(crop if isinstance(crop, np.ndarray) else crop.cpu(), bool).T
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


def merge_rles(rles: Sequence[Rle]) -> Rle:
    """Return the union of masks of one size."""
    return coco_mask.merge(list(rles))


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


def mask_ious(first: Sequence[Rle], second: Sequence[Rle]) -> np.ndarray:
    """Return the (N, M) float64 IoUs of masks of one size.

    Pairs whose boxes do not overlap cost nothing.
    """
    if not first or not second:
        return np.zeros((len(first), len(second)))
    return coco_mask.iou(list(first), list(second), [0] * len(second))


def segmentation_to_rle(segmentation: Any, image_size_hw: tuple[int, int]) -> Rle:
    """Convert the ``segmentation`` of a COCO annotation to RLE.

    Args:
        segmentation: polygons ``[[x0, y0, x1, y1, ...], ...]`` in pixels, or an RLE dict whose counts are a list
            (uncompressed), text or bytes (compressed). Polygons of fewer than three points are dropped; an empty list
            gives an empty mask.
        image_size_hw: (height, width) of the image.

    Raises:
        InputError: as :func:`check_segmentation`.
    """
    if isinstance(segmentation, dict):
        # Runs of length 0 inside it, which other writers leave, are joined.
        return rle_from_toggles(_checked_runs(segmentation, image_size_hw).cumsum()[:-1], image_size_hw)
    check_segmentation(segmentation, image_size_hw)
    parts = [[float(value) for value in polygon] for polygon in segmentation if len(polygon) >= 6]
    if not parts:
        return rle_from_toggles(np.zeros(0, np.int64), image_size_hw)
    return coco_mask.merge(coco_mask.frPyObjects(parts, *image_size_hw))


def check_segmentation(segmentation: Any, image_size_hw: tuple[int, int]) -> None:
    """Check the ``segmentation`` of a COCO annotation without drawing it.

    Raises:
        InputError: it is neither polygons nor an RLE, coordinates are no finite pixels near the image, an RLE's size is
            not the image's, or its runs do not add up.
    """
    if isinstance(segmentation, dict):
        _checked_runs(segmentation, image_size_hw)
    elif isinstance(segmentation, list | tuple):
        limit = _MAX_SIDES_OUTSIDE * max(image_size_hw) + _MAX_PX_OUTSIDE
        for polygon in segmentation:
            _check_polygon(polygon, limit)
    else:
        raise InputError(
            "A segmentation must be a list of polygons or an RLE dict with size and counts, got "
            f"{_shown(segmentation)}. Correct the annotation."
        )


def are_compressed_counts_valid(counts: Sequence[str | bytes], num_pixels: Sequence[int]) -> np.ndarray:
    """Tell which compressed counts are runs that add up, many at once.

    Args:
        counts: N texts.
        num_pixels: (N,) pixels of each mask's image.

    Returns:
        (N,) bool.
    """
    runs, owners = _decompress(counts)
    totals = np.bincount(owners, np.clip(runs, -1, 2**32), minlength=len(counts))  # exact: floats up to 2 ** 53
    has_negative = np.bincount(owners[runs < 0], minlength=len(counts)) > 0
    return ~has_negative & (totals == np.asarray(num_pixels))


def _check_polygon(polygon: Any, limit: int) -> None:
    try:
        is_flat = isinstance(polygon, list | tuple) and len(polygon) % 2 == 0
        # The norm is quick, at least as large as every coordinate, and not finite where one is not.
        is_near = (
            not is_flat
            or math.hypot(*polygon) <= limit
            or (math.isfinite(math.hypot(*polygon)) and -limit <= min(polygon) and max(polygon) <= limit)
        )
    except TypeError:
        is_flat = is_near = False
    except OverflowError:
        is_near = False
    if not is_flat:
        raise InputError(
            "Each polygon of a segmentation must be a flat list of pairs [x0, y0, x1, y1, ...], got "
            f"{_shown(polygon)}. Correct the annotation (one list of numbers inside one list of polygons)."
        )
    if not is_near:
        raise InputError(
            f"Polygon coordinates must be finite pixels of the image or near it (up to {limit}), got "
            f"{_shown(polygon)}. Correct the annotation."
        )


def _checked_runs(rle: dict[str, Any], image_size_hw: tuple[int, int]) -> np.ndarray:
    """Return the run lengths of an RLE from a file."""
    if not {"size", "counts"} <= rle.keys():
        raise InputError(
            f"An RLE segmentation must have size and counts, got the keys {sorted(map(str, rle))}. Correct the "
            "annotation."
        )
    size, counts = rle["size"], rle["counts"]
    if not isinstance(size, list | tuple) or list(size) != list(image_size_hw):
        raise InputError(
            f"RLE size is {_shown(size)} but the image is {list(image_size_hw)} (height, width). "
            "Was the image resized after labeling?"
        )
    lengths = _decompress([counts])[0] if isinstance(counts, str | bytes) else _whole_numbers(counts)
    num_pixels = image_size_hw[0] * image_size_hw[1]
    if not len(lengths) or lengths.min() < 0 or lengths.max() > num_pixels or lengths.sum() != num_pixels:
        raise InputError(
            f"The runs of an RLE of size {list(size)} must be whole numbers of at least 0 that add up to {num_pixels}, "
            f"got {_shown(counts)}. The annotation is damaged: write it again."
        )
    return lengths


def _whole_numbers(counts: Any) -> np.ndarray:
    """(N,) int64; empty where they are anything else."""
    nothing = np.zeros(0, np.int64)
    try:
        lengths = np.asarray(counts)
    except (ValueError, OverflowError):  # lists of different lengths
        return nothing
    return lengths.astype(np.int64) if lengths.ndim == 1 and lengths.dtype.kind in "iu" else nothing


def _shown(value: Any) -> str:
    """Return the beginning of a value, safe to print."""
    text = ascii(value[:30] if isinstance(value, list | tuple | str | bytes) else value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _decompress(counts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Run lengths of N compressed counts, one after the other, and (R,) the index of the counts each is from.

    What is no such text has one run of -1. Each number is written in groups of five bits, lowest first, as characters
    from "0" on; bit 5 says that more follow, and bit 4 of the last group is the sign. From the fourth on, a number is
    the difference to the last but one.
    """
    if not counts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    texts = [_encoded(text) for text in counts]
    codes = np.frombuffer(b"".join(texts), np.uint8) - np.uint8(48)
    ends = np.flatnonzero(codes < 32) + 1
    starts = np.concatenate([[0], ends[:-1]])
    lengths = ends - starts
    numbers = (codes[starts] & 31).astype(np.int64)
    for place in range(1, lengths.max()):
        longer = np.flatnonzero(lengths > place)
        numbers[longer] += (codes[starts[longer] + place] & 31).astype(np.int64) << 5 * place
    numbers -= (codes[ends - 1] >> 4 & 1).astype(np.int64) << 5 * lengths
    text_starts = np.cumsum([0, *(len(text) for text in texts)])
    firsts = np.searchsorted(starts, text_starts)  # of the numbers; one more for the end
    for first_of_chain in (1, 2):  # the first run stands alone, the second and the third begin a chain each
        _add_up_chains(numbers, firsts, first_of_chain)
    return numbers, np.repeat(np.arange(len(texts)), np.diff(firsts))


def _add_up_chains(numbers: np.ndarray, firsts: np.ndarray, offset: int) -> None:
    """Replace every second number from ``offset`` on, in each part that begins at ``firsts``, by the sum so far."""
    sizes = np.maximum(np.diff(firsts) - offset + 1, 0) // 2
    begins = np.cumsum(sizes) - sizes
    own = np.arange(sizes.sum()) - np.repeat(begins, sizes)
    chain = np.repeat(firsts[:-1] + offset, sizes) + 2 * own
    sums = np.concatenate([[0], numbers[chain].cumsum()])
    numbers[chain] = sums[1:] - np.repeat(sums[begins], sizes)


_INVALID = b"O"
"""Reads as the number -1."""


def _encoded(text: str | bytes) -> bytes:
    """Return the text, or one run of -1 where it is no text of compressed counts."""
    try:
        encoded = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        return _INVALID
    is_valid = bool(encoded) and not encoded.translate(None, _ALPHABET) and encoded[-1] < 48 + 32
    return encoded if is_valid and not _TOO_LONG.search(encoded) else _INVALID


_ALPHABET = bytes(range(48, 48 + 64))
_TOO_LONG = re.compile(rb"[P-o]{%d}" % _MAX_GROUPS)
"""Characters that say that more follow; the last of seven must not."""
