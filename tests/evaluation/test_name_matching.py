from __future__ import annotations

import pytest

from no_time_to_train.data.coco import CocoImage
from no_time_to_train.data.coco_results import checked_results
from no_time_to_train.errors import InputError
from no_time_to_train.evaluation.name_matching import match_categories, match_images, translate
from no_time_to_train.structures import Category


def images(*names: str, first_id: int = 1) -> list[CocoImage]:
    return [CocoImage(number, name, (10, 10)) for number, name in enumerate(names, start=first_id)]


def test_whole_names_first_then_last_parts() -> None:
    assert match_images(images("a.jpg", "x/b.jpg"), images("x/b.jpg", "a.jpg", first_id=7)) == {1: 8, 2: 7}
    assert match_images(images("a.jpg", "b.jpg"), images("val/a.jpg", "val/c.jpg", first_id=7)) == {1: 7}


def test_ambiguous_last_parts_match_nothing() -> None:
    assert match_images(images("a.jpg", "b.jpg"), images("x/a.jpg", "y/a.jpg", "y/b.jpg")) == {2: 3}
    with pytest.raises(InputError, match="none of the 1 labeled images"):
        match_images(images("a.jpg"), images("x/a.jpg", "y/a.jpg"))


def test_categories_must_agree_or_be_mapped_by_name() -> None:
    boat, bird = Category(9, "boat"), Category(16, "bird")
    assert match_categories([boat], [boat, bird], by_name=False) == {9: 9}
    with pytest.raises(InputError, match="0->9"):
        match_categories([Category(0, "boat")], [boat, bird], by_name=False)
    assert match_categories([Category(0, "boat")], [boat, bird], by_name=True) == {0: 9}
    for by_name in (False, True):
        with pytest.raises(InputError, match="no category 'ship'. It has: boat, bird"):
            match_categories([Category(9, "ship")], [boat, bird], by_name=by_name)


def test_translate_leaves_out_unknown_images() -> None:
    entries = [{"image_id": 1, "category_id": 0, "score": 0.5}, {"image_id": 2, "category_id": 0, "score": 0.4}]
    results = checked_results(entries, "predictions")
    assert translate(results, {1: "x"}, {0: 9}) == [{"image_id": "x", "category_id": 9, "score": 0.5}]
    with pytest.raises(InputError, match="category ids 0, which the labeled images' annotations do not list"):
        translate(results, {1: "x"}, {1: 9})
