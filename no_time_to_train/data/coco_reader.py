"""Read COCO annotation files as annotation tools really write them.

What is missing is completed (``iscrowd``, ``area``, ids, sizes, boxes), what cannot be meant is refused with one
message per kind of problem, and whatever is changed or left out is said through the logger.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from no_time_to_train.data.coco import CocoAnnotation, CocoDataset, CocoImage
from no_time_to_train.data.coco_fields import (
    SizeMismatchError,
    area_of,
    as_id,
    box_xywh_of,
    clipped,
    flag,
    printable_id,
    segmentation_of,
    size_hw_of,
)
from no_time_to_train.data.image_roots import file_name_below, is_shortened, locate_images
from no_time_to_train.data.images import image_size_hw
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.files.json_files import is_number, is_text, read_json
from no_time_to_train.structures import Category

logger = logging.getLogger(__name__)

_NUM_SHOWN = 5
MAX_PIXELS = 2**31
"""Of an image: run lengths have 32 bits."""


def read_coco(
    path: Path,
    images: Path | None = None,
    *,
    ignore_as_crowd: bool = False,
    crowds_are_objects: bool = False,
    upright: bool = True,
) -> CocoDataset:
    """Read a COCO annotation file.

    Args:
        path: the JSON file.
        images: folder of the images, looked into only where the file gives no image sizes; None: see
            :func:`~no_time_to_train.data.image_roots.locate_images`.
        ignore_as_crowd: take ``"ignore": 1`` as ``"iscrowd": 1`` (COCO's evaluator knows only the latter).
        crowds_are_objects: take no notice of either: CVAT and Datumaro write ``"iscrowd": 1`` for every object that was
            painted with a brush or made by SAM.
        upright: whether sizes that the file does not give are those of the images turned as their EXIF orientation
            says.

    Raises:
        InputFileNotFoundError: no such file, or images are missing whose sizes are needed.
        InputError: not JSON, not COCO, or contradictory (duplicate image ids, RLEs of another size ...).
    """
    path = Path(path)
    return parse_coco(
        load_coco(path),
        path,
        images,
        ignore_as_crowd=ignore_as_crowd,
        crowds_are_objects=crowds_are_objects,
        upright=upright,
    )


def parse_coco(
    data: dict[str, list[dict[str, Any]]],
    path: Path,
    images: Path | None = None,
    *,
    ignore_as_crowd: bool = False,
    crowds_are_objects: bool = False,
    upright: bool = True,
) -> CocoDataset:
    """Parse what :func:`load_coco` gave; ``path`` is what messages name."""
    coco_images = _read_images(data["images"], path, images, upright)
    used_ids = {as_id(raw.get("category_id")) for raw in data["annotations"]}
    categories = _read_categories(data["categories"], used_ids, path)
    crowd_keys = () if crowds_are_objects else ("iscrowd", "ignore") if ignore_as_crowd else ("iscrowd",)
    reader = _AnnotationReader(path, coco_images, categories, crowd_keys)
    annotations = _number_from_one(reader.read(data["annotations"]), path)
    return CocoDataset(
        name=str(path),
        images=tuple(coco_images),
        annotations=tuple(annotation for annotation in annotations if annotation.has_area),
        categories=tuple(categories),
        dropped_annotations=tuple(annotation for annotation in annotations if not annotation.has_area),
    )


def load_coco(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Load the raw entries of a COCO file.

    They are checked only for being lists of objects. Raises like :func:`read_coco`.
    """
    if not path.is_file():
        raise InputFileNotFoundError(f"{path}: no such annotation file.")
    data = read_json(path)
    if isinstance(data, list):
        raise InputError(
            f"{path} is a list (COCO results?), not a COCO data set with images, annotations and categories."
        )
    keys = ("images", "annotations", "categories")
    wrong = [key for key in keys if not isinstance(data, dict) or not isinstance(data.get(key), list)]
    if wrong:
        raise InputError(
            f"{path} is not a COCO data set: it must be an object with lists {', '.join(keys)}; "
            f"no list: {', '.join(wrong)}."
        )
    not_objects = [key for key in keys if not all(isinstance(entry, dict) for entry in data[key])]
    if not_objects:
        raise InputError(f"{path} is not a COCO data set: every entry of {', '.join(not_objects)} must be an object.")
    return data


def _read_images(raw_images: list[dict[str, Any]], path: Path, images: Path | None, upright: bool) -> list[CocoImage]:
    names: dict[int | str, str] = {}
    sizes: dict[int | str, tuple[int, int] | None] = {}
    shortened: dict[str, str] = {}
    conflicts, no_id, nameless, too_large, no_size = [], [], [], [], []
    for position, raw in enumerate(raw_images):
        image_id = as_id(raw.get("id"))
        # LVIS has no file names but the URL that ends in one.
        given = raw.get("file_name") or str(raw.get("coco_url", "")).rsplit("/")[-1]
        try:
            file_name = file_name_below(given if isinstance(given, str) else "")
        except InputError:
            nameless.append(ascii(raw.get("file_name")))
            continue
        if image_id is None:
            no_id.append(f"{file_name} (entry {position})")
            continue
        if names.setdefault(image_id, file_name) != file_name:
            conflicts.append(f"image id {image_id} used by {names[image_id]} and {file_name}")
            continue
        if is_shortened(given) and shortened.setdefault(file_name, given) != given:
            conflicts.append(f"{ascii(shortened[file_name])} and {ascii(given)} both end in {file_name}")
        sizes[image_id] = size_hw_of(raw)
        if sizes[image_id] is None and (raw.get("height") or raw.get("width")):
            no_size.append(f"{file_name}: {ascii(raw.get('height'))[:30]}, {ascii(raw.get('width'))[:30]}")
        if (size := sizes[image_id]) is not None and size[0] * size[1] > MAX_PIXELS:
            too_large.append(f"{file_name}: {size[1]}x{size[0]}")
    _refuse(path, no_id, "images must have an id, a whole number or text")
    _refuse(path, nameless, "images must have a file_name, text that names a file below the images folder")
    _refuse(path, conflicts, "images share an id or a file with another one; give each its own")
    _refuse(path, too_large, f"images have more than {MAX_PIXELS} pixels; correct their height and width")
    _warn(path, no_size, "images have a height and width that are no numbers above 0; those of their files are used")
    if len(names) < len(raw_images):
        logger.warning("%s lists %d images twice; each is used once.", path, len(raw_images) - len(names))
    return _with_sizes(names, sizes, path, images, upright)


def _with_sizes(
    names: dict[int | str, str],
    sizes: dict[int | str, tuple[int, int] | None],
    path: Path,
    images: Path | None,
    upright: bool,
) -> list[CocoImage]:
    """Read the sizes that the file does not give from the images."""
    unknown = [image_id for image_id, size in sizes.items() if size is None]
    if unknown:
        root = locate_images([names[image_id] for image_id in unknown], path, images)
        sizes = sizes | {image_id: image_size_hw(root / names[image_id], upright=upright) for image_id in unknown}
    return [CocoImage(image_id, names[image_id], size) for image_id, size in sizes.items() if size is not None]


def _read_categories(
    raw_categories: list[dict[str, Any]], used_ids: Collection[int | str | None], path: Path
) -> list[Category]:
    """Return every category; of several with one name those that something is annotated with."""
    categories: set[Category] = set()
    wrong = []
    for raw in raw_categories:
        category_id, name = as_id(raw.get("id")), raw.get("name")
        name = str(name) if is_number(name) else name
        if isinstance(category_id, int) and name and is_text(name):
            categories.add(Category(category_id, name))
        else:
            wrong.append(ascii(raw))
    _refuse(path, wrong, "categories must have a whole number as id and a name")
    # Roboflow exports have the project's name as category 0, which may be a class's too.
    used_names = {category.name for category in categories if category.id in used_ids}
    counts = Counter(category.name for category in categories)
    surplus = {c for c in categories if counts[c.name] > 1 and c.name in used_names and c.id not in used_ids}
    _warn(path, sorted(f"{c.name} (id {c.id})" for c in surplus), "categories have another's name and no use; left out")
    categories -= surplus
    for attribute in ("id", "name"):
        counts = Counter(str(getattr(category, attribute)) for category in categories)
        repeated = [f"{attribute} {value!r}" for value, count in counts.items() if count > 1]
        _refuse(path, repeated, "ids or names are shared by several categories; give each its own")
    return sorted(categories, key=lambda category: category.id)


class _AnnotationReader:
    """Reader of raw annotations that gathers, by kind, what is wrong with them."""

    def __init__(
        self, path: Path, images: Sequence[CocoImage], categories: Sequence[Category], crowd_keys: Sequence[str]
    ) -> None:
        self._path = path
        self._images = {image.id: image for image in images}
        self._category_ids = {category.id for category in categories}
        self._crowd_keys = crowd_keys
        self._faults: dict[str, list[str]] = defaultdict(list)
        self._left_out: dict[str, list[str]] = defaultdict(list)

    def read(self, raw_annotations: list[dict[str, Any]]) -> list[CocoAnnotation]:
        annotations = []
        for position, raw in enumerate(raw_annotations):
            annotation = self._read_one(raw, position)
            if annotation is not None:
                annotations.append(annotation)
        for problem, cases in self._faults.items():
            _refuse(self._path, cases, problem)
        for problem, cases in self._left_out.items():
            if len(cases) == len(raw_annotations):
                _refuse(self._path, cases, problem)
            _warn(self._path, cases, f"{problem}; left out")
        return annotations

    def _read_one(self, raw: dict[str, Any], position: int) -> CocoAnnotation | None:
        source_id = as_id(raw.get("id"))
        label = (
            f"annotation {printable_id(source_id)}"
            if source_id is not None
            else f"annotation number {position + 1} of the list"
        )
        image_id = as_id(raw.get("image_id"))
        image = None if image_id is None else self._images.get(image_id)
        category_id = as_id(raw.get("category_id"))
        if image is None:
            problem = "annotations have an image_id that is not among the images (text '7' is not the number 7)"
            self._left_out[problem].append(f"{label}: {ascii(raw.get('image_id'))}")
            return None
        if not isinstance(category_id, int) or category_id not in self._category_ids:
            problem = "annotations have a category_id that is not among the categories"
            self._left_out[problem].append(f"{label}: {ascii(raw.get('category_id'))}")
            return None
        try:
            return self._complete(raw, source_id, position, image, category_id)
        except SizeMismatchError as error:
            self._faults["annotations have an RLE of another size than their image"].append(f"{label}: {error}")
        except InputError as error:
            self._faults["annotations are damaged"].append(f"{label}: {error}")
        return None

    def _complete(
        self, raw: dict[str, Any], source_id: int | str | None, position: int, image: CocoImage, category_id: int
    ) -> CocoAnnotation:
        segmentation = segmentation_of(raw.get("segmentation"), image)
        box_xywh = box_xywh_of(raw.get("bbox"), segmentation, image.size_hw)
        box_xyxy = clipped(box_xywh, image.size_hw)
        if box_xyxy[2] <= box_xyxy[0] or box_xyxy[3] <= box_xyxy[1]:
            self._left_out["annotations have a box without area inside the image"].append(
                f"annotation {printable_id(source_id)}"
            )
        return CocoAnnotation(
            id=0,
            source_id=source_id,
            position=position,
            image_id=image.id,
            category_id=category_id,
            box_xyxy=box_xyxy,
            source_box_xywh=box_xywh,
            segmentation=segmentation,
            area=area_of(raw.get("area"), segmentation, box_xywh, image.size_hw),
            is_crowd=any([flag(raw, key) for key in self._crowd_keys]),
        )


def _number_from_one(annotations: Sequence[CocoAnnotation], path: Path) -> list[CocoAnnotation]:
    """Keep the file's ids where they are unique numbers and none is 0; else 1, 2, 3 ... for all."""
    ids = [annotation.source_id for annotation in annotations]
    counts = Counter(ids)
    faults = [f"id {ascii(value)} used {count} times" for value, count in counts.items() if count > 1]
    faults += [f"id {ascii(value)}" for value in counts if not (isinstance(value, int) and 0 < value <= 2**53)]
    if not faults:
        return [replace(annotation, id=annotation.source_id) for annotation in annotations]  # type: ignore[arg-type]
    _warn(
        path,
        faults,
        "annotation ids are below 1, missing, text, too large or repeated; all annotations are numbered anew from 1",
    )
    return [replace(annotation, id=number) for number, annotation in enumerate(annotations, start=1)]


def _refuse(path: Path, cases: Sequence[str], problem: str) -> None:
    if cases:
        raise InputError(f"{path}: {len(cases)} {problem}: {first_few(cases)}")


def _warn(path: Path, cases: Sequence[str], problem: str) -> None:
    if cases:
        logger.warning("%s: %d %s: %s", path, len(cases), problem, first_few(cases))


def first_few(cases: Sequence[str]) -> str:
    """List the first five, and how many more there are."""
    more = len(cases) - _NUM_SHOWN
    return "; ".join(cases[:_NUM_SHOWN]) + (f"; and {more} more" if more > 0 else "")
