from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from no_time_to_train.config import EvaluatorConfig
from no_time_to_train.errors import InputError
from no_time_to_train.evaluation.evaluators import evaluate_predictions
from no_time_to_train.evaluation.instance_ap import evaluate_instances
from no_time_to_train.reports.metrics_table import format_metrics
from tests.evaluation.scenes import Scene

BOAT, BIRD = 1, 2
SETTINGS = EvaluatorConfig()


@pytest.fixture
def scene() -> Scene:
    scene = Scene({BOAT: "boat", BIRD: "bird"}, num_images=2, size_hw=(60, 80))
    scene.add(1, BOAT, (10, 10, 20, 20))
    scene.add(2, BOAT, (30, 30, 20, 20))
    return scene


@pytest.fixture
def predictions(scene: Scene) -> list[dict[str, Any]]:
    """One of two boats, rightly."""
    return [scene.prediction(1, BOAT, (10, 10, 20, 20), 0.9)]


def test_coco_is_the_content_of_metrics_json(scene: Scene, predictions: list[dict[str, Any]], tmp_path: Path) -> None:
    metrics = evaluate_predictions("coco", SETTINGS, scene.dataset, predictions)
    assert metrics["evaluator"] == "coco"
    assert "at most 100 detections" in metrics["protocol"]
    assert metrics.items() >= evaluate_instances(scene.dataset, predictions).to_json().items()
    assert metrics["box"]["nAP50"] == pytest.approx(100 * 51 / 101)
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(predictions))
    assert json.loads(json.dumps(evaluate_predictions("coco", SETTINGS, scene.dataset, path))) == metrics


def test_engines_agree(scene: Scene, predictions: list[dict[str, Any]]) -> None:
    pytest.importorskip("faster_coco_eval")
    faster = evaluate_predictions("voc", EvaluatorConfig(engine="faster-coco-eval"), scene.dataset, predictions)
    plain = evaluate_predictions("voc", SETTINGS, scene.dataset, predictions)
    assert faster["box"] == pytest.approx(plain["box"])
    assert faster["voc_ap50_coco"] == pytest.approx(plain["voc_ap50_coco"])


def test_coco_ap_of_lvis_says_that_it_is_not_federated(scene: Scene, predictions: list[dict[str, Any]]) -> None:
    metrics = evaluate_predictions(
        "coco", SETTINGS, scene.dataset, predictions, ground_truth_file=Path("lvis_v1_val.json")
    )
    assert metrics["notes"] == ["plain COCO AP, not LVIS's federated AP (evaluator.name=lvis)"]


def test_voc_beside_coco(scene: Scene, predictions: list[dict[str, Any]]) -> None:
    metrics = evaluate_predictions("voc", SETTINGS, scene.dataset, predictions)
    # One of two boats: 6 of 11 recall points, 51 of 101.
    assert (metrics["voc_ap50_11pt"], metrics["voc_ap_11pt"]) == pytest.approx((100 * 6 / 11, 100 * 6 / 11))
    assert metrics["voc_ap50_coco"] == metrics["box"]["nAP50"] == pytest.approx(100 * 51 / 101)
    boat = metrics["per_category"]["boat"]
    assert boat["voc_ap50_11pt"] == pytest.approx(100 * 6 / 11)
    assert boat["voc_ap50_coco"] == boat["box"]["nAP50"] == pytest.approx(100 * 51 / 101)
    assert metrics["per_category"]["bird"]["voc_ap50_11pt"] is None


def test_semantic_beside_coco(scene: Scene, predictions: list[dict[str, Any]]) -> None:
    metrics = evaluate_predictions("semantic", SETTINGS, scene.dataset, predictions)
    assert metrics["miou"] == metrics["per_category"]["boat"]["miou"] == 50
    assert metrics["mask"]["nAP50"] == pytest.approx(100 * 51 / 101)
    assert "miou_as_published" not in metrics
    low = [prediction | {"score": 0.3} for prediction in predictions]
    assert evaluate_predictions("semantic", SETTINGS, scene.dataset, low)["miou"] == 0
    lower_bar = EvaluatorConfig(min_score=0.2, as_published=True)
    metrics = evaluate_predictions("semantic", lower_bar, scene.dataset, low)
    # Boats have COCO's first place, which is background: all is right, and nothing else is there.
    assert (metrics["miou"], metrics["miou_as_published"]) == (50, 100)


def test_lvis_needs_its_file(scene: Scene, predictions: list[dict[str, Any]]) -> None:
    pytest.importorskip("lvis")
    with pytest.raises(InputError, match="needs the LVIS annotation file"):
        evaluate_predictions("lvis", SETTINGS, scene.dataset, predictions)


def test_ground_truth_of_boxes_says_that_masks_are_skipped(scene: Scene, predictions: list[dict[str, Any]]) -> None:
    scene.add(2, BIRD, (0, 0, 10, 10), mask=False)
    metrics = evaluate_predictions("voc", SETTINGS, scene.dataset, predictions)
    assert metrics["mask"]["nAP"] is None
    note = "mask metrics skipped: 1 of 3 ground-truth objects have only a box."
    assert metrics["notes"] == [note]
    assert format_metrics(metrics).splitlines()[-1] == f"Note: {note}"


def test_table_shows_the_evaluators_own_numbers(scene: Scene, predictions: list[dict[str, Any]]) -> None:
    lines = format_metrics(evaluate_predictions("voc", SETTINGS, scene.dataset, predictions)).splitlines()
    assert lines[0] == "VOC AP of boxes beside COCO AP; in per cent over 2 images with 2 objects"
    assert lines[1].endswith(
        "mask nAP75  VOC AP50 (11 points)  VOC AP (11 points)  VOC AP50 (area)  VOC AP (area)  COCO-style AP50"
    )
    assert lines[3].split() == ["all", *["50.5"] * 6, "54.5", "54.5", "50.0", "50.0", "50.5"]
    assert lines[5].split() == ["bird", *["-"] * 11]


def test_markdown_separates_title_table_and_notes(scene: Scene, predictions: list[dict[str, Any]]) -> None:
    text = format_metrics(evaluate_predictions("semantic", SETTINGS, scene.dataset, predictions), markdown=True)
    title, table = text.split("\n\n")
    assert title.startswith("mean IoU of semantic maps")
    # Background: 8800 of 9200 pixels, 95.7; its mean with the boats' 50, and with the foreground's, is 72.8.
    assert table.splitlines()[2].endswith("| 50.0 | 72.8 | 72.8 |")


def test_without_any_object_the_table_is_empty_but_whole() -> None:
    scene = Scene({BOAT: "boat"}, num_images=1, size_hw=(60, 80))
    lines = format_metrics(evaluate_predictions("coco", SETTINGS, scene.dataset, [])).splitlines()
    assert lines[3].split() == ["all", *["-"] * 6]


def test_unknown_names_are_refused(scene: Scene) -> None:
    with pytest.raises(InputError, match="'episodes' does not score predictions. Use one of: coco, voc, lvis"):
        evaluate_predictions("episodes", SETTINGS, scene.dataset, [])
