"""Match predictions under other ids with a ground truth.

Images match by file name, categories by name.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from no_time_to_train.data.coco import CocoImage
from no_time_to_train.data.coco_results import CocoResults
from no_time_to_train.errors import InputError, Parameter
from no_time_to_train.structures import Category

MATCH_BY_NAME = Parameter("match_by_name", True)
"""What lets ids be translated by the names of categories."""
_NUM_SHOWN = 5


def match_images(predicted: Sequence[CocoImage], truth: Sequence[CocoImage]) -> dict[int | str, int | str]:
    """Map image ids of the predictions to those of the ground truth.

    Only images that are in both are mapped.

    File names are compared whole; where none of the predictions' is in the ground truth, by their last part (the one
    side may name a folder that the other leaves out), as far as that is unique.

    Raises:
        InputError: no image is in both.
    """
    for key in (_whole_name, _last_part):
        truth_ids = _unique(truth, key)
        matched = {image.id: truth_ids[key(image)] for image in predicted if key(image) in truth_ids}
        if matched:
            return matched
    raise InputError(
        f"the ground truth has none of the {len(predicted)} labeled images "
        f"({_first_few(image.file_name for image in predicted)}); it has {_first_few(i.file_name for i in truth)}."
    )


def match_categories(predicted: Sequence[Category], truth: Sequence[Category], *, by_name: bool) -> dict[int, int]:
    """Map category ids of the predictions to those of the ground truth.

    Args:
        predicted: what the predictions' ids mean.
        truth: what the ground truth's ids mean.
        by_name: map ids by name; otherwise they must agree in id and name already.

    Raises:
        InputError: ids differ and ``by_name`` is not set, or a predicted name is unknown to the ground truth.
    """
    names = {category.id: category.name for category in truth}
    ids = {category.name: category.id for category in truth}
    unknown = [category.name for category in predicted if category.name not in ids]
    mapping = {category.id: ids[category.name] for category in predicted if category.name in ids}
    shown = ", ".join(f"{old}->{new}" for old, new in mapping.items())
    if unknown and (by_name or not mapping):
        raise InputError(f"the ground truth has no category {', '.join(map(repr, unknown))}. It has: {', '.join(ids)}.")
    if not by_name and any(names.get(category.id) != category.name for category in predicted):
        described = ", ".join(f"{category.id} ({category.name})" for category in predicted)
        known = ", ".join(f"{category.id} ({category.name})" for category in truth)
        raise InputError(
            f"predictions use category ids {described} but the ground truth has {known}. Pass {MATCH_BY_NAME} to go "
            f"by the names (ids are then mapped {shown}).",
            parameters=[MATCH_BY_NAME],
        )
    return mapping


def translate(
    results: CocoResults,
    image_ids: Mapping[int | str, int | str],
    category_ids: Mapping[int, int],
) -> CocoResults:
    """Put COCO results under the ground truth's ids.

    Those of images that it does not have are left out.

    Raises:
        InputError: a prediction is of a category without a match.
    """
    unknown = sorted({result["category_id"] for result in results} - category_ids.keys())
    if unknown:
        raise InputError(
            f"predictions use category ids {', '.join(map(str, unknown))}, which the labeled images' annotations do "
            "not list. Are the two files of one run?"
        )
    return CocoResults(
        {**result, "image_id": image_ids[result["image_id"]], "category_id": category_ids[result["category_id"]]}
        for result in results
        if result["image_id"] in image_ids
    )


def _whole_name(image: CocoImage) -> str:
    return image.file_name


def _last_part(image: CocoImage) -> str:
    return posixpath.basename(image.file_name)


def _unique(images: Sequence[CocoImage], key: Any) -> dict[str, int | str]:
    counts = Counter(key(image) for image in images)
    return {key(image): image.id for image in images if counts[key(image)] == 1}


def _first_few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_NUM_SHOWN]) + (" ..." if len(listed) > _NUM_SHOWN else "")
