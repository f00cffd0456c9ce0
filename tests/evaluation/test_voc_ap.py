from __future__ import annotations

import numpy as np
import pytest

from no_time_to_train.errors import InputError
from no_time_to_train.evaluation.voc_ap import (
    area_under_curve,
    average_precision,
    eleven_point_average,
    evaluate_voc,
    iou_with_inclusive_boxes,
    rank_detections,
)
from tests.evaluation.scenes import Scene

BOAT, BIRD = 1, 2


@pytest.fixture
def scene() -> Scene:
    return Scene({BOAT: "boat", BIRD: "bird"}, num_images=2, size_hw=(60, 80))


def ap50(scene: Scene, *predictions: dict) -> float | None:
    return evaluate_voc(scene.dataset, predictions)["voc_ap50_11pt"]


def test_eleven_points_by_hand() -> None:
    # Recall 0.5 at precision 1, recall 1 at precision 2/3: six points (0 .. 0.5) see 1, five (0.6 .. 1) see 2/3.
    average = eleven_point_average(np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3]))
    assert average == pytest.approx((6 + 5 * 2 / 3) / 11)
    # The point 0.3 is 0.30000000000000004 in VOC's code, so that a recall of 3/10 reaches the points 0, 0.1, 0.2 only.
    assert eleven_point_average(np.array([0.3]), np.array([1.0])) == pytest.approx(3 / 11)
    assert eleven_point_average(np.zeros(0), np.zeros(0)) == 0


def test_area_under_the_curve_by_hand() -> None:
    # Right, wrong, right of four objects: up to recall 1/4 at precision 1, up to 1/2 at 2/3, beyond nothing.
    recalls, precisions = np.array([1, 1, 2]) / 4, np.array([1, 1 / 2, 2 / 3])
    assert area_under_curve(recalls, precisions) == pytest.approx(1 / 4 + 1 / 4 * 2 / 3)
    assert area_under_curve(np.array([0.3]), np.array([1.0])) == pytest.approx(0.3)
    # A better precision at a higher recall counts from the recall before it on.
    assert area_under_curve(np.array([0, 0.5]), np.array([0, 1 / 2])) == pytest.approx(0.25)
    assert area_under_curve(np.zeros(0), np.zeros(0)) == 0


def test_both_averages_stand_side_by_side(scene: Scene) -> None:
    scene.add(1, BOAT, (0, 0, 10, 10))
    scene.add(2, BOAT, (20, 20, 10, 10))
    found = [
        scene.prediction(1, BOAT, (0, 0, 10, 10), 0.9),
        scene.prediction(1, BOAT, (0, 0, 10, 9), 0.8),
        scene.prediction(2, BOAT, (20, 20, 10, 10), 0.7),
    ]
    metrics = evaluate_voc(scene.dataset, found)
    assert metrics["voc_ap50_11pt"] == pytest.approx(100 * (6 + 5 * 2 / 3) / 11)
    areas = [metrics["voc_ap50_area"], metrics["voc_ap_area"]]
    assert areas == pytest.approx([100 * (1 / 2 + 1 / 2 * 2 / 3)] * 2)
    assert metrics["per_category"]["boat"]["voc_ap50_area"] == metrics["voc_ap50_area"]


def test_inclusive_boxes_have_one_pixel_more_than_their_difference() -> None:
    # 10 x 10 pixels; its upper half; one beside it; one that shares the last pixel of each side.
    others = np.array([[1, 1, 10, 10], [1, 1, 10, 5], [11, 1, 20, 10], [10, 10, 19, 19]])
    ious = iou_with_inclusive_boxes(np.array([1, 1, 10, 10]), others)
    assert ious == pytest.approx([1, 0.5, 0, 1 / 199])


def test_second_detection_of_an_object_is_wrong(scene: Scene) -> None:
    scene.add(1, BOAT, (0, 0, 10, 10))
    scene.add(2, BOAT, (20, 20, 10, 10))
    # Right, wrong, right: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    found = ap50(
        scene,
        scene.prediction(2, BOAT, (20, 20, 10, 10), 0.7),
        scene.prediction(1, BOAT, (0, 0, 10, 10), 0.9),
        scene.prediction(1, BOAT, (0, 0, 10, 9), 0.8),
    )
    assert found == pytest.approx(100 * (6 + 5 * 2 / 3) / 11)


def test_iou_must_be_above_the_threshold(scene: Scene) -> None:
    scene.add(1, BOAT, (0, 0, 10, 10))
    assert ap50(scene, scene.prediction(1, BOAT, (0, 0, 10, 5), 0.9)) == 0
    # IoU 0.6 is above the thresholds 0.5 and 0.55 and at the next: 2 of 10.
    metrics = evaluate_voc(scene.dataset, [scene.prediction(1, BOAT, (0, 0, 10, 6), 0.9)])
    assert (metrics["voc_ap50_11pt"], metrics["voc_ap_11pt"]) == pytest.approx((100, 20))


def test_difficult_objects_neither_count_nor_make_wrong(scene: Scene) -> None:
    scene.add(1, BOAT, (0, 0, 10, 10))
    scene.add(1, BOAT, (40, 40, 10, 10), is_crowd=True)
    on_difficult = scene.prediction(1, BOAT, (40, 40, 10, 10), 0.9)
    assert ap50(scene, on_difficult, on_difficult, scene.prediction(1, BOAT, (0, 0, 10, 10), 0.8)) == 100
    assert ap50(scene, on_difficult) == 0


