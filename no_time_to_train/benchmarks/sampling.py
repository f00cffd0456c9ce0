"""Drawing k references per category, exactly as the published code does.

Source: ``few_shot_sampling.py`` of the paper's implementation (arXiv 2507.02798). For one seed and one set of
categories the draws are nested: the first k of a larger draw are the draw of k. They do depend on which categories are
drawn together, for all share one random stream.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, cycle, islice
from pathlib import Path

from no_time_to_train.data.categories import select_categories
from no_time_to_train.data.coco import CocoAnnotation, CocoDataset, CocoImage
from no_time_to_train.errors import InputError
from no_time_to_train.references.loading import references_from_coco
from no_time_to_train.structures import Category, ReferenceSet

_MIN_SIDE_PX = 32
_MIN_MARGIN_PX = 10


def sample_references(
    dataset: CocoDataset,
    shots: int,
    seed: int,
    categories: Sequence[str] | None = None,
    *,
    allow_invalid: bool = False,
    allow_duplicates: bool = False,
    fill_up: bool = False,
) -> dict[int, list[int]]:
    """Draw annotations as the published code does.

    Each lies on another image of its category, is large enough and away from the border.

    Args:
        dataset: the training set.
        shots: annotations per category, at least 1.
        seed: of Python's ``random.Random``, one stream for all categories.
        categories: names to draw for; None: all.
        allow_invalid: a category without a single valid annotation is drawn from its invalid ones (crowds and boxes
            without area never).
        allow_duplicates: a category with too few is filled up with the same ones again, from the first.
        fill_up: a category with too few is filled up with small ones and ones at the border, on other images first,
            then on images that were drawn from already.

    Returns:
        Annotation ids in the order drawn, by category id; categories in the order in which they first appear in the
        file's annotations.

    Raises:
        InputError: a category has too few valid annotations, or a name is unknown.
    """
    if shots < 1:
        raise InputError(f"shots={shots} must be at least 1.")
    wanted = dataset.categories if categories is None else select_categories(dataset.categories, categories)
    candidates = _annotations_by_category(dataset)
    generator = random.Random(seed)
    drawn: dict[int, list[int]] = {}
    wanted_ids = {category.id for category in wanted}
    for category_id in (i for i in candidates if i in wanted_ids):
        # The whole list is shuffled, invalid annotations too: the stream does not depend on what is valid.
        generator.shuffle(candidates[category_id])
        drawn[category_id] = _first_valid(candidates[category_id], dataset.images_by_id, shots)
        if allow_invalid and not drawn[category_id]:
            drawn[category_id] = _first_on_each_image(
                [a for a in candidates[category_id] if a.has_area and not a.is_crowd], shots
            )
        if fill_up:
            drawn[category_id] = _filled_up(drawn[category_id], candidates[category_id], shots)
        if allow_duplicates:
            drawn[category_id] = list(islice(cycle(drawn[category_id]), shots))
    short = [
        f"'{category.name}' has {len(drawn.get(category.id, []))}"
        for category in wanted
        if len(drawn.get(category.id, [])) < shots
    ]
    if short:
        raise InputError(
            f"{dataset.name}: {shots} references per category were asked for, but {', '.join(short)} valid ones on "
            f"different images (no crowd, at least {_MIN_SIDE_PX} pixels wide and high, {_MIN_MARGIN_PX} from the "
            "border). Ask for fewer, leave these categories out, or fill them up with others "
            "(benchmark.sampler=filled_up)."
        )
    return drawn


def sampled_dataset(dataset: CocoDataset, drawn: Mapping[int, Sequence[int]]) -> CocoDataset:
    """Return the drawn annotations as a data set of their own.

    ``write_coco`` gives the same bytes for the same draw.
    """
    by_id = {annotation.id: annotation for annotation in dataset.annotations}
    annotations = [by_id[annotation_id] for annotation_ids in drawn.values() for annotation_id in annotation_ids]
    categories = [category for category in dataset.categories if category.id in drawn]
    return dataset_of_annotations(dataset, annotations, categories)


def dataset_of_annotations(
    dataset: CocoDataset, annotations: Sequence[CocoAnnotation], categories: Sequence[Category]
) -> CocoDataset:
    """Restrict a data set to some annotations, their images and categories.

    Annotations come in the order of the file and keep their ids; one that is given twice becomes two, the second with
    an id after the highest. What ``write_coco`` makes of it and ``read_coco`` reads again is the same data set.
    """
    in_file_order = sorted(annotations, key=lambda annotation: annotation.position)
    unused_ids = count(1 + max((annotation.id for annotation in annotations), default=0))
    kept: dict[int, CocoAnnotation] = {}
    for annotation in in_file_order:
        number = next(unused_ids) if annotation.id in kept else annotation.id
        kept[number] = replace(annotation, id=number, source_id=number, position=len(kept))
    image_ids = {annotation.image_id for annotation in annotations}
    images = tuple(image for image in dataset.images if image.id in image_ids)
    return CocoDataset(dataset.name, images, tuple(kept.values()), tuple(categories))


def sampled_references(dataset: CocoDataset, drawn: Mapping[int, Sequence[int]], images: Path) -> ReferenceSet:
    """Return the drawn annotations as references.

    ``images`` is the folder that the file names are relative to.
    """
    return references_from_coco(sampled_dataset(dataset, drawn), images)


def _annotations_by_category(dataset: CocoDataset) -> dict[int, list[CocoAnnotation]]:
    """Group annotations in file order, as the published code sees them.

    Boxes without area are among them. Of a repeated id there is one entry, with the place of the first and the
    content of the last.
    """
    in_file_order = sorted((*dataset.annotations, *dataset.dropped_annotations), key=lambda a: a.position)
    by_source_id: dict[int | str | tuple[str, int], CocoAnnotation] = {}
    for annotation in in_file_order:
        key = ("no id", annotation.position) if annotation.source_id is None else annotation.source_id
        by_source_id[key] = annotation
    grouped: dict[int, list[CocoAnnotation]] = {}
    for annotation in by_source_id.values():
        grouped.setdefault(annotation.category_id, []).append(annotation)
    return grouped


def _first_valid(
    shuffled: Sequence[CocoAnnotation], images_by_id: Mapping[int | str, CocoImage], shots: int
) -> list[int]:
    return _first_on_each_image([a for a in shuffled if _is_valid(a, images_by_id[a.image_id])], shots)


def _filled_up(drawn: Sequence[int], shuffled: Sequence[CocoAnnotation], shots: int) -> list[int]:
    """Append annotations in the shuffled order to those drawn, first those on images of their own."""
    chosen = list(drawn)
    images = {annotation.image_id for annotation in shuffled if annotation.id in set(drawn)}
    others = [a for a in shuffled if a.has_area and not a.is_crowd and a.id not in set(drawn)]
    elsewhere = [a for a in others if a.image_id not in images]
    on_new_images = _first_on_each_image(elsewhere, len(elsewhere))
    chosen += on_new_images
    chosen += [a.id for a in others if a.id not in set(on_new_images)]
    return chosen[:shots]


def _first_on_each_image(annotations: Sequence[CocoAnnotation], shots: int) -> list[int]:
    first: dict[int | str, int] = {}
    for annotation in annotations:
        first.setdefault(annotation.image_id, annotation.id)
    return list(first.values())[:shots]


def _is_valid(annotation: CocoAnnotation, image: CocoImage) -> bool:
    x, y, width, height = annotation.source_box_xywh
    image_height, image_width = image.size_hw
    return (
        not annotation.is_crowd
        and min(width, height) >= _MIN_SIDE_PX
        and min(x, y, image_width - (x + width), image_height - (y + height)) >= _MIN_MARGIN_PX
    )
