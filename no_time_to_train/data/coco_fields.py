"""Single fields of COCO files: checked, and completed from one another."""

from __future__ import annotations

from typing import Any

from no_time_to_train.data.coco import CocoImage, Segmentation
from no_time_to_train.data.images import describe_size_mismatch
from no_time_to_train.errors import InputError
from no_time_to_train.files.json_files import is_number, is_text
from no_time_to_train.ops.rle import check_segmentation, rle_area, rle_to_box_xyxy, segmentation_to_rle

_MAX_COORDINATE_PX = 1e7


class SizeMismatchError(InputError):
    """An RLE has another size than its image."""


def segmentation_of(raw: Any, image: CocoImage) -> Segmentation | None:
    """Return polygons or RLE; None where there is neither.

    Polygons of fewer than three points are dropped.
    """
    if raw is None or raw == []:
        return None
    if isinstance(raw, dict):
        if not raw.get("counts") or not is_size(raw.get("size")):
            raise InputError("an RLE must have counts and a size [height, width]")
        mismatch = describe_size_mismatch(raw["size"], "RLE size", image.size_hw, image.file_name)
        if mismatch:
            raise SizeMismatchError(mismatch)
        check_segmentation(raw, image.size_hw)
        return {"size": [int(side) for side in raw["size"]], "counts": raw["counts"]}
    polygons = [raw] if isinstance(raw, list) and is_number(raw[0]) else raw
    check_segmentation(polygons, image.size_hw)
    return [polygon for polygon in polygons if len(polygon) >= 6] or None


def flag(raw: dict[str, Any], key: str) -> bool:
    """Return a 0 or 1 that may be missing."""
    value = raw.get(key)
    if value is None or value == 0 or value == 1:  # true and false too
        return bool(value)
    raise InputError(f"{key} must be 0 or 1, got {ascii(value)[:30]}")


def box_xywh_of(
    raw: Any, segmentation: Segmentation | None, size_hw: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the box as given, or that of the segmentation."""
    if isinstance(raw, list) and len(raw) == 4 and all(is_number(v) and abs(v) <= _MAX_COORDINATE_PX for v in raw):
        x, y, width, height = (float(value) for value in raw)
        return x, y, width, height
    if segmentation is None:
        raise InputError(f"bbox must be four finite numbers [x, y, width, height] of pixels, got {ascii(raw)[:60]}")
    x1, y1, x2, y2 = rle_to_box_xyxy(segmentation_to_rle(segmentation, size_hw)).tolist()
    return x1, y1, x2 - x1, y2 - y1


def clipped(box_xywh: tuple[float, float, float, float], size_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    """Clip a box to the image, as xyxy."""
    x, y, width, height = box_xywh
    image_height, image_width = size_hw
    return (
        min(max(x, 0.0), float(image_width)),
        min(max(y, 0.0), float(image_height)),
        min(max(x + width, 0.0), float(image_width)),
        min(max(y + height, 0.0), float(image_height)),
    )


def area_of(
    raw: Any, segmentation: Segmentation | None, box_xywh: tuple[float, float, float, float], size_hw: tuple[int, int]
) -> float:
    """Return the area as given, or that of segmentation or box."""
    if is_number(raw) and raw >= 0:
        return float(raw)
    if segmentation is None:
        return box_xywh[2] * box_xywh[3]
    return float(rle_area(segmentation_to_rle(segmentation, size_hw)))


def as_id(value: Any) -> int | str | None:
    """Return an id in its type: "0012" is not 12.

    7.0, which spreadsheets make of 7, is 7; None is no id.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() and is_number(value) else None
    return value if isinstance(value, int | str) and value != "" else None


def printable_id(value: int | str | None) -> str:
    """Return an id as it can be printed."""
    return value if isinstance(value, str) and is_text(value) else ascii(value)


def size_hw_of(raw: dict[str, Any]) -> tuple[int, int] | None:
    """Return (height, width), or None where they are missing."""
    size: list[Any] = [raw.get("height"), raw.get("width")]
    return (int(size[0]), int(size[1])) if is_size(size) else None


def is_size(value: Any) -> bool:
    """Return whether this is two positive numbers."""
    return isinstance(value, list) and len(value) == 2 and all(is_number(v) and v >= 1 for v in value)