def test_a_detection_in_an_image_without_objects_is_wrong(scene: Scene) -> None:
    scene.add(1, BOAT, (0, 0, 10, 10))
    # Wrong, then right: precision 1/2 at every recall up to 1.
    hit = scene.prediction(1, BOAT, (0, 0, 10, 10), 0.5)
    assert ap50(scene, hit, scene.prediction(2, BOAT, (0, 0, 10, 10), 0.9)) == pytest.approx(50)


def test_an_object_is_claimed_by_the_detection_that_overlaps_it_most_only(scene: Scene) -> None:
    scene.add(1, BOAT, (0, 0, 20, 10))
    scene.add(1, BOAT, (0, 0, 20, 13))
    # Both detections overlap the second object most (IoU 12/13 and 1; with the first 10/12 and 10/13). VOC looks at
    # that one alone: the later detection is wrong though the first object is free.
    found = ap50(
        scene,
        scene.prediction(1, BOAT, (0, 0, 20, 13), 0.9),
        scene.prediction(1, BOAT, (0, 0, 20, 12), 0.8),
    )
    assert found == pytest.approx(100 * 6 / 11)


def test_scores_and_boxes_are_rounded_as_in_the_files_of_voc(scene: Scene) -> None:
    scene.add(1, BOAT, (0, 0, 10, 10))
    # 0.9004 and 0.9001 are both 0.900: they stay in their order, wrong before right.
    wrong, right = scene.prediction(2, BOAT, (0, 0, 9, 9), 0.9001), scene.prediction(1, BOAT, (0, 0, 10, 10), 0.9004)
    assert ap50(scene, wrong, right) == pytest.approx(50)
    # 5.04 pixels are 5.0, an IoU of 0.5 exactly; 5.06 are 5.1.
    assert ap50(scene, scene.prediction(1, BOAT, (0, 0, 10, 5.04), 0.9)) == 0
    assert ap50(scene, scene.prediction(1, BOAT, (0, 0, 10, 5.06), 0.9)) == 100


def test_mean_is_over_the_categories_that_have_objects(scene: Scene) -> None:
    scene.add(1, BOAT, (0, 0, 10, 10))
    scene.add(1, BIRD, (30, 30, 10, 10), is_crowd=True)
    metrics = evaluate_voc(scene.dataset, [scene.prediction(1, BOAT, (0, 0, 10, 10), 0.9)])
    assert metrics["voc_ap50_11pt"] == 100
    assert metrics["per_category"]["bird"] == dict.fromkeys(
        ("voc_ap50_11pt", "voc_ap_11pt", "voc_ap50_area", "voc_ap_area")
    )
    scene.add(2, BIRD, (0, 0, 10, 10))
    metrics = evaluate_voc(scene.dataset, [scene.prediction(1, BOAT, (0, 0, 10, 10), 0.9)])
    assert metrics["voc_ap50_11pt"] == 50


def test_predictions_without_boxes_are_refused(scene: Scene) -> None:
    prediction = scene.prediction(1, BOAT, (0, 0, 10, 10), 0.9) | {"bbox": None}
    with pytest.raises(InputError, match="no bbox"):
        evaluate_voc(scene.dataset, [prediction])


def plain_voc_ap(scene: Scene, predictions: list[dict], threshold: float) -> float:
    """The metric word for word, detection by detection: half-open pixels with VOC's +1 are plain areas."""
    objects = [a for a in scene.dataset.annotations if a.category_id == BOAT]
    taken, right, wrong, points = set(), 0, 0, []
    for p in sorted(predictions, key=lambda p: -round(p["score"], 3)):
        x, y, w, h = p["bbox"]
        ious = []
        for a in objects:
            ax, ay, aw, ah = a.source_box_xywh
            side_x = max(min(x + w, ax + aw) - max(x, ax), 0)
            side_y = max(min(y + h, ay + ah) - max(y, ay), 0)
            common = side_x * side_y if a.image_id == p["image_id"] else 0
            ious.append(common / (w * h + aw * ah - common))
        best = int(np.argmax(ious))
        if ious[best] <= threshold:
            wrong += 1
        elif objects[best].is_crowd:
            pass
        elif best in taken:
            wrong += 1
        else:
            taken.add(best)
            right += 1
        if right + wrong:
            points.append((right / sum(not a.is_crowd for a in objects), right / (right + wrong)))
    return sum(max((p for r, p in points if r >= t), default=0) for t in np.arange(0, 1.1, 0.1)) / 11


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_equal_to_the_plain_way(scene: Scene, seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    predictions = []
    for number in range(12):
        x, y, w, h = (int(value) for value in rng.integers((0, 0, 5, 5), (30, 30, 25, 25)))
        image_id = int(rng.integers(1, 3))
        scene.add(image_id, BOAT, (x, y, w, h), is_crowd=number > 0 and rng.random() < 0.2)
        for _ in range(int(rng.integers(0, 3))):
            moved = (x + int(rng.integers(0, 4)), y, w, h + int(rng.integers(0, 3)))
            predictions.append(scene.prediction(image_id, BOAT, moved, float(rng.random())))
    ranked = rank_detections(scene.dataset.annotations, predictions)
    assert average_precision(ranked, threshold) == pytest.approx(100 * plain_voc_ap(scene, predictions, threshold))
