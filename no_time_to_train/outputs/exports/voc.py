"""PASCAL VOC: an XML file with boxes per image, masks by object and by category, and lists of images."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.data.voc import voc_palette
from no_time_to_train.files.atomic import replacing
from no_time_to_train.files.formats import write_text
from no_time_to_train.outputs.exports.dataset import ExportDataset, ExportImage, split, stems
from no_time_to_train.outputs.exports.options import ExportOptions

_MAX_INDEX = 254
"""Values of a palette file, less 0 (background) and 255 (void)."""


def write(dataset: ExportDataset, folder: Path, options: ExportOptions) -> Counter[str]:
    """Write ``Annotations``, ``SegmentationObject``, ``SegmentationClass``, ``ImageSets``, ``JPEGImages``.

    Masks of VOC do not overlap: where two do, the one with the better score has the pixels.

    Returns:
        What was left out, counted by reason.
    """
    names = stems([image.file_name for image in dataset.images], flat=True)
    index_of = {category.id: index for index, category in enumerate(dataset.categories, start=1)}
    left_out: Counter[str] = Counter()
    for image in dataset.images:
        stem = names[image.file_name]
        left_out["objects beyond the 254 that a VOC mask can hold"] += max(len(image.objects) - _MAX_INDEX, 0)
        _write_xml(folder / "Annotations" / f"{stem}.xml", image, f"{stem}.jpg")
        by_object, by_category = index_masks(image, index_of)
        _write_indexed(folder / "SegmentationObject" / f"{stem}.png", by_object)
        _write_indexed(folder / "SegmentationClass" / f"{stem}.png", by_category)
        options.place_jpeg(image.path, folder / "JPEGImages" / f"{stem}.jpg")
    _write_lists(dataset, folder, names, options.val_share)
    colors = [(name, color) for name, color in zip(_label_names(dataset), voc_palette().tolist(), strict=False)]
    lines = ["# label:color_rgb:parts:actions", *(f"{name}:{r},{g},{b}::" for name, (r, g, b) in colors)]
    write_text(folder / "labelmap.txt", "\n".join(lines) + "\n")
    return left_out


def index_masks(image: ExportImage, index_of: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return (H, W) uint8 numbers of the objects, from 1 in their order, and of their categories."""
    by_object = np.zeros(image.size_hw, np.uint8)
    by_category = np.zeros(image.size_hw, np.uint8)
    numbered = list(enumerate(image.objects[:_MAX_INDEX], start=1))
    for number, item in sorted(numbered, key=lambda entry: entry[1].score if entry[1].score is not None else 1.0):
        by_object[item.mask] = number
        by_category[item.mask] = index_of[item.category.id]
    return by_object, by_category


def _label_names(dataset: ExportDataset) -> list[str]:
    return ["background", *(category.name for category in dataset.categories)]


def _write_xml(path: Path, image: ExportImage, image_name: str) -> None:
    height, width = image.size_hw
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "folder").text = "JPEGImages"
    ElementTree.SubElement(root, "filename").text = image_name
    size = ElementTree.SubElement(root, "size")
    for name, value in (("width", width), ("height", height), ("depth", 3)):
        ElementTree.SubElement(size, name).text = str(value)
    ElementTree.SubElement(root, "segmented").text = "1"
    for item in image.objects[:_MAX_INDEX]:
        element = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(element, "name").text = item.category.name
        for name, text in (("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0"), ("occluded", "0")):
            ElementTree.SubElement(element, name).text = text
        x1, y1, x2, y2 = (int(value) for value in item.box_xyxy)
        box = ElementTree.SubElement(element, "bndbox")  # corners count from 1, the last pixel included
        for name, value in (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2)):
            ElementTree.SubElement(box, name).text = str(value)
    ElementTree.indent(root)
    with replacing(path) as unfinished:
        ElementTree.ElementTree(root).write(unfinished, encoding="utf-8")


def _write_indexed(path: Path, values: np.ndarray) -> None:
    image = Image.fromarray(values)
    image.putpalette(voc_palette().tobytes())
    with replacing(path) as unfinished:
        image.save(unfinished, format="PNG")


def _write_lists(dataset: ExportDataset, folder: Path, names: dict[str, str], val_share: float) -> None:
    train, val = split(dataset.images, val_share)
    for list_name, images in (("train", train), ("val", val), ("trainval", list(dataset.images))):
        text = "".join(f"{stem}\n" for stem in sorted(names[image.file_name] for image in images))
        for task in ("Main", "Segmentation"):
            write_text(folder / "ImageSets" / task / f"{list_name}.txt", text)
