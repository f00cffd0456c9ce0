"""Drawing k references per category, exactly as the published code does.

Source: ``few_shot_sampling.py`` of the paper's implementation (arXiv 2507.02798). For one seed and one set of
categories the draws are nested: the first k of a larger draw are the draw of k. They do depend on which categories are
drawn together, for all share one random stream.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from no_time_to_train.data.categories import select_categories
from no_time_to_train.data.coco import CocoAnnotation, CocoDataset, CocoImage
from no_time_to_train.data.references import references_from_coco
from no_time_to_train.errors import InputError
from no_time_to_train.structures import ReferenceSet

_MIN_SIDE_PX = 32
_MIN_MARGIN_PX = 10


def sample_references(
    dataset: CocoDataset, shots: int, seed: int, categories: Sequence[str] | None = None
) -> dict[int, list[int]]:
    """Draw annotations, each on another image of its category, large enough and away from the border.

    Args:
        dataset: the training set.
        shots: annotations per category, at least 1.
        seed: of Python's ``random.Random``, one stream for all categories.
        categories: names to draw for; None: all.

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
    short = [
        f"'{category.name}' has {len(drawn.get(category.id, []))}"
        for category in wanted
        if len(drawn.get(category.id, [])) < shots
    ]
    if short:
        raise InputError(
            f"{dataset.name}: {shots} references per category were asked for, but {', '.join(short)} valid ones on "
            f"different images (no crowd, at least {_MIN_SIDE_PX} pixels wide and high, {_MIN_MARGIN_PX} from the "
            "border). Ask for fewer, or leave these categories out."
        )
    return drawn


def sampled_dataset(dataset: CocoDataset, drawn: Mapping[int, Sequence[int]]) -> CocoDataset:
    """The drawn annotations as a data set of their own; ``write_coco`` gives the same bytes for the same draw."""
    annotation_ids = {annotation_id for ids in drawn.values() for annotation_id in ids}
    return dataset.subset(annotation_ids, [category for category in dataset.categories if category.id in drawn])


def sampled_references(dataset: CocoDataset, drawn: Mapping[int, Sequence[int]], images: Path) -> ReferenceSet:
    """The drawn annotations as references; ``images`` is the folder that the file names are relative to."""
    return references_from_coco(sampled_dataset(dataset, drawn), images)


def _annotations_by_category(dataset: CocoDataset) -> dict[int, list[CocoAnnotation]]:
    """In file order, as the published code sees them: also boxes without area, and of a repeated id one entry, with
    the place of the first and the content of the last."""
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
    drawn: list[int] = []
    used_images: set[int | str] = set()
    for annotation in shuffled:
        if len(drawn) == shots:
            break
        if annotation.image_id not in used_images and _is_valid(annotation, images_by_id[annotation.image_id]):
            used_images.add(annotation.image_id)
            drawn.append(annotation.id)
    return drawn


def _is_valid(annotation: CocoAnnotation, image: CocoImage) -> bool:
    x, y, width, height = annotation.source_box_xywh
    image_height, image_width = image.size_hw
    return (
        not annotation.is_crowd
        and min(width, height) >= _MIN_SIDE_PX
        and min(x, y, image_width - (x + width), image_height - (y + height)) >= _MIN_MARGIN_PX
    )
