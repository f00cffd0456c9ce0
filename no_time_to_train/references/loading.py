"""Load references of any kind.

All become one :class:`~no_time_to_train.structures.ReferenceSet`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from no_time_to_train.data.categories import category_name_of, merge_background, select_categories
from no_time_to_train.data.coco import CocoAnnotation, CocoDataset, CocoImage
from no_time_to_train.data.coco_reader import first_few, read_coco
from no_time_to_train.data.image_roots import locate_images
from no_time_to_train.data.images import describe_size_mismatch, image_size_hw
from no_time_to_train.errors import InputError, Parameter
from no_time_to_train.files.arguments import as_path, as_texts
from no_time_to_train.ops.rle import Rle, segmentation_to_rle
from no_time_to_train.references.folders import LabeledObject, read_category_folders
from no_time_to_train.references.formats.detect import detect
from no_time_to_train.structures import Category, ReferenceInstance, ReferenceSet

logger = logging.getLogger(__name__)

_SHOWN_UNUSED = 5


_CROWDS_ARE_OBJECTS = Parameter("crowds_are_objects", True)


def load_references(
    annotations: str | Path,
    images: str | Path | None = None,
    *,
    categories: Sequence[str] | None = None,
    crowds_are_objects: bool = False,
    upright: bool = True,
) -> ReferenceSet:
    """Read references: annotated example objects, any number per category.

    Args:
        annotations: a COCO file (masks, or boxes that become masks later), annotations of YOLO, PASCAL VOC, LabelMe,
            Label Studio or CVAT, a folder that holds any of these, or a folder with a sub-folder per category, in it
            images with mask files (``boat/a.jpg``, ``boat/a_mask.png``). The format is found by what the files hold.
            A category named ``_background`` or ``!anything`` means "none of these".
        images: folder that file names are relative to; None: found near the annotations.
        categories: names of the categories to use (the background always stays); None: all.
        crowds_are_objects: use annotations with ``iscrowd`` 1 too, which CVAT and Datumaro write for every object that
            was painted with a brush or made by SAM; else they are left out, and a warning says so.
        upright: whether the annotations are of the images turned as their EXIF orientation says, as tools show them, or
            of the stored pixels (``images.exif=ignore``).

    Returns:
        Categories in the order of their ids, those without a reference among them (a warning names them).

    Raises:
        InputFileNotFoundError: the annotations or some of the images are missing.
        InputError: the annotations are damaged or contradictory, a category name is unknown, or nothing is annotated.

    Example:
        >>> references = ntt.load_references("references.json")
        >>> references.counts()
        {'striped_star': 2, 'dotted_mushroom': 2}
    """
    source = detect(as_path(annotations, "references"))
    path = source.path
    if source.reader is not None or path.is_dir():
        labels, objects = (
            read_category_folders(path, upright=upright)
            if source.reader is None
            else source.reader(path, _optional_path(images), upright=upright)
        )
        return _checked(_number(objects, labels, upright), str(path), categories)
    dataset = read_coco(path, _optional_path(images), crowds_are_objects=crowds_are_objects, upright=upright)
    _warn_of_crowds(dataset)
    used = _usable_annotations(dataset, categories)
    names = list(dict.fromkeys(dataset.images_by_id[annotation.image_id].file_name for annotation in used))
    root = locate_images(names, path, _optional_path(images), what="reference images") if names else path.parent
    return references_from_coco(dataset, root, categories=categories, upright=upright)


def as_references(
    references: str | Path | ReferenceSet,
    images: str | Path | None = None,
    categories: Sequence[str] | None = None,
    *,
    upright: bool = True,
) -> ReferenceSet:
    """Return references given as such, or read them from their path.

    See :func:`load_references`.

    Raises:
        InputError: neither; or as ``load_references`` does.
    """
    if not isinstance(references, ReferenceSet | str | Path):
        raise InputError(
            f"references must be a file, a folder or what ntt.load_references gives, got {type(references).__name__}."
        )
    if not isinstance(references, ReferenceSet):
        return load_references(references, images, categories=categories, upright=upright)
    return references if categories is None else _checked(references, "the references", categories)


def references_from_coco(
    dataset: CocoDataset, images: Path, *, categories: Sequence[str] | None = None, upright: bool = True
) -> ReferenceSet:
    """Turn every annotation of a data set into a reference.

    Crowds are left out.

    Args:
        dataset: see :func:`~no_time_to_train.data.coco_reader.read_coco`.
        images: the folder its file names are relative to.
        categories, upright: as in :func:`load_references`.

    Raises:
        InputError: an image has another size than the data set says, or nothing is annotated.
    """
    used = _usable_annotations(dataset, categories)
    coco_images = [dataset.images_by_id[image_id] for image_id in dict.fromkeys(a.image_id for a in used)]
    _check_sizes(dataset.name, coco_images, images, upright)
    category_of = merge_background(dataset.categories)
    instances = tuple(
        _instance(
            annotation,
            dataset.images_by_id[annotation.image_id],
            images,
            category_of[annotation.category_id],
            upright,
        )
        for annotation in used
    )
    merged = tuple(dict.fromkeys(category_of.values()))
    return _checked(ReferenceSet(merged, instances), dataset.name, categories)


def parse_inline_reference(text: str, *, upright: bool = True) -> LabeledObject:
    """Read ``image:category:x1,y1,x2,y2``, e.g. ``boat.jpg:boat:120,40,380,300``.

    Raises:
        InputFileNotFoundError: there is no such image.
        InputError: the text has another form, or the box does not lie in the image.
    """
    try:
        image, label, numbers = text.rsplit(":", 2)
        x1, y1, x2, y2 = (float(number) for number in numbers.split(","))
    except ValueError as error:
        raise InputError(
            f"reference {text}: must be image:category:x1,y1,x2,y2 in pixels, like boat.jpg:boat:120,40,380,300."
        ) from error
    height, width = image_size_hw(Path(image), upright=upright)
    if not label or not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise InputError(
            f"reference {text}: needs a category and a box with x1 < x2 and y1 < y2 inside the image, which is "
            f"{width}x{height}."
        )
    return LabeledObject(Path(image), label, (x1, y1, x2, y2))


def inline_references(texts: Sequence[str], *, upright: bool = True) -> ReferenceSet:
    """Read references given as ``image:category:x1,y1,x2,y2``.

    Categories are numbered from 1 as they appear.
    """
    objects = [parse_inline_reference(text, upright=upright) for text in texts]
    return _checked(_number(objects, [item.label for item in objects], upright), "the list of boxes", None)


def join_references(first: ReferenceSet, second: ReferenceSet) -> ReferenceSet:
    """Add references to others.

    Categories of one name are one, all others are numbered on.

    Args:
        first: keeps its ids.
        second: gets new ids of annotations, and of images that are not among the first's.
    """
    categories = {category.name: category for category in first.categories}
    for category in second.categories:
        number = max((known.id for known in categories.values()), default=0) + 1
        categories.setdefault(category.name, Category(number, category.name))
    image_ids: dict[Path, int | str] = {item.image_path.resolve(): item.image_id for item in first.instances}
    added = []
    for number, item in enumerate(second.instances, start=1):
        image_id = image_ids.setdefault(item.image_path.resolve(), f"added image {number}")
        category = categories[item.category.name]
        added.append(replace(item, image_id=image_id, annotation_id=f"added {number}", category=category))
    return ReferenceSet(tuple(categories.values()), (*first.instances, *added))


def _optional_path(path: str | Path | None) -> Path | None:
    return as_path(path, "images", optional=True)


def _usable_annotations(dataset: CocoDataset, categories: Sequence[str] | None) -> list[CocoAnnotation]:
    category_of = merge_background(dataset.categories)
    wanted = set(_selected(tuple(dict.fromkeys(category_of.values())), categories))
    return [a for a in dataset.annotations if not a.is_crowd and category_of[a.category_id] in wanted]


def _selected(categories: tuple[Category, ...], names: Sequence[str] | None) -> tuple[Category, ...]:
    if names is None:
        return categories
    wanted = [category_name_of(name) for name in as_texts(names, "categories", "boat")]
    chosen = frozenset(select_categories(categories, wanted))
    return tuple(category for category in categories if category in chosen or category.is_background)


def _instance(
    annotation: CocoAnnotation, image: CocoImage, images: Path, category: Category, upright: bool
) -> ReferenceInstance:
    label = annotation.id if annotation.source_id is None else annotation.source_id
    return ReferenceInstance(
        image_path=images / image.file_name,
        image_id=image.id,
        annotation_id=label,
        category=category,
        box_xyxy=annotation.box_xyxy,
        mask=_mask(annotation, image, label),
        upright=upright,
    )


def _mask(annotation: CocoAnnotation, image: CocoImage, label: int | str) -> Rle | None:
    if annotation.segmentation is None:
        return None
    try:
        return segmentation_to_rle(annotation.segmentation, image.size_hw)
    except InputError as error:
        raise InputError(f"annotation {label} ({image.file_name}): {error}") from error


def _check_sizes(name: str, coco_images: Sequence[CocoImage], root: Path, upright: bool) -> None:
    """Refuse wrong sizes in the file: one would silently stretch every mask."""
    mismatches = []
    for image in coco_images:
        actual_hw = image_size_hw(root / image.file_name, upright=upright)
        if mismatch := describe_size_mismatch(image.size_hw, "size", actual_hw, image.file_name):
            mismatches.append(mismatch)
    if mismatches:
        raise InputError(f"{name} gives the wrong size for {len(mismatches)} images. First: {mismatches[0]}")


def _number(objects: Sequence[LabeledObject], labels: Sequence[str], upright: bool) -> ReferenceSet:
    """Return labels and objects numbered from 1.

    Categories are in the order of ``labels``, images and objects in their own order.
    """
    names = list(dict.fromkeys(category_name_of(label) for label in labels))
    categories = {name: Category(number, name) for number, name in enumerate(names, start=1)}
    image_ids = {path: n for n, path in enumerate(dict.fromkeys(item.image_path for item in objects), start=1)}
    instances = tuple(
        ReferenceInstance(
            image_path=item.image_path,
            image_id=image_ids[item.image_path],
            annotation_id=number,
            category=categories[category_name_of(item.label)],
            box_xyxy=item.box_xyxy,
            mask=item.mask,
            upright=upright,
        )
        for number, item in enumerate(objects, start=1)
    )
    return ReferenceSet(tuple(categories.values()), instances)


def _checked(references: ReferenceSet, source: str, names: Sequence[str] | None) -> ReferenceSet:
    """Keep the chosen categories; warn of those without a reference, refuse if there is none at all."""
    categories = _selected(references.categories, names)
    wanted = frozenset(categories)
    chosen = ReferenceSet(categories, tuple(i for i in references.instances if i.category in wanted))
    if not len(chosen):
        raise InputError(
            f"{source} has no usable reference: annotate at least one object. What is marked as a crowd (iscrowd 1) "
            f"does not count; with {_CROWDS_ARE_OBJECTS} it does.",
            parameters=[_CROWDS_ARE_OBJECTS],
        )
    _warn_of_unused(chosen, source)
    return chosen


def _warn_of_crowds(dataset: CocoDataset) -> None:
    """Say which categories have annotations that are left out because they are marked as crowds."""
    counts = Counter(dataset.categories_by_id[a.category_id].name for a in dataset.annotations if a.is_crowd)
    if counts:
        logger.warning(
            "%s: annotations marked as crowds (iscrowd 1) are left out: %s. CVAT and Datumaro mark every brush and SAM "
            "mask so; %s uses them.",
            dataset.name,
            first_few([f"{count} of '{name}'" for name, count in counts.items()]),
            _CROWDS_ARE_OBJECTS,
        )


def _warn_of_unused(references: ReferenceSet, source: str) -> None:
    """Say in one line which categories have no reference."""
    counts = references.counts()
    unused = [f"'{item.name}' (id {item.id})" for item in references.categories if not counts[item.name]]
    if not unused:
        return
    more = len(unused) - _SHOWN_UNUSED
    listed = ", ".join(unused[:_SHOWN_UNUSED]) + (f" and {more} more" if more > 0 else "")
    used = Parameter("categories", [name for name, count in counts.items() if count])
    logger.warning("No reference in %s is of %s. Add some, or leave them out with %s.", source, listed, used)
