from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest


@pytest.fixture
def labeled(nttt, capsys) -> Path:
    assert nttt("label photos/ --refs refs/") == 0
    capsys.readouterr()
    return Path("photos_labeled")


def test_prints_the_table_and_writes_metrics(nttt, labeled: Path, capsys) -> None:
    assert nttt("eval photos_labeled/ --gt gt.json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "AP in per cent over 5 images with 5 objects"
    assert lines[3].split() == ["all", *["100.0"] * 6]
    metrics = json.loads((labeled / "metrics.json").read_text())
    assert metrics["box"]["nAP"] == metrics["mask"]["nAP75"] == pytest.approx(100)
    assert metrics["per_category"]["bird"]["mask"]["nAP50"] == pytest.approx(100)
    assert metrics["per_category"]["bird"]["box"]["nAP_large"] is None
    assert metrics["num_images"] == 5
    assert metrics["seconds_per_image"] > 0


def test_a_results_file_is_taken_by_its_ids(nttt, labeled: Path, workplace: Path, capsys) -> None:
    truth = json.loads((workplace / "gt.json").read_text())
    results = json.loads((labeled / "predictions.json").read_text())
    for result in results:
        result["image_id"] += 69
    (workplace / "results.json").write_text(json.dumps(results))
    assert nttt("eval results.json --gt gt.json --markdown --engine faster-coco-eval") == 0
    assert "| all | 100.0 |" in capsys.readouterr().out
    assert json.loads((workplace / "results_metrics.json").read_text())["seconds_per_image"] is None
    truth["categories"] = [{"id": 0, "name": "boat"}]
    (workplace / "gt.json").write_text(json.dumps(truth | {"annotations": []}))
    assert nttt("eval results.json --gt gt.json") == 1
    assert "predictions use category ids 9, 16 but gt.json has 0 (boat)" in capsys.readouterr().err


def test_other_category_ids_need_match_by_name(nttt, labeled: Path, workplace: Path, capsys) -> None:
    text = (workplace / "gt.json").read_text()
    swapped = text.replace(": 16", ": 999").replace(": 9,", ": 16,").replace(": 999", ": 9")  # boat 16, bird 9
    (workplace / "gt.json").write_text(swapped)
    assert nttt("eval photos_labeled/ --gt gt.json") == 1
    error = capsys.readouterr().err
    assert "9 (boat), 16 (bird)" in error and "--match-by-name" in error and "9->16, 16->9" in error
    assert nttt("eval photos_labeled/ --gt gt.json --match-by-name") == 0
    assert "100.0" in capsys.readouterr().out.splitlines()[3]


def test_images_of_one_side_only(nttt, labeled: Path, workplace: Path, capsys) -> None:
    truth = json.loads((workplace / "gt.json").read_text())
    truth["images"][0]["file_name"] = "elsewhere.png"
    (workplace / "gt.json").write_text(json.dumps(truth))
    assert nttt("eval photos_labeled/ --gt gt.json --classes boat") == 0
    output = capsys.readouterr().out
    assert "Note: 1 of 5 images of the ground truth are not labeled" in output
    assert "Note: 1 labeled image not in gt.json: left out." in output
    metrics = json.loads((labeled / "metrics.json").read_text())
    assert metrics["box"]["nAP"] == pytest.approx(100 * 67 / 101)  # two of three boats: recall points 0 .. 0.66
    for image in truth["images"]:
        image["file_name"] = f"other{image['id']}.png"
    (workplace / "gt.json").write_text(json.dumps(truth))
    assert nttt("eval photos_labeled/ --gt gt.json") == 1
    assert "has none of the 5 labeled images" in capsys.readouterr().err


def test_ground_truth_without_masks(nttt, labeled: Path, workplace: Path, capsys) -> None:
    truth = json.loads((workplace / "gt.json").read_text())
    for entry in truth["annotations"]:
        del entry["segmentation"]
    (workplace / "gt.json").write_text(json.dumps(truth))
    assert nttt("eval photos_labeled/ --gt gt.json") == 0
    assert "Note: mask metrics skipped: 5 of 5 ground-truth objects have only a box." in capsys.readouterr().out
    assert json.loads((labeled / "metrics.json").read_text())["mask"]["nAP"] is None


def test_the_metrics_of_a_run_are_never_overwritten(nttt, labeled: Path, workplace: Path) -> None:
    """A benchmark's run has its own metrics.json beside predictions.json, or a demo's beside the labeled images."""
    own = '{"box": {"nAP": 12.5}}'
    (labeled / "metrics.json").write_text(own)
    assert nttt("eval photos_labeled/ --gt gt.json") == 0
    assert (labeled / "metrics.json").read_text() == own
    assert json.loads((labeled / "evaluation_metrics.json").read_text())["ground_truth"] == "gt.json"
    run = workplace / "run"
    run.mkdir()
    (run / "predictions.json").write_text("[]")
    (run / "metrics.json").write_text(own)
    assert nttt("eval run/predictions.json --gt gt.json") == 0
    assert (run / "metrics.json").read_text() == own
    assert json.loads((run / "predictions_metrics.json").read_text())["box"]["nAP"] == 0


def test_annotations_drawn_are_not_taken_for_predictions(nttt, labeled: Path, capsys) -> None:
    assert nttt("eval photos_labeled/annotations.json --gt gt.json") == 1
    assert "Evaluate the folder: photos_labeled." in capsys.readouterr().err
    (labeled / "annotations.json").unlink()
    assert nttt("eval photos_labeled --gt gt.json") == 1
    assert "Give its results file: photos_labeled/predictions.json." in capsys.readouterr().err


def test_evaluate_is_quiet_and_writes_nothing(labeled: Path, workplace: Path, capsys) -> None:
    import no_time_to_train as ntt

    before = sorted(workplace.rglob("*"))
    metrics = ntt.evaluate(labeled, "gt.json", categories=["boat"])
    assert metrics.num_objects == 3 and metrics.overall["box"].nAP50 == pytest.approx(100)
    assert sorted(workplace.rglob("*")) == before
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_drawings_show_errors_first_and_can_be_left_out(nttt, labeled: Path, workplace: Path, capsys) -> None:
    truth = json.loads((workplace / "gt.json").read_text())
    truth["annotations"][1]["category_id"] = 9  # the bird of b.png is said to be a boat
    (workplace / "gt.json").write_text(json.dumps(truth))
    assert nttt("eval photos_labeled/ --gt gt.json") == 0  # the images are those that were labeled
    assert "errors, best thresholds and curves: photos_labeled/evaluation" in capsys.readouterr().out
    made = {path.relative_to(labeled / "evaluation").as_posix() for path in (labeled / "evaluation").rglob("*.*")}
    assert {"thresholds.csv", "curves.png", "confusion.png", "errors/001_b.jpg"} <= made
    lines = (labeled / "evaluation/thresholds.csv").read_text().splitlines()
    assert lines[0] == "category,objects,best threshold,F1 there" and lines[1].startswith("boat,4,")
    assert nttt("eval photos_labeled/ --gt gt.json --no-drawings") == 0
    assert "curves" not in capsys.readouterr().out


def test_drawings_are_of_the_last_evaluation(nttt, labeled: Path, workplace: Path) -> None:
    truth = json.loads((workplace / "gt.json").read_text())
    own = labeled / "evaluation/errors/note_on_b.jpg"
    wrong = [a | {"category_id": {9: 16, 16: 9}[a["category_id"]]} for a in truth["annotations"]]
    (workplace / "wrong.json").write_text(json.dumps(truth | {"annotations": wrong}))
    (workplace / "boxes.json").write_text(
        json.dumps(truth | {"annotations": [a | {"segmentation": []} for a in truth["annotations"]]})
    )
    assert nttt("eval photos_labeled/ --gt wrong.json --gt-images photos") == 0
    assert len(list((labeled / "evaluation/errors").iterdir())) == 4
    own.write_text("of somebody")
    assert nttt("eval photos_labeled/ --gt gt.json") == 0  # without errors
    assert list((labeled / "evaluation/errors").iterdir()) == [own]
    assert (labeled / "evaluation/curves.png").is_file()
    assert nttt("eval photos_labeled/ --gt boxes.json") == 0
    assert [path for path in (labeled / "evaluation").rglob("*.*")] == [own]


def test_of_a_part_of_the_images_those_found_are_drawn_and_the_others_counted(nttt, labeled, workplace, capsys) -> None:
    truth = json.loads((workplace / "gt.json").read_text())
    for annotation in truth["annotations"]:
        annotation["category_id"] = {9: 16, 16: 9}[annotation["category_id"]]  # wrong in every image with objects
    truth["annotations"].append(truth["annotations"][0] | {"id": 6, "image_id": 73, "iscrowd": 1})
    (workplace / "elsewhere").mkdir()
    (workplace / "elsewhere/gt.json").write_text(json.dumps(truth))
    (workplace / "photos/b.png").unlink()
    (workplace / "photos/c.png").write_bytes(b"no image")
    assert nttt("eval photos_labeled/ --gt elsewhere/gt.json") == 0
    printed = capsys.readouterr().out
    missing = f"1 of 4 images with errors not found under {workplace / 'photos'} (first: b.png), so not drawn."
    assert missing in printed
    assert "Give the folder that holds them: --gt-images FOLDER." in printed
    assert (
        "1 image with errors cannot be read" in printed and "SAM mask so: --crowds-are-objects scores them" in printed
    )
    drawn = sorted(path.name for path in (labeled / "evaluation/errors").iterdir())
    assert drawn == ["001_a.jpg", "002_a.jpg"]  # a.png and sub/a.png


def test_without_matplotlib_or_images_the_rest_is_written(nttt, labeled: Path, workplace: Path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    truth = json.loads((workplace / "gt.json").read_text())
    truth["annotations"] = truth["annotations"][1:]
    (workplace / "elsewhere").mkdir()
    (workplace / "elsewhere/gt.json").write_text(json.dumps(truth))
    assert nttt("eval photos_labeled/ --gt elsewhere/gt.json") == 0
    printed = capsys.readouterr().out
    assert "Note: no curves are drawn" in printed and "AP in per cent" in printed
    assert (labeled / "evaluation/thresholds.csv").is_file() and not (labeled / "evaluation/curves.png").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"timings": 3}', '{"timings": {"seconds_per_image": "x"}}', "\0"])
def test_a_damaged_record_of_the_run_loses_no_metrics(nttt, labeled: Path, workplace: Path, content: str) -> None:
    (labeled / "run.json").write_text(content)
    (labeled / "metrics.json").write_text("[" * 5000)
    assert nttt("eval photos_labeled --gt gt.json --no-drawings") == 0
    assert json.loads((labeled / "evaluation_metrics.json").read_text())["seconds_per_image"] is None
