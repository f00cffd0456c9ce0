"""Label Studio: tasks with the found objects as predictions, and the labeling configuration."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from no_time_to_train.files.formats import write_json, write_text
from no_time_to_train.ops.brush_rle import encode_brush
from no_time_to_train.outputs.drawing import category_color
from no_time_to_train.outputs.exports.dataset import ExportDataset, ExportImage, ExportObject
from no_time_to_train.outputs.exports.options import ExportOptions

TAGS = {"mask": "BrushLabels", "polygon": "PolygonLabels", "box": "RectangleLabels"}
"""Tag of a labeling configuration, by the shape of what is labeled with it."""
_MODEL_VERSION = "no-time-to-train"


@dataclass(frozen=True)
class Control:
    """What labels are given with, in a labeling configuration.

    Attributes:
        shape: a key of ``TAGS``.
        name: of its tag.
        image_name: of the tag of the image that it is for.
    """

    shape: str
    name: str = "label"
    image_name: str = "image"


def write(dataset: ExportDataset, folder: Path, options: ExportOptions) -> None:
    """Write ``tasks.json``, ``label_config.xml`` and ``images/``."""
    write_json(folder / "tasks.json", [task(image, options) for image in dataset.images], indent=None)
    write_text(folder / "label_config.xml", label_config(dataset, options.shape))
    for image in dataset.images:
        options.place(image.path, folder / "images" / image.file_name)


def task(image: ExportImage, options: ExportOptions) -> dict[str, Any]:
    """Return one task: where the image is, and its objects as a prediction with scores."""
    found = prediction(image.objects, image.size_hw, Control(options.shape), _MODEL_VERSION)
    return {"data": {"image": options.image_prefix + quote(image.file_name)}, "predictions": [found]}


def prediction(
    objects: Sequence[ExportObject], size_hw: tuple[int, int], control: Control, model_version: str
) -> dict[str, Any]:
    """Return the objects of an image as one prediction.

    Its score is the mean of theirs, where they have any.

    Args:
        objects: of one image.
        size_hw: (height, width) of the image.
        control: what the labels are given with.
        model_version: what made them.
    """
    results = [_result(number, item, size_hw, control) for number, item in enumerate(objects, start=1)]
    scores = [item.score for item in objects if item.score is not None]
    score = {"score": float(np.mean(scores))} if scores else {}
    return {"model_version": model_version, "result": results, **score}


def label_config(dataset: ExportDataset, shape: str) -> str:
    """Return the XML of the labeling interface, with the categories in their colors."""
    control = Control(shape)
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", {"name": control.image_name, "value": "$image", "zoom": "true"})
    labels = ElementTree.SubElement(view, TAGS[shape], {"name": control.name, "toName": control.image_name})
    for category in dataset.categories:
        color = "#{:02x}{:02x}{:02x}".format(*category_color(category.id))
        ElementTree.SubElement(labels, "Label", {"value": category.name, "background": color})
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _result(number: int, item: ExportObject, size_hw: tuple[int, int], control: Control) -> dict[str, Any]:
    height, width = size_hw
    kind = TAGS[control.shape].lower()
    result = {
        "id": f"object{number}",
        "type": kind,
        "from_name": control.name,
        "to_name": control.image_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": _outline(item, size_hw, control.shape) | {kind: [item.category.name]},
    }
    return result if item.score is None else result | {"score": item.score}


def _outline(item: ExportObject, size_hw: tuple[int, int], shape: str) -> dict[str, Any]:
    """Return where the object is; coordinates are percent of the image."""
    if shape == "mask":
        return {"format": "rle", "rle": encode_brush(item.mask)}
    height, width = size_hw
    percent = np.array((100 / width, 100 / height))
    if shape == "polygon":  # a region is one polygon
        return {"points": (item.polygon * percent).tolist(), "closed": True}
    (x, y), (box_width, box_height) = (np.reshape(item.box_xywh, (2, 2)) * percent).tolist()
    return {"x": x, "y": y, "width": box_width, "height": box_height, "rotation": 0}
