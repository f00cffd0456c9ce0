"""Label Studio: the JSON export, or tasks with predictions."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np

from no_time_to_train.data.images import describe_size_mismatch, image_size_hw
from no_time_to_train.errors import InputError
from no_time_to_train.files.json_files import read_json
from no_time_to_train.ops.brush_rle import decode_brush
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.references.folders import LabeledObject
from no_time_to_train.references.formats.objects import (
    Found,
    ImageFinder,
    ObjectList,
    ellipse_to_rle,
    object_of_box,
    object_of_mask,
    polygons_to_rle,
    rotated_rectangle,
)

NAME = "a Label Studio export"
_KINDS = ("brush", "polygon", "rectangle", "ellipse")
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")


def is_label_studio(content: object) -> bool:
    """Return whether JSON content is a list of Label Studio's tasks."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in content)
    )


def is_label_studio_min(content: object) -> bool:
    """Return whether it is the reduced JSON-MIN, which has no sizes."""
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "annotator" in content[0]


def read_label_studio(path: Path, images: Path | None = None, *, upright: bool = True) -> Found:
    """Read Label Studio's JSON export.

    Brushes, polygons, ellipses and turned rectangles become masks; of upright rectangles the box is known. A task
    without annotations gives its predictions. Labels come in the order of ``label_config.xml`` where that lies beside.

    Raises:
        InputError: it is damaged, or images are missing or of another size.
    """
    found = ObjectList(path, upright=upright)
    folder = path.parent
    near = [folder / "images", folder, folder.parent / "images", folder.parent]
    finder = ImageFinder(near if images is None else [images])
    for position, task in enumerate(read_json(path), start=1):
        results = _results(task)
        if not results:
            continue
        names = [str(value) for value in task["data"].values() if isinstance(value, str)]
        image = next((image for name in names if (image := _find_image(finder, name)) is not None), None)
        if image is None:
            found.fault(f"tasks whose image is not in {finder.describe()}", f"task {task.get('id', position)}: {names}")
            continue
        _read_results(image, results, f"task {task.get('id', position)}", found)
    objects = found.finish(NAME)
    return list(dict.fromkeys([*_configured_labels(folder), *(item.label for item in objects)])), objects


def _results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the regions of a task: of its newest annotation, else of its last prediction."""
    annotations = [entry for entry in task.get("annotations") or [] if not entry.get("was_cancelled")]
    chosen = (annotations or task.get("predictions") or [{}])[-1]
    return chosen.get("result") or [] if isinstance(chosen, dict) else []


def _find_image(finder: ImageFinder, name: str) -> Path | None:
    """Return the file behind an address; uploads carry eight digits before their name."""
    address = urlparse(name)
    query = parse_qs(address.query).get("d")
    file_name = query[0] if query else unquote(address.path)
    image = finder.find(file_name)
    if image is None:
        image = finder.find(_UPLOAD_PREFIX.sub("", file_name.replace("\\", "/").rsplit("/", 1)[-1]))
    return image


def _read_results(image: Path, results: list[dict[str, Any]], place: str, found: ObjectList) -> None:
    size_hw = image_size_hw(image, upright=found.upright)
    for result in results:
        value = result.get("value")
        kind = str(result.get("type", "")).removesuffix("labels")
        if not isinstance(value, dict) or (kind not in _KINDS and kind != ""):
            found.leave_out(f"results of type {result.get('type')}")
            continue
        labels = value.get(f"{kind}labels") or value.get("labels")
        if not labels:
            found.leave_out("regions without a label")
            continue
        given = [int(result[key]) for key in ("original_height", "original_width") if result.get(key)]
        mismatch = describe_size_mismatch(given, "size", size_hw, image.name)
        if len(given) == 2 and mismatch:
            found.fault("regions drawn on an image of another size", f"{place}: {mismatch}")
            continue
        try:
            found.add(_object(image, str(labels[0]), value, size_hw))
        except (InputError, KeyError, TypeError, ValueError, OverflowError) as error:
            found.fault("damaged regions", f"{place}, region {result.get('id')}: {error}")


def _object(image: Path, label: str, value: dict[str, Any], size_hw: tuple[int, int]) -> LabeledObject | None:
    """Return the object of a region, whose numbers are per cent of the image's sides."""
    scale = np.array([size_hw[1], size_hw[0]]) / 100
    if "rle" in value:
        return object_of_mask(image, label, encode_mask(decode_brush(value["rle"], size_hw)))
    if "points" in value:
        return object_of_mask(image, label, polygons_to_rle([np.array(value["points"], float) * scale], size_hw))
    x, y = np.array([value["x"], value["y"]], float) * scale
    if "radiusX" in value:
        radius_x, radius_y = np.array([value["radiusX"], value["radiusY"]], float) * scale
        return object_of_mask(image, label, ellipse_to_rle((x, y), (radius_x, radius_y), size_hw))
    width, height = np.array([value["width"], value["height"]], float) * scale
    turn = float(value.get("rotation") or 0)
    if not turn:
        return object_of_box(image, label, (x, y, x + width, y + height), size_hw)
    corners = rotated_rectangle((x, y), width, height, turn, (x, y))  # Label Studio turns around the first corner
    return object_of_mask(image, label, polygons_to_rle([corners], size_hw))


def _configured_labels(folder: Path) -> list[str]:
    config = folder / "label_config.xml"
    if not config.is_file():
        return []
    try:
        return [element.get("value", "") for element in ElementTree.parse(config).iter("Label")]
    except ElementTree.ParseError as error:
        raise InputError(f"{config} is not valid XML ({error}).") from error
