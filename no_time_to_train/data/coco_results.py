"""Read COCO results: predictions as a list of objects.

Each has its image, category, score, and a box or a mask.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.data.coco_reader import MAX_PIXELS, first_few
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.files.json_files import is_id, is_number, is_whole_number, read_json
from no_time_to_train.ops.rle import are_compressed_counts_valid, segmentation_to_rle

_MAX_COORDINATE_PX = 1e7
_CHECKED_AT_ONCE = 400


class CocoResults(list[dict[str, Any]]):
    """Hold results that have been checked: what :func:`read_results` and :func:`checked_results` give."""


def read_results(path: Path) -> CocoResults:
    """Read a COCO results file.

    Raises:
        InputFileNotFoundError: there is no such file.
        InputError: it is not JSON, or as for :func:`checked_results`.
    """
    if not path.is_file():
        raise InputFileNotFoundError(f"{path}: no such predictions file. nttt label writes one as predictions.json.")
    return checked_results(read_json(path), str(path))


def checked_results(results: object, source: str) -> CocoResults:
    """Check COCO results; masks with a list of counts are compressed.

    Args:
        results: a list of objects with ``image_id`` (whole number or text), ``category_id`` (whole number), ``score``
            (a finite number) and ``bbox`` (xywh, finite numbers), ``segmentation`` (RLE), or both.
        source: where they are from, for messages.

    Raises:
        InputError: some entries are anything else; the message counts them by kind and names the first by their
            position in the list.

    Example:
        >>> from no_time_to_train.data.coco_results import checked_results
        >>> entry = {"image_id": 7, "category_id": 1, "score": 0.5, "bbox": [0, 0, 4, 3]}
        >>> len(checked_results([entry], "predictions"))
        1
    """
    if isinstance(results, CocoResults):
        return results
    if not isinstance(results, list):
        raise InputError(f"{source} must be a COCO results list, but it is a JSON {type(results).__name__}.")
    faults: dict[str, list[str]] = defaultdict(list)
    for position, entry in enumerate(results):
        if (problem := _problem(entry)) is not None:
            faults[problem[0]].append(f"number {position + 1} has {_shown(problem[1])}")
    if not faults:
        for start in range(0, len(results), _CHECKED_AT_ONCE):
            for position in _invalid_masks(results[start : start + _CHECKED_AT_ONCE]):
                counts = results[start + position]["segmentation"]["counts"]
                faults["have a mask whose counts are no runs that add up to its size"].append(
                    f"number {start + position + 1} has {_shown(counts)}"
                )
    for problem_text, cases in faults.items():
        raise InputError(f"{source}: {len(cases)} predictions {problem_text}: {first_few(cases)}. Write them again.")
    return CocoResults(_with_compressed_mask(entry) for entry in results)


def _problem(entry: object) -> tuple[str, object] | None:
    """Describe a fault of an entry, but for the counts of its mask."""
    if not isinstance(entry, dict):
        return "must be objects", entry
    if not is_id(_plain(entry.get("image_id"))):
        return "must have an image_id, a whole number or text", entry.get("image_id")
    if not is_whole_number(_plain(entry.get("category_id"))):
        return "must have a category_id, a whole number", entry.get("category_id")
    if not is_number(_plain(entry.get("score"))):
        return "must have a score, a finite number", entry.get("score")
    box, mask = entry.get("bbox"), entry.get("segmentation")
    if box is not None and not _is_box(box):
        return "must have as bbox four finite numbers [x, y, width, height], sides of at least 0", box
    if mask and not _is_rle(mask):
        return "must have as segmentation an RLE with counts and size [height, width]", mask
    return None


def _plain(value: Any) -> Any:
    """Turn NumPy's scalars into Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _is_box(value: Any) -> bool:
    if not isinstance(value, list | tuple | np.ndarray) or len(value) not in (0, 4):
        return False
    numbers = [_plain(number) for number in value]
    return all(is_number(v) and abs(v) <= _MAX_COORDINATE_PX for v in numbers) and min(numbers[2:], default=0) >= 0


def _is_rle(value: Any) -> bool:
    size = value.get("size") if isinstance(value, dict) else None
    return (
        isinstance(size, list | tuple)
        and len(size) == 2
        and all(is_whole_number(side) and side >= 1 for side in size)
        and size[0] * size[1] <= MAX_PIXELS
        and "counts" in value
    )


def _invalid_masks(entries: Sequence[dict[str, Any]]) -> list[int]:
    """Return the positions of entries whose mask has damaged counts."""
    compressed, invalid = [], []
    for position, entry in enumerate(entries):
        mask = entry.get("segmentation")
        if mask and isinstance(mask["counts"], str | bytes):
            compressed.append(position)
        elif mask:
            try:
                _with_compressed_mask(entry)
            except InputError:
                invalid.append(position)
    masks = [entries[position]["segmentation"] for position in compressed]
    valid = are_compressed_counts_valid([m["counts"] for m in masks], [m["size"][0] * m["size"][1] for m in masks])
    return invalid + [compressed[i] for i in np.flatnonzero(~valid)]


def _with_compressed_mask(entry: dict[str, Any]) -> dict[str, Any]:
    mask = entry.get("segmentation")
    if not mask or isinstance(mask["counts"], str | bytes):
        return entry
    return {**entry, "segmentation": segmentation_to_rle(mask, tuple(mask["size"]))}


def _shown(value: object) -> str:
    return ascii(value[:50] if isinstance(value, list | str) else value)[:60]
