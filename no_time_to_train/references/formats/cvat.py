"""CVAT: its XML for images, and Datumaro's JSON."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.data.images import describe_size_mismatch, image_size_hw
from no_time_to_train.errors import InputError
from no_time_to_train.files.json_files import read_json
from no_time_to_train.ops.rle import encode_mask_crop, segmentation_to_rle
from no_time_to_train.ops.row_rle import decode_rows
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

XML_NAME = "CVAT's XML for images"
DATUMARO_NAME = "Datumaro's JSON"


def read_cvat_xml(path: Path, images: Path | None = None, *, upright: bool = True) -> Found:
    """Read ``annotations.xml`` of CVAT ("CVAT for images 1.1").

    Masks, polygons and ellipses become masks; of rectangles the box is known. Polygons of one group are one object.

    Raises:
        InputError: it is damaged, of a video, or images are missing or of another size.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not valid XML ({error}): it was cut off or damaged. Export it again.") from error
    if root.find("track") is not None:
        raise InputError(f'{path} is CVAT\'s XML of a video. Export it as "CVAT for images 1.1".')
    labels = [name.text or "" for name in root.findall("meta//labels/label/name")]
    found = ObjectList(path, upright=upright)
    finder = _finder(path, images)
    for element in root.findall("image"):
        given = (int(element.get("height", 0)), int(element.get("width", 0)))
        image = _checked_image(finder, element.get("name", ""), given, found)
        if image is None:
            continue
        for shape in element:
            label = shape.get("label", "")
            try:
                item = _xml_object(image, label, shape, given)
            except (InputError, KeyError, ValueError, OverflowError) as error:
                found.fault("damaged shapes", f"{image.name}, {shape.tag}: {error}")
                continue
            if item is _NO_OBJECT:
                found.leave_out(f"{shape.tag} elements")
            else:
                found.add(item, shape.get("group_id") or None)
    objects = found.finish(XML_NAME)
    return list(dict.fromkeys([*labels, *(item.label for item in objects)])), objects


_NO_OBJECT = LabeledObject(Path(), "", (0, 0, 0, 0))


def _xml_object(image: Path, label: str, shape: ElementTree.Element, size_hw: tuple[int, int]) -> LabeledObject | None:
    def number(name: str) -> float:
        return float(shape.attrib[name])

    if shape.tag == "box":
        x1, y1, x2, y2 = (number(name) for name in ("xtl", "ytl", "xbr", "ybr"))
        turn = float(shape.get("rotation", 0))
        if not turn:
            return object_of_box(image, label, (x1, y1, x2, y2), size_hw)
        corners = rotated_rectangle((x1, y1), x2 - x1, y2 - y1, turn, ((x1 + x2) / 2, (y1 + y2) / 2))
        return object_of_mask(image, label, polygons_to_rle([corners], size_hw))
    if shape.tag == "polygon":
        points = [[float(value) for value in pair.split(",")] for pair in shape.attrib["points"].split(";")]
        return object_of_mask(image, label, polygons_to_rle([points], size_hw))
    if shape.tag == "ellipse":
        center, radii = (number("cx"), number("cy")), (number("rx"), number("ry"))
        return object_of_mask(image, label, ellipse_to_rle(center, radii, size_hw))
    if shape.tag == "mask":
        left, top, width, height = (int(number(name)) for name in ("left", "top", "width", "height"))
        crop = decode_rows([int(run) for run in shape.attrib["rle"].split(",")], (height, width))
        if left < 0 or top < 0 or left + width > size_hw[1] or top + height > size_hw[0]:
            raise InputError("the mask does not lie in its image")
        return object_of_mask(image, label, encode_mask_crop(crop, top, left, size_hw))
    return _NO_OBJECT


def is_datumaro(content: object) -> bool:
    """Return whether the content of a JSON file is Datumaro's."""
    return (
        isinstance(content, dict)
        and isinstance(content.get("items"), list)
        and isinstance(content.get("categories"), dict)
    )


def read_datumaro(path: Path, images: Path | None = None, *, upright: bool = True) -> Found:
    """Read a JSON file of Datumaro, as CVAT writes it too.

    Masks and polygons become masks; of boxes the box is known. Polygons of one group are one object.

    Raises:
        InputError: it is damaged, or images are missing or of another size.
    """
    content = read_json(path)
    entries = content["categories"].get("label", {}).get("labels", [])
    labels = [str(entry.get("name")) for entry in entries]
    found = ObjectList(path, upright=upright)
    finder = _finder(path, images)
    for item in content["items"]:
        media = item.get("image") or {}
        size = media.get("size")
        name = str(media.get("path") or item.get("id"))
        image = _checked_image(finder, name, None if size is None else (size[0], size[1]), found)
        if image is None:
            continue
        size_hw = image_size_hw(image, upright=found.upright)
        for number, annotation in enumerate(item.get("annotations", []), start=1):
            try:
                kind = annotation["type"]
                if kind in ("mask", "polygon", "bbox"):
                    label = labels[annotation["label_id"]]
                    found.add(_datumaro_object(image, label, annotation, size_hw), annotation.get("group") or None)
                else:
                    found.leave_out(f"annotations of type {kind}")
            except (InputError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
                found.fault("damaged annotations", f"{name}, annotation {number}: {error}")
    return labels, found.finish(DATUMARO_NAME)


def _datumaro_object(
    image: Path, label: str, annotation: dict[str, Any], size_hw: tuple[int, int]
) -> LabeledObject | None:
    if annotation["type"] == "mask":
        return object_of_mask(image, label, segmentation_to_rle(annotation["rle"], size_hw))
    if annotation["type"] == "polygon":
        points = np.array(annotation["points"], float).reshape(-1, 2)
        return object_of_mask(image, label, polygons_to_rle([points], size_hw))
    x, y, width, height = annotation["bbox"]
    return object_of_box(image, label, (x, y, x + width, y + height), size_hw)


def _finder(path: Path, images: Path | None) -> ImageFinder:
    folder, parent = path.parent, path.parent.parent
    near = [folder / "images", folder, parent / "images" / path.stem, parent / "images", parent]
    return ImageFinder(near if images is None else [images])


def _checked_image(finder: ImageFinder, name: str, given_hw: tuple[int, int] | None, found: ObjectList) -> Path | None:
    image = finder.find(name) or finder.find_stem(name)
    if image is None:
        found.fault(f"images that are not in {finder.describe()}", name)
        return None
    if given_hw is not None:
        mismatch = describe_size_mismatch(given_hw, "size", image_size_hw(image, upright=found.upright), image.name)
        if mismatch:
            found.fault("images of another size than the file says", mismatch)
            return None
    return image
