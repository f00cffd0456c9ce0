from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import no_time_to_train as ntt
from tests.tasks.conftest import NAMES, read_csv


def test_writes_the_whole_folder(nttt, workplace: Path, capsys) -> None:
    assert nttt("label photos/ --refs refs/ --min-score 0.5") == 0
    out = workplace / "photos_labeled"
    expected = {"index.html", "annotations.json", "predictions.json", "memory.safetensors", "summary.csv"}
    expected |= {"errors.csv", "run.json", "overlays", "per_image", "references"}
    assert {path.name for path in out.iterdir()} == expected
    records = sorted(path.relative_to(out / "per_image").as_posix() for path in (out / "per_image").rglob("*.json"))
    assert records == [f"{name}.json" for name in NAMES]
    assert all((out / "overlays" / f"{name}.jpg").is_file() for name in NAMES)
    assert sorted(path.name for path in (out / "references").iterdir()) == ["16_bird.jpg", "9_boat.jpg"]

    predictions = json.loads((out / "predictions.json").read_text())
    assert [(p["image_id"], p["category_id"]) for p in predictions] == [(1, 9), (2, 16), (3, 9), (3, 16), (5, 9)]
    assert predictions[0]["bbox"] == [10, 10, 30, 20]
    assert predictions[3]["score"] == pytest.approx(120 / 255)
    mask = coco_mask.decode(predictions[0]["segmentation"])
    assert mask[10:30, 10:40].all() and mask.sum() == 600

    dataset = json.loads((out / "annotations.json").read_text())
    assert [image["file_name"] for image in dataset["images"]] == NAMES
    assert dataset["categories"] == [{"id": 9, "name": "boat"}, {"id": 16, "name": "bird"}]
    assert [a["id"] for a in dataset["annotations"]] == [1, 2, 3, 4]  # the dark bird of c.png is below 0.5
    assert {a["iscrowd"] for a in dataset["annotations"]} == {0}
    assert dataset["annotations"][0]["area"] == 600

    rows = read_csv(out / "summary.csv")
    assert rows[2] == {"image": "c.png", "boat": "1", "bird": "0", "objects": "1", "best_score": "1.0000"}
    assert rows[3] == {"image": "d.png", "boat": "0", "bird": "0", "objects": "0", "best_score": ""}
    assert read_csv(out / "errors.csv") == []
    run = json.loads((out / "run.json").read_text())
    assert (run["status"], run["device"], run["images"], run["labeled"]) == ("finished", "cpu", 5, 5)
    assert run["models"] == {"encoder": "dinov2_large", "mask_model": "sam2.1_large"}
    assert run["command"] == "nttt label photos/ --refs refs/ --min-score 0.5"

    first_line, *_, counts, where = capsys.readouterr().out.strip().splitlines()
    assert first_line.startswith("cpu: dinov2_large + sam2.1_large, point_grid, 5 images")
    assert counts == "4 objects above 0.50 in 5 images: boat 3, bird 1."
    assert "photos_labeled/index.html" in where


def test_overlays_show_the_masks(nttt, workplace: Path) -> None:
    assert nttt("label photos/ --refs refs/") == 0
    drawn = np.asarray(Image.open(workplace / "photos_labeled/overlays/b.png.jpg")).astype(int)
    empty = np.asarray(Image.open(workplace / "photos_labeled/overlays/d.png.jpg")).astype(int)
    assert drawn.shape == empty.shape == (480, 640, 3)
    assert abs(empty - 60).max() < 8
    assert abs(drawn[280, 320] - (0, 0, 255)).max() > 40


def test_settings_reach_the_segmenter(nttt, segmenters) -> None:
    assert nttt("label photos/ --refs refs/ --preset fast --device cpu merging.exponent=0.3") == 0
    config = segmenters[0].config
    assert (config.encoder.name, config.device, config.merging.exponent) == ("dinov2_small", "cpu", 0.3)


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_memory_that_is_lost_or_damaged_is_made_again(nttt, workplace: Path, read_folder, content, capsys) -> None:
    memory = workplace / "photos_labeled/memory.safetensors"
    assert nttt("label photos/ --refs refs/") == 0
    before = read_folder(workplace / "photos_labeled")
    memory.unlink() if content is None else memory.write_bytes(content)
    capsys.readouterr()
    assert nttt("label photos/ --refs refs/") == 0
    assert ("is damaged. It is made again." in capsys.readouterr().err) == (content is not None)
    assert read_folder(workplace / "photos_labeled") == before


def test_other_references_or_settings_need_a_choice(nttt, workplace: Path, segmenters, capsys) -> None:
    assert nttt("label photos/ --refs refs/") == 0
    assert nttt("label photos/ --refs refs/ --classes boat") == 1
    error = capsys.readouterr().err
    assert "photos_labeled was made from different references (bird: 1 then, 0 now). " in error
    assert "Choose: --out OTHER_FOLDER, or --overwrite." in error
    assert nttt("label photos/ --refs refs/ merging.exponent=0.3") == 1
    assert "with other settings (merging.exponent=0.5 vs 0.3)" in capsys.readouterr().err
    assert nttt("label photos/ --refs refs/ --classes boat --overwrite") == 0
    assert len(json.loads((workplace / "photos_labeled/predictions.json").read_text())) == 3
    assert not (workplace / "photos_labeled/references/16_bird.jpg").exists()


