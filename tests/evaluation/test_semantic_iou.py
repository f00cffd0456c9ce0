"""Every image is a strip one pixel high, so that the maps can be written down."""

from __future__ import annotations

import numpy as np
import pytest

from no_time_to_train.errors import InputError
from no_time_to_train.evaluation.semantic_iou import evaluate_published_semantic, evaluate_semantic, paint
from tests.evaluation.scenes import Scene, rectangle_rle

WIDTH = 10
PERSON, BICYCLE, TV = 1, 2, 72


@pytest.fixture
def scene() -> Scene:
    return Scene({PERSON: "person", BICYCLE: "bicycle", TV: "tv"}, num_images=2, size_hw=(1, WIDTH))


def strip(start: int, stop: int) -> tuple[int, int, int, int]:
    return start, 0, stop - start, 1


@pytest.fixture
def overlapping(scene: Scene) -> list[dict]:
    """Truth PPPPBB...., predictions person ..PPPP.... (0.9) and bicycle ....BBBB.. (0.6)."""
    scene.add(1, PERSON, strip(0, 4))
    scene.add(1, BICYCLE, strip(4, 6))
    return [scene.prediction(1, PERSON, strip(2, 6), 0.9), scene.prediction(1, BICYCLE, strip(4, 8), 0.6)]


def test_best_score_wins_overlaps(scene: Scene, overlapping: list[dict]) -> None:
    # The map is ..PPPPBB.. : person 2 of 6 pixels, bicycle 0 of 4, foreground 4 of 8. Background: the second image's
    # ten pixels, and 2 of 6 here.
    metrics = evaluate_semantic(scene.dataset, overlapping, min_score=0.5)
    person, bicycle, background = 2 / 6, 0, 12 / 16
    assert metrics["miou"] == pytest.approx(100 * (person + bicycle) / 2)
    assert metrics["miou_with_background"] == pytest.approx(100 * (person + bicycle + background) / 3)
    assert metrics["fb_iou"] == pytest.approx(100 * (4 / 8 + background) / 2)
    expected = {"person": {"miou": pytest.approx(100 * person)}, "bicycle": {"miou": 0}, "tv": {"miou": None}}
    assert metrics["per_category"] == expected


def test_of_equal_scores_the_first_wins(scene: Scene) -> None:
    scene.add(1, PERSON, strip(0, 4))
    predictions = [scene.prediction(1, PERSON, strip(0, 4), 0.8), scene.prediction(1, BICYCLE, strip(0, 4), 0.8)]
    assert evaluate_semantic(scene.dataset, predictions, min_score=0.5)["miou"] == 100


def test_low_scores_are_not_painted(scene: Scene, overlapping: list[dict]) -> None:
    metrics = evaluate_semantic(scene.dataset, overlapping, min_score=0.7)
    assert metrics["per_category"]["bicycle"]["miou"] == 0  # two pixels of truth, none predicted
    nothing = evaluate_semantic(scene.dataset, overlapping, min_score=1)
    assert (nothing["miou"], nothing["fb_iou"]) == (0, pytest.approx(100 * 14 / 20 / 2))


def test_crowds_are_ignored_where_no_object_is(scene: Scene) -> None:
    scene.add(1, PERSON, strip(0, 4))
    scene.add(1, PERSON, strip(2, 8), is_crowd=True)
    # Pixels 4..7 do not count; 2 and 3 belong to the person and do.
    predictions = [scene.prediction(1, PERSON, strip(0, 2), 0.9), scene.prediction(1, BICYCLE, strip(4, 8), 0.9)]
    metrics = evaluate_semantic(scene.dataset, predictions, min_score=0.5)
    assert metrics["per_category"]["person"]["miou"] == 50
    assert metrics["per_category"]["bicycle"]["miou"] is None


def test_pixels_are_summed_over_the_whole_set(scene: Scene) -> None:
    scene.add(1, PERSON, strip(0, 8))
    scene.add(2, PERSON, strip(0, 2))
    predictions = [scene.prediction(1, PERSON, strip(0, 8), 0.9)]
    assert evaluate_semantic(scene.dataset, predictions, min_score=0.5)["miou"] == pytest.approx(80)


def test_nothing_at_all_has_no_miou(scene: Scene) -> None:
    metrics = evaluate_semantic(scene.dataset, [], min_score=0.5)
    assert (metrics["miou"], metrics["miou_with_background"], metrics["fb_iou"]) == (None, 100, 100)


def test_published_script_with_its_faults(scene: Scene, overlapping: list[dict]) -> None:
    # Person has position 0 and is background. Worst score on top: ....BBBB.. ; truth ....BB.... Label 0: 16 of 18
    # pixels with the second image's ten, bicycle 2 of 4.
    metrics = evaluate_published_semantic(scene.dataset, overlapping, min_score=0.5)
    assert metrics == {"miou_as_published": pytest.approx(100 * (16 / 18 + 2 / 4) / 2)}


def test_published_script_scores_the_first_twenty_positions_only(scene: Scene) -> None:
    scene.add(1, TV, strip(0, 5))  # position 62
    metrics = evaluate_published_semantic(scene.dataset, [], min_score=0.5)
    assert metrics["miou_as_published"] == pytest.approx(100 * 15 / 20)  # of the background alone


def test_published_script_takes_crowds_as_background(scene: Scene) -> None:
    scene.add(1, BICYCLE, strip(0, 5), is_crowd=True)
    predictions = [scene.prediction(1, BICYCLE, strip(0, 5), 0.9)]
    metrics = evaluate_published_semantic(scene.dataset, predictions, min_score=0.5)
    assert metrics["miou_as_published"] == pytest.approx(100 * (15 / 20 + 0) / 2)


def test_published_script_knows_coco_only() -> None:
    scene = Scene({12: "street sign"}, num_images=1, size_hw=(1, WIDTH))
    with pytest.raises(InputError, match="category id 12 is none"):
        evaluate_published_semantic(scene.dataset, [], min_score=0.5)


def test_later_masks_cover_earlier_ones() -> None:
    painted = paint((1, 4), [(5, rectangle_rle(strip(0, 3), (1, 4))), (2, rectangle_rle(strip(2, 4), (1, 4)))])
    np.testing.assert_array_equal(painted, [[5, 5, 2, 2]])


def test_masks_are_needed_on_both_sides(scene: Scene) -> None:
    prediction = scene.prediction(1, PERSON, strip(0, 4), 0.9)
    with pytest.raises(InputError, match="some predictions have no segmentation"):
        evaluate_semantic(scene.dataset, [prediction | {"segmentation": None}], min_score=0.5)
    scene.add(1, PERSON, strip(0, 4), mask=False)
    with pytest.raises(InputError, match="objects of scene have only a box"):
        evaluate_semantic(scene.dataset, [prediction], min_score=0.5)
