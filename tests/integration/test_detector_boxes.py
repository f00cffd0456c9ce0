"""``nttt label`` with boxes from a file and from a detector, around the demo models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from no_time_to_train.commands import main
from no_time_to_train.files.paths import demo_data_folder
from tests.models.test_detector import save_owlv2, save_yolos

BENCHMARK = demo_data_folder() / "benchmark"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """``photos/`` with two test pictures and ``refs.json`` with ten references; their names."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    names = sorted(path.name for path in (BENCHMARK / "test").glob("*.jpg"))[:2]
    for name in names:
        shutil.copy(BENCHMARK / "test" / name, "photos")
    train = json.loads((BENCHMARK / "annotations" / "train.json").read_text())
    train["annotations"] = train["annotations"][:10]
    Path("refs.json").write_text(json.dumps(train))
    return names


def label(*settings: str) -> int:
    references = ["--refs", "refs.json", "--ref-images", str(BENCHMARK / "train")]
    return main(["label", "photos", *references, "--preset", "demo", "--device", "cpu", *settings])


def test_boxes_of_a_file(photos: list[str], capsys) -> None:
    truth = json.loads((BENCHMARK / "annotations" / "test.json").read_text())
    images = [image for image in truth["images"] if image["file_name"] in photos]
    ids = {image["id"] for image in images}
    objects = [entry for entry in truth["annotations"] if entry["image_id"] in ids]
    Path("boxes.json").write_text(json.dumps({"images": images, "annotations": objects}))
    settings = ("proposals=boxes", "proposals.boxes_file=boxes.json", "merging=graph_diffusion")
    assert label(*settings, "output.min_score=0") == 0
    predictions = json.loads(Path("photos_labeled/predictions.json").read_text())
    assert 0 < len(predictions) <= len(objects)  # a box gives one mask at most
    assert {prediction["image_id"] for prediction in predictions} == {1, 2}


def test_boxes_of_a_detector(photos: list[str], tmp_path: Path) -> None:
    detector = save_yolos(tmp_path / "detector")
    settings = ("proposals=boxes", f"proposals.detector={detector}", "proposals.min_predicted_iou=0")
    assert label(*settings, "output.min_score=0", "merging=none") == 0
    predictions = json.loads(Path("photos_labeled/predictions.json").read_text())
    assert 0 < len(predictions) <= 2 * 7  # the detector has seven boxes for each picture


def test_boxes_of_owlv2(photos: list[str], tmp_path: Path) -> None:
    detector = save_owlv2(tmp_path / "owlv2")
    settings = ("proposals=boxes", f"proposals.boxes.detector={detector}", "proposals.boxes.min_predicted_iou=0")
    few = ("proposals.boxes.nms_iou_threshold=0.9", "proposals.boxes.max_boxes=5")
    assert label(*settings, *few, "output.min_score=0", "merging=none") == 0
    predictions = json.loads(Path("photos_labeled/predictions.json").read_text())
    assert 0 < len(predictions) <= 2 * 5