def test_a_foreign_folder_is_never_touched(nttt, workplace: Path, capsys) -> None:
    (workplace / "mine").mkdir()
    (workplace / "mine/annotations.json").write_text("precious")
    for flag in ("", " --overwrite"):
        assert nttt(f"label photos/ --refs refs/ --out mine{flag}") == 1
        assert "is not a results folder" in capsys.readouterr().err
    assert [path.name for path in (workplace / "mine").iterdir()] == ["annotations.json"]


def test_nothing_found(nttt, workplace: Path, capsys) -> None:
    for name in ("a", "b", "sub/a"):
        (workplace / f"photos/{name}.png").unlink()
    assert nttt("label photos/ --refs refs/ --min-score 0.6 --classes bird") == 0
    output = capsys.readouterr().out
    assert "0 objects above 0.60 in 2 images; best score 0.47. See overlays with --min-score 0.38" in output
    (workplace / "photos/c.png").unlink()
    assert nttt("label photos/ --refs refs/ --out other") == 0
    assert "Nothing resembles the references at all" in capsys.readouterr().out


def test_inline_references_and_memory_files(nttt, workplace: Path, capsys) -> None:
    assert nttt("label photos/ --ref refs/r.png:boat:10,10,40,30 --out inline") == 0
    assert json.loads((workplace / "inline/annotations.json").read_text())["categories"] == [{"id": 1, "name": "boat"}]
    assert nttt("fit refs/ -o both.safetensors") == 0
    assert "nttt label photos/ --memory both.safetensors" in capsys.readouterr().out
    assert nttt("label photos/ --memory both.safetensors --out fitted") == 0
    assert nttt("label photos/ --refs refs/ --out direct") == 0
    fitted, direct = (workplace / folder / "predictions.json" for folder in ("fitted", "direct"))
    assert fitted.read_bytes() == direct.read_bytes()
    assert nttt("label photos/ --memory both.safetensors --out other encoder=dinov2_small") == 1
    assert "was made with encoder.name=dinov2_large, but this command says dinov2_small" in capsys.readouterr().err


def test_the_background_is_no_category_of_the_outputs(nttt, workplace: Path) -> None:
    assert nttt("label photos/ --ref refs/r.png:boat:10,10,40,30 --ref refs/r.png:!sea:0,0,9,9") == 0
    dataset = json.loads((workplace / "photos_labeled/annotations.json").read_text())
    assert dataset["categories"] == [{"id": 1, "name": "boat"}]
    assert read_csv(workplace / "photos_labeled/summary.csv")[0].keys() == {"image", "boat", "objects", "best_score"}


def test_bad_input_is_one_message(nttt, workplace: Path, capsys) -> None:
    (workplace / "empty").mkdir()
    cases = {
        "label nowhere/ --refs refs/": "nowhere is neither a file nor a folder",
        "label empty/ --refs refs/": "empty has no readable images (looked for jpg png webp tif bmp",
        "label photos/ --refs nowhere.json": "nowhere.json",
        "label photos/ --refs refs/ --classes boats": "no such class. Known: boat, bird. Did you mean 'boat'?",
        "label photos/ --memory nowhere.safetensors": "no such memory bank",
        "label photos/ --refs refs/ merging.exponent=fast": "merging.exponent",
        "label photos/ --refs refs/ --min-score 7": "--min-score 7: give auto, a number from 0 to 1, or",
        "fit refs/ -o boats.pt": "ends in .safetensors",
        "eval photos/ --gt gt.json": "holds no annotations.json",
        "eval photos/ --gt nowhere.json": "nowhere.json: no such annotation file",
    }
    for line, message in cases.items():
        assert nttt(line) == 1, line
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error, error
    assert not (workplace / "photos_labeled").exists()


def test_from_python_it_prints_nothing(workplace: Path, segmenters, capfd) -> None:
    told: list[ntt.RunProgress] = []
    memory = ntt.fit("refs", overrides=["preset=fast"])
    settings = {"overrides": ["preset=fast"], "min_score": 0.5, "on_progress": told.append}
    report = ntt.label_folder("photos", references="refs", categories=["boat"], out="made", **settings)
    assert (report.num_images, dict(report.counts), report.problems) == (5, {"boat": 3}, ())
    by_memory = ntt.label_folder("photos", memory=memory, out="by_memory", **settings)
    assert dict(by_memory.counts) == {"boat": 3, "bird": 1} and by_memory.best_score == 1
    assert {step.what for step in told} >= {"references", "images"}
    with pytest.raises(ntt.InputError, match="once: references='refs.json' or memory="):
        ntt.label_folder("photos", out="made")
    assert capfd.readouterr() == ("", "")


def test_overwriting_removes_nothing_before_everything_is_loaded(nttt, workplace: Path, read_folder, capsys) -> None:
    assert nttt("label photos/ --refs refs/") == 0
    assert nttt("fit refs/ -o both.safetensors") == 0
    before = read_folder(workplace / "photos_labeled")
    assert nttt("label photos/ --memory both.safetensors --overwrite encoder=dinov2_small") == 1
    assert "was made with" in capsys.readouterr().err
    assert read_folder(workplace / "photos_labeled") == before


def test_reference_sheets_that_a_kill_left_out_are_drawn(nttt, workplace: Path, interrupt, read_folder) -> None:
    assert nttt("label photos/ --refs refs/ --out whole") == 0
    interrupt(0, RuntimeError("killed"))
    assert nttt("label photos/ --refs refs/ --out parts") == 1
    (workplace / "parts/references/16_bird.jpg").unlink()
    interrupt(99, RuntimeError())
    assert nttt("label photos/ --refs refs/ --out parts") == 0
    assert read_folder(workplace / "parts") == read_folder(workplace / "whole")
