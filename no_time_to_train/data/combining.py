"""Combine data sets, and rename their categories and image files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from no_time_to_train.data.coco import CocoDataset, CocoImage
from no_time_to_train.errors import InputError
from no_time_to_train.structures import Category


def combine(datasets: Sequence[CocoDataset]) -> CocoDataset:
    """Combine data sets that have the same categories.

    Annotations are numbered from 1, in the order given.

    An image may be in several of them, as it is.

    Raises:
        InputError: they differ in their categories, or different images share an id.
    """
    first = datasets[0]
    images: dict[int | str, CocoImage] = {}
    for dataset in datasets:
        if dataset.categories != first.categories:
            raise InputError(f"{first.name} and {dataset.name} have different categories.")
        for image in dataset.images:
            if images.setdefault(image.id, image) != image:
                raise InputError(
                    f"{dataset.name}: image id {image.id} is {image.file_name}, elsewhere {images[image.id].file_name}."
                )
    in_order = (annotation for dataset in datasets for annotation in dataset.annotations)
    annotations = tuple(replace(a, id=number, position=number - 1) for number, a in enumerate(in_order, start=1))
    return CocoDataset(first.name, tuple(images.values()), annotations, first.categories)


def with_file_names(dataset: CocoDataset, rename: Callable[[CocoImage], str]) -> CocoDataset:
    """Return the data set with other file names."""
    return replace(dataset, images=tuple(replace(image, file_name=rename(image)) for image in dataset.images))


def with_category_names(
    dataset: CocoDataset, names: Sequence[str], also_called: dict[str, str] | None = None
) -> CocoDataset:
    """Return the data set with its categories called as in ``names``.

    Case, spaces, ``_`` and ``-`` make no difference between names. Ids stay as they are. Categories that are not among
    the names are left out if nothing is annotated with them.

    Args:
        dataset: see above.
        names: all of them must be there.
        also_called: other names for some of them: ``{"0B": "seacucumber"}``.

    Raises:
        InputError: a name is missing, or something is annotated with a category that is not among them.
    """
    meant = {_folded(name): name for name in names}
    meant |= {_folded(other): name for other, name in (also_called or {}).items()}
    renamed = [
        Category(category.id, meant[_folded(category.name)])
        for category in dataset.categories
        if _folded(category.name) in meant
    ]
    kept_ids = {category.id for category in renamed}
    annotated_ids = {annotation.category_id for annotation in dataset.annotations}
    surplus = [c.name for c in dataset.categories if c.id in annotated_ids - kept_ids]
    missing = set(names) - {category.name for category in renamed}
    if surplus or missing:
        raise InputError(
            f"{dataset.name} has other categories than expected: missing {', '.join(sorted(missing)) or 'none'}; "
            f"unknown {', '.join(surplus) or 'none'}. Expected: {', '.join(names)}."
        )
    dropped = tuple(a for a in dataset.dropped_annotations if a.category_id in kept_ids)
    return replace(dataset, categories=tuple(renamed), dropped_annotations=dropped)


def _folded(name: str) -> str:
    return "".join(character for character in name.casefold() if character not in "_- ")
