"""Read PASCAL VOC annotations.

There is one XML file per image, and lists of images in ``ImageSets/Main``.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from no_time_to_train.data.coco import CocoAnnotation, CocoDataset, CocoImage
from no_time_to_train.data.coco_reader import first_few
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.structures import Category


class VocAnnotationsError(InputError):
    """Annotation files are missing, damaged or have unknown categories.

    ``faults`` has them all.
    """

    def __init__(self, devkit: Path, faults: Sequence[str]) -> None:
        super().__init__(f"{devkit}: {len(faults)} problems in the annotations: {first_few(faults)}")
        self.faults = tuple(faults)


@dataclass(frozen=True)
class VocObject:
    """One ``<object>``.

    Corners are as the file has them, counted from 1, the last pixel included.
    """

    name: str
    corners: tuple[int, int, int, int]
    is_difficult: bool


def read_voc(
    devkit: Path,
    image_sets: Sequence[tuple[str, str]],
    *,
    category_names: Sequence[str] | None = None,
    box_convention: str = "half_open",
) -> CocoDataset:
    """Read image sets of PASCAL VOC as one data set.

    Anything in its layout will do.

    Images, annotations and categories are numbered from 1: images in the order of the lists, categories by the
    alphabet. In each image the objects marked difficult come last; they become crowds, which no evaluator counts and
    no sampler draws. ``<part>`` elements are not objects.

    Args:
        devkit: the folder that file names are relative to (``VOCdevkit``).
        image_sets: (folder below it, name of the list), for example ``("VOC2007", "trainval")``.
        category_names: all names there may be; None: those that occur.
        box_convention: of the predicted boxes. ``half_open``: a box from pixel 1 to pixel 10 is 10 wide;
            ``inclusive``: it is 9, as in the published converter (arXiv 2507.02798), whose predicted boxes are short
            by as much; references and COCO AP use it. Two boxes do not depend on it: the sampler's
            (``source_box_xywh``, always 9 wide, so that it draws the published references) and VOC AP's
            (``full_box_xywh``, always 10 wide).

    Raises:
        InputFileNotFoundError: a list is missing.
        VocAnnotationsError: annotation files are missing or damaged, or have names that are not among
            ``category_names``.
    """
    images: list[CocoImage] = []
    objects: list[tuple[int, VocObject]] = []
    faults: list[str] = []
    for folder, image_set in image_sets:
        for stem in read_image_list(devkit / folder / "ImageSets" / "Main" / f"{image_set}.txt"):
            try:
                size_hw, found = read_annotation(devkit / folder / "Annotations" / f"{stem}.xml")
            except InputError as error:
                faults.append(str(error))
                continue
            image_id = len(images) + 1
            file_name = str(PurePosixPath(folder, "JPEGImages", f"{stem}.jpg"))
            images.append(CocoImage(image_id, file_name, size_hw))
            objects += [(image_id, item) for item in sorted(found, key=lambda item: item.is_difficult)]
    names = sorted({item.name for _, item in objects}) if category_names is None else sorted(category_names)
    faults += [f"unknown category {name!r}" for name in sorted({item.name for _, item in objects} - set(names))]
    if faults:
        raise VocAnnotationsError(devkit, faults)
    categories = tuple(Category(number, name) for number, name in enumerate(names, start=1))
    ids = {category.name: category.id for category in categories}
    annotations = [
        _annotation(number, image_id, ids[item.name], item, images[image_id - 1].size_hw, box_convention)
        for number, (image_id, item) in enumerate(objects, start=1)
    ]
    return CocoDataset(
        name=f"{devkit} ({', '.join('/'.join(parts) for parts in image_sets)})",
        images=tuple(images),
        annotations=tuple(annotation for annotation in annotations if annotation.has_area),
        categories=categories,
        dropped_annotations=tuple(annotation for annotation in annotations if not annotation.has_area),
    )


def read_image_list(path: Path) -> list[str]:
    """Read the names in a list of images, first in each line.

    Raises:
        InputFileNotFoundError: no such file.
    """
    if not path.is_file():
        raise InputFileNotFoundError(f"{path}: no such list of images.")
    try:
        names = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} must be a list of images in UTF-8 text ({error}).") from error
    return names


def read_annotation(path: Path) -> tuple[tuple[int, int], list[VocObject]]:
    """Read one XML file.

    Returns (height, width) of the image, and its objects in the order of the file.

    Raises:
        InputError: it is missing or damaged.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing")
    try:
        root = ElementTree.parse(path).getroot()
        size_hw = (_number(root, "size/height"), _number(root, "size/width"))
        if min(size_hw) < 1:
            raise ValueError(f"its size is {size_hw[1]}x{size_hw[0]}")
        return size_hw, list(_objects(root))
    except (ElementTree.ParseError, ValueError, OverflowError, LookupError) as error:
        raise InputError(f"{path} is damaged ({error})") from error


def _objects(root: ElementTree.Element) -> Iterator[VocObject]:
    for element in root.findall("object"):
        xmin, ymin, xmax, ymax = (_number(element, f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax"))
        name = (element.findtext("name") or "").strip()
        yield VocObject(name, (xmin, ymin, xmax, ymax), (element.findtext("difficult") or "0").strip() == "1")


def _number(element: ElementTree.Element, path: str) -> int:
    """Round a coordinate: some files of 2012 have ones such as 45.70000076293945."""
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"no {path}")
    return round(float(text))


def _annotation(
    number: int, image_id: int, category_id: int, item: VocObject, size_hw: tuple[int, int], box_convention: str
) -> CocoAnnotation:
    xmin, ymin, xmax, ymax = item.corners
    one_short = 1 if box_convention == "inclusive" else 0
    x1, y1 = max(xmin - 1, 0), max(ymin - 1, 0)
    x2, y2 = min(xmax, size_hw[1]) - one_short, min(ymax, size_hw[0]) - one_short
    source_box = (float(xmin - 1), float(ymin - 1), float(xmax - xmin), float(ymax - ymin))
    full_box = (*source_box[:2], source_box[2] + 1, source_box[3] + 1)
    return CocoAnnotation(
        id=number,
        source_id=number,
        position=number - 1,
        image_id=image_id,
        category_id=category_id,
        box_xyxy=(float(x1), float(y1), float(x2), float(y2)),
        source_box_xywh=source_box,
        segmentation=None,
        area=float(max(x2 - x1, 0) * max(y2 - y1, 0)),
        is_crowd=item.is_difficult,
        full_box_xywh=full_box,
        scored_box_xywh=source_box if one_short else full_box,
    )


def voc_palette() -> np.ndarray:
    """Return the (256, 3) uint8 colors of VOC's masks.

    The bits of the index are spread over red, green and blue.
    """
    indices = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((indices >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette
