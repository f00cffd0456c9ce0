"""CVAT: its XML for images, and the JSON of Datumaro, which CVAT takes too."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from no_time_to_train.files.atomic import replacing
from no_time_to_train.files.formats import write_json
from no_time_to_train.ops.row_rle import encode_rows
from no_time_to_train.outputs.drawing import category_color
from no_time_to_train.outputs.exports.dataset import ExportDataset, ExportImage, ExportObject, stems
from no_time_to_train.outputs.exports.options import ExportOptions


def write_xml(dataset: ExportDataset, folder: Path, options: ExportOptions) -> None:
    """Write ``annotations.xml`` ("CVAT for images 1.1") and ``images/``."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    for category in dataset.categories:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = category.name
        ElementTree.SubElement(label, "color").text = "#{:02x}{:02x}{:02x}".format(*category_color(category.id))
        ElementTree.SubElement(label, "type").text = "any"
        ElementTree.SubElement(label, "attributes")
    for number, image in enumerate(dataset.images):
        root.append(image_element(number, image, options.shape))
        options.place(image.path, folder / "images" / image.file_name)
    ElementTree.indent(root)
    with replacing(folder / "annotations.xml") as unfinished:
        ElementTree.ElementTree(root).write(unfinished, encoding="utf-8", xml_declaration=True)


def image_element(number: int, image: ExportImage, shape: str) -> ElementTree.Element:
    """Return the ``<image>`` of an image with a ``<mask>`` or ``<polygon>`` for each object."""
    height, width = image.size_hw
    size = {"width": str(width), "height": str(height)}
    element = ElementTree.Element("image", {"id": str(number), "name": image.file_name, **size})
    for group, item in enumerate(image.objects, start=1):
        shared = {"label": item.category.name, "source": "auto", "occluded": "0", "z_order": "0"}
        if shape == "mask":
            ElementTree.SubElement(element, "mask", shared | _mask_attributes(item))
            continue
        polygons = item.polygons
        group_id = {"group_id": str(group)} if len(polygons) > 1 else {}
        for polygon in polygons:
            points = ";".join(f"{x:.4f},{y:.4f}" for x, y in polygon)
            ElementTree.SubElement(element, "polygon", shared | {"points": points} | group_id)
    return element


def write_datumaro(dataset: ExportDataset, folder: Path, options: ExportOptions) -> None:
    """Write ``annotations/default.json`` ("Datumaro 1.0") and ``images/default/``."""
    index_of = {category.id: index for index, category in enumerate(dataset.categories)}
    names = stems([image.file_name for image in dataset.images])
    number = 0
    items: list[dict[str, Any]] = []
    for frame, image in enumerate(dataset.images):
        annotations = []
        for item in image.objects:
            number += 1
            annotations += _datumaro_annotations(number, index_of[item.category.id], item, options.shape)
        items.append(
            {
                "id": names[image.file_name],
                "annotations": annotations,
                "attr": {"frame": frame},
                "image": {"path": image.file_name, "size": list(image.size_hw)},
            }
        )
        options.place(image.path, folder / "images" / "default" / image.file_name)
    labels = [{"name": category.name, "parent": "", "attributes": []} for category in dataset.categories]
    content = {
        "dm_format_version": "1.0",
        "media_type": 2,
        "infos": {},
        "categories": {"label": {"labels": labels, "label_groups": [], "attributes": []}},
        "items": items,
    }
    write_json(folder / "annotations" / "default.json", content, indent=None)


def _mask_attributes(item: ExportObject) -> dict[str, str]:
    """Return the mask inside its box; CVAT writes the runs of rows, separated by commas."""
    left, top, right, bottom = (int(value) for value in item.box_xyxy)
    runs = encode_rows(item.mask[top:bottom, left:right])
    return {
        "rle": ", ".join(map(str, runs)),
        "left": str(left),
        "top": str(top),
        "width": str(right - left),
        "height": str(bottom - top),
    }


def _datumaro_annotations(number: int, label: int, item: ExportObject, shape: str) -> list[dict[str, Any]]:
    attributes = {} if item.score is None else {"score": item.score}
    shared = {"label_id": label, "attributes": attributes, "z_order": 0}
    if shape == "mask":
        rle = {"counts": item.rle["counts"].decode("ascii"), "size": list(item.rle["size"])}
        return [{"id": number, "type": "mask", "group": 0, **shared, "rle": rle}]
    polygons = item.polygons
    group = number if len(polygons) > 1 else 0
    return [
        {"id": number, "type": "polygon", "group": group, **shared, "points": polygon.ravel().tolist()}
        for polygon in polygons
    ]
