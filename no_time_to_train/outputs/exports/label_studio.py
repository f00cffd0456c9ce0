"""Label Studio: tasks with the found objects as predictions, and the labeling configuration."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from no_time_to_train.files.formats import write_json, write_text
from no_time_to_train.ops.brush_rle import encode_brush
from no_time_to_train.ops.polygons import join_polygons
from no_time_to_train.outputs.drawing import category_color
from no_time_to_train.outputs.exports.dataset import ExportDataset, ExportImage, ExportObject
from no_time_to_train.outputs.exports.options import ExportOptions

_TAGS = {"mask": ("BrushLabels", "brushlabels"), "polygon": ("PolygonLabels", "polygonlabels")}
_MODEL_VERSION = "no-time-to-train"


def write(dataset: ExportDataset, folder: Path, options: ExportOptions) -> None:
    """Write ``tasks.json``, ``label_config.xml`` and ``images/``."""
    write_json(folder / "tasks.json", [task(image, options) for image in dataset.images], indent=None)
    write_text(folder / "label_config.xml", label_config(dataset, options.shape))
    for image in dataset.images:
        options.place(image.path, folder / "images" / image.file_name)


def task(image: ExportImage, options: ExportOptions) -> dict[str, Any]:
    """Return one task: where the image is, and its objects as a prediction with scores."""
    results = [_result(number, image, item, options) for number, item in enumerate(image.objects, start=1)]
    scores = [item.score for item in image.objects if item.score is not None]
    prediction: dict[str, Any] = {"model_version": _MODEL_VERSION, "result": results}
    if scores:
        prediction["score"] = float(np.mean(scores))
    return {"data": {"image": options.image_prefix + quote(image.file_name)}, "predictions": [prediction]}


def label_config(dataset: ExportDataset, shape: str) -> str:
    """Return the XML of the labeling interface, with the categories in their colors."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", {"name": "image", "value": "$image", "zoom": "true"})
    labels = ElementTree.SubElement(view, _TAGS[shape][0], {"name": "label", "toName": "image"})
    for category in dataset.categories:
        color = "#{:02x}{:02x}{:02x}".format(*category_color(category.id))
        ElementTree.SubElement(labels, "Label", {"value": category.name, "background": color})
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _result(number: int, image: ExportImage, item: ExportObject, options: ExportOptions) -> dict[str, Any]:
    height, width = image.size_hw
    kind = _TAGS[options.shape][1]
    labels = {kind: [item.category.name]}
    value: dict[str, Any]
    if options.shape == "mask":
        value = {"format": "rle", "rle": encode_brush(item.mask), **labels}
    else:  # a region is one polygon
        points = join_polygons(item.polygons) * (100 / width, 100 / height)
        value = {"points": points.tolist(), "closed": True, **labels}
    result = {
        "id": f"object{number}",
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value,
    }
    return result if item.score is None else result | {"score": item.score}
