"""LabelMe: a JSON file beside each image."""

from __future__ import annotations

import base64
import binascii
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from no_time_to_train.data.images import describe_size_mismatch, image_size_hw
from no_time_to_train.errors import InputError
from no_time_to_train.files.json_files import read_json
from no_time_to_train.ops.rle import encode_mask_crop
from no_time_to_train.references.folders import LabeledObject
from no_time_to_train.references.formats.objects import (
    Found,
    ImageFinder,
    ObjectList,
    ellipse_to_rle,
    object_of_box,
    object_of_mask,
    polygons_to_rle,
)

NAME = "LabelMe files"
_POLYGONS = ("polygon", "oriented_rectangle", "rotation")


def is_labelme(content: object) -> bool:
    """Return whether the content of a JSON file is LabelMe's."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def read_labelme(path: Path, images: Path | None = None, *, upright: bool = True) -> Found:
    """Read one LabelMe file, or all in a folder and its sub-folders.

    Polygons, circles and masks become masks; of rectangles the box is known. Polygons of one group are one object.
    Labels are sorted by name: the format has no list of them.

    Raises:
        InputError: files are damaged, of another size than their image, or have none.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    found = ObjectList(path, upright=upright)
    for file in files:
        content = read_json(file)
        if is_labelme(content):
            _read_file(file, content, images, found)
        else:
            found.leave_out("JSON files of another kind")
    objects = found.finish(NAME)
    return sorted({item.label for item in objects}), objects


def _read_file(file: Path, content: dict[str, Any], images: Path | None, found: ObjectList) -> None:
    finder = ImageFinder([file.parent] if images is None else [images, file.parent])
    image = finder.find(str(content["imagePath"] or "")) or finder.find_stem(file.stem)
    if image is None:
        embedded = " (the image that is embedded in it is not used)" if content.get("imageData") else ""
        found.fault("files whose image is not there", f"{file.name}: {content['imagePath']}{embedded}")
        return
    size_hw = image_size_hw(image, upright=found.upright)
    given = [int(content[key]) for key in ("imageHeight", "imageWidth") if content.get(key)]
    mismatch = describe_size_mismatch(given, "size", size_hw, image.name)
    if len(given) == 2 and mismatch:
        found.fault("files of another size than their image", mismatch)
        return
    for number, shape in enumerate(content["shapes"], start=1):
        try:
            kind = shape.get("shape_type") or "polygon"
            item = _object(image, kind, shape, size_hw)
        except (InputError, KeyError, TypeError, ValueError, OverflowError, AttributeError, binascii.Error) as error:
            found.fault("damaged shapes", f"{file.name}, shape {number}: {error}")
            continue
        if isinstance(item, str):
            found.leave_out(item)
        else:
            found.add(item, shape.get("group_id"))


def _object(image: Path, kind: str, shape: dict[str, Any], size_hw: tuple[int, int]) -> LabeledObject | str | None:
    """Return the object of a shape, or what is left out."""
    label, points = str(shape["label"]), np.array(shape["points"], float).reshape(-1, 2)
    if kind in _POLYGONS and len(points) > 2:
        return object_of_mask(image, label, polygons_to_rle([points], size_hw))
    if kind == "rectangle":
        (x1, y1), (x2, y2) = points.min(0), points.max(0)
        return object_of_box(image, label, (x1, y1, x2, y2), size_hw)
    if kind == "circle":
        radius = math.dist(points[0], points[1])
        return object_of_mask(image, label, ellipse_to_rle((points[0, 0], points[0, 1]), (radius, radius), size_hw))
    if kind == "mask":
        crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))) > 0
        left, top = points[0].astype(int)
        crop = crop[: size_hw[0] - top, : size_hw[1] - left]
        return object_of_mask(image, label, encode_mask_crop(crop, int(top), int(left), size_hw))
    return f"shapes of kind {kind}"
