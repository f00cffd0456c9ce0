from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import no_time_to_train as ntt
from no_time_to_train.commands.label import _not_found
from no_time_to_train.review.session import ReviewSession
from tests.tasks.conftest import BLUE, RED, picture

NAMES = ["a.png", "b.png", "c.png", "d.png", "sub/a.png"]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run_status(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text())["status"]


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


def test_a_limit_and_then_the_rest(nttt, workplace: Path, segmenters, read_folder, capsys) -> None:
    assert nttt("label photos/ --refs refs/ --out whole") == 0
    assert nttt("label photos/ --refs refs/ --out parts --limit 2") == 0
    assert len(json.loads((workplace / "parts/annotations.json").read_text())["images"]) == 2
    assert nttt("label photos/ --refs refs/ --out parts") == 0
    assert "parts holds 2 of 5 images from the same settings: continuing." in capsys.readouterr().out
    assert [segmenter.num_segmented for segmenter in segmenters] == [5, 2, 3]
    assert read_folder(workplace / "parts") == read_folder(workplace / "whole")


def test_a_limit_takes_no_results_away(nttt, workplace: Path, segmenters, read_folder) -> None:
    assert nttt("label photos/ --refs refs/") == 0
    before = read_folder(workplace / "photos_labeled")
    assert nttt("label photos/ --refs refs/ --limit 2") == 0
    assert read_folder(workplace / "photos_labeled") == before
    assert len(segmenters) == 1
    assert nttt("label photos/ --refs refs/ --limit 2 --overwrite") == 0
    assert labeled_names(workplace / "photos_labeled") == NAMES[:2]
    assert nttt("label photos/ --refs refs/ --limit 3") == 0  # a wider one computes what is new
    assert segmenters[-1].num_segmented == 1
    assert labeled_names(workplace / "photos_labeled") == NAMES[:3]


@pytest.mark.parametrize("after", [0, 1, 4])
def test_ctrl_c_leaves_a_valid_folder_and_says_how_to_go_on(
    nttt, workplace: Path, segmenters, interrupt, read_folder, capsys, after: int
) -> None:
    assert nttt("label photos/ --refs refs/ --out whole") == 0
    interrupt(after, KeyboardInterrupt())
    assert nttt("label photos/ --refs refs/ --out parts --overwrite") == 130
    output = capsys.readouterr()
    assert f"Interrupted with {after} of 5 images labeled. parts is valid; continue with:" in output.out
    assert "\n  nttt label photos/ --refs refs/ --out parts\n" in output.out
    assert "Traceback" not in output.err
    assert len(json.loads((workplace / "parts/annotations.json").read_text())["images"]) == after
    assert run_status(workplace / "parts") == "interrupted"
    interrupt(99, KeyboardInterrupt())  # never
    assert nttt("label photos/ --refs refs/ --out parts") == 0
    assert segmenters[-1].num_segmented == 5 - after
    assert read_folder(workplace / "parts") == read_folder(workplace / "whole")
    assert run_status(workplace / "parts") == "finished"


def test_a_crash_in_the_middle_is_continued(nttt, workplace: Path, interrupt, read_folder, capsys) -> None:
    assert nttt("label photos/ --refs refs/ --out whole") == 0
    interrupt(3, RuntimeError("the model broke"))
    assert nttt("label photos/ --refs refs/ --out parts") == 1
    error = capsys.readouterr().err
    assert "RuntimeError" in error and "the model broke" in error and "Traceback" not in error
    assert run_status(workplace / "parts") == "running"
    interrupt(99, RuntimeError())
    assert nttt("label photos/ --refs refs/ --out parts") == 0
    assert read_folder(workplace / "parts") == read_folder(workplace / "whole")


def test_a_finished_run_needs_no_model_again(nttt, workplace: Path, segmenters, read_folder, capsys) -> None:
    assert nttt("label photos/ --refs refs/") == 0
    before, run = read_folder(workplace / "photos_labeled"), (workplace / "photos_labeled/run.json").read_text()
    assert nttt("label photos/ --refs refs/") == 0
    said = "photos_labeled holds 5 of 5 images from the same settings: nothing is left to compute."
    assert said in capsys.readouterr().out
    assert len(segmenters) == 1
    assert read_folder(workplace / "photos_labeled") == before
    assert (workplace / "photos_labeled/run.json").read_text() == run


def test_a_run_that_was_killed_at_its_end_names_the_weights(nttt, workplace: Path) -> None:
    file = workplace / "photos_labeled/run.json"
    assert nttt("label photos/ --refs refs/") == 0
    run = json.loads(file.read_text())
    del run["weights"]
    file.write_text(json.dumps({**run, "status": "running"}))
    assert nttt("label photos/ --refs refs/") == 0
    assert {"weights": {}, "status": "finished"}.items() <= json.loads(file.read_text()).items()


def test_another_threshold_draws_again_without_the_model(nttt, workplace: Path, segmenters) -> None:
    out = workplace / "photos_labeled"
    assert nttt("label photos/ --refs refs/ --min-score 0.5") == 0
    before = (out / "overlays/c.png.jpg").read_bytes()
    assert nttt("label photos/ --refs refs/ --min-score 0.3") == 0
    assert len(segmenters) == 1
    assert (out / "overlays/c.png.jpg").read_bytes() != before
    written = {path.name: path.stat().st_mtime_ns for path in (out / "overlays").iterdir()}
    assert nttt("label photos/ --refs refs/ --min-score 0.5") == 0
    changed = {name for name, at in written.items() if (out / "overlays" / name).stat().st_mtime_ns != at}
    assert changed == {"c.png.jpg"}  # the only image with an object between the two
    assert (out / "overlays/c.png.jpg").read_bytes() == before
    assert nttt("label photos/ --refs refs/ --min-score 0.3") == 0
    assert len(json.loads((out / "annotations.json").read_text())["annotations"]) == 5


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


def test_a_changed_or_new_image_is_labeled_again(nttt, workplace: Path, segmenters, capsys) -> None:
    assert nttt("label photos/ --refs refs/") == 0
    Image.open(workplace / "refs/r.png").save(workplace / "photos/a.png")
    Image.open(workplace / "refs/r.png").save(workplace / "photos/new.png")
    assert nttt("label photos/ --refs refs/") == 0
    assert segmenters[-1].num_segmented == 2
    assert "1 image changed since labeled: labeled again." in capsys.readouterr().err
    rows = {row["image"]: row["objects"] for row in read_csv(workplace / "photos_labeled/summary.csv")}
    assert rows["a.png"] == rows["new.png"] == "2"


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


def test_results_inside_the_images_folder_are_not_labeled(nttt, segmenters) -> None:
    assert nttt("label photos/ --refs refs/ --out photos/out") == 0
    assert nttt("label photos/ --refs refs/ --out photos/out --overwrite") == 0
    assert [segmenter.num_segmented for segmenter in segmenters] == [5, 5]


@pytest.fixture
def broken_photos(workplace: Path) -> Path:
    photos = workplace / "photos"
    (photos / "text.jpg").write_text("this is no picture")
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(photos / "cut.jpg")
    (photos / "cut.jpg").write_bytes((photos / "cut.jpg").read_bytes()[:1500])
    Image.open(photos / "a.png").convert("RGBA").save(photos / "rgba.png")
    Image.fromarray(np.full((60, 80), 30000, np.uint16)).save(photos / "deep.png")
    return photos


def test_broken_images_are_listed_and_the_rest_goes_on(nttt, workplace: Path, broken_photos: Path, capsys) -> None:
    assert nttt("label photos/ --refs refs/") == 0
    out = workplace / "photos_labeled"
    errors = read_csv(out / "errors.csv")
    assert [row["image"] for row in errors] == ["cut.jpg", "text.jpg"]
    assert "truncated" in errors[0]["problem"]
    labeled = [row["image"] for row in read_csv(out / "summary.csv")]
    assert labeled == ["a.png", "b.png", "c.png", "d.png", "deep.png", "rgba.png", "sub/a.png"]
    output = capsys.readouterr()
    assert "cut.jpg cannot be read (truncated" in output.err
    assert "Skipped and listed in errors.csv; 8 others go on. --strict stops instead." in output.err
    assert "2 could not be read, see errors.csv" in output.out
    # once more: what was broken is tried, and listed, again
    (broken_photos / "text.jpg").write_bytes((broken_photos / "rgba.png").read_bytes())
    assert nttt("label photos/ --refs refs/") == 0
    assert [row["image"] for row in read_csv(out / "errors.csv")] == ["cut.jpg"]


def test_strict_stops_at_a_broken_image(nttt, workplace: Path, broken_photos: Path, capsys) -> None:
    assert nttt("label photos/ --refs refs/ --strict") == 1
    assert "cut.jpg cannot be read" in capsys.readouterr().err
    assert [row["image"] for row in read_csv(workplace / "photos_labeled/summary.csv")] == ["a.png", "b.png", "c.png"]


def test_two_images_of_one_stem_do_not_overwrite_each_other(nttt, workplace: Path) -> None:
    Image.open(workplace / "photos/b.png").save(workplace / "photos/a.bmp")
    assert nttt("label photos/ --refs refs/") == 0
    rows = {row["image"]: row for row in read_csv(workplace / "photos_labeled/summary.csv")}
    assert (rows["a.bmp"]["bird"], rows["a.png"]["boat"], rows["sub/a.png"]["boat"]) == ("1", "1", "1")


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


def test_an_image_replaced_by_one_of_the_same_size_is_labeled_again(nttt, workplace: Path, segmenters) -> None:
    for name, box in (("x", (10, 10, 40, 30)), ("y", (12, 12, 42, 32))):
        picture((RED, box)).save(workplace / f"photos/{name}.bmp")
    assert nttt("label photos/ --refs refs/") == 0
    (workplace / "photos/y.bmp").replace(workplace / "photos/x.bmp")  # as old and as large as before
    assert nttt("label photos/ --refs refs/") == 0
    assert segmenters[-1].num_segmented == 1
    os.utime(workplace / "photos/a.png")  # only looks younger
    assert nttt("label photos/ --refs refs/") == 0
    assert len(segmenters) == 2


def test_two_images_never_share_an_overlay(nttt, workplace: Path) -> None:
    picture((BLUE, (20, 20, 60, 50))).save(workplace / "photos/a.png.jpg", quality=95)
    assert nttt("label photos/ --refs refs/") == 0
    names = {path.name for path in (workplace / "photos_labeled/overlays").iterdir()}
    assert {"a.png.jpg", "a.png.jpg.jpg"} <= names


@pytest.mark.parametrize("content", ["", "{", "[]", '{"height": 1, "width": 1}', "[" * 100000, "\udce4"])
def test_a_damaged_record_is_made_again(nttt, workplace: Path, segmenters, read_folder, capsys, content: str) -> None:
    assert nttt("label photos/ --refs refs/") == 0
    before = read_folder(workplace / "photos_labeled")
    record = workplace / "photos_labeled/per_image/b.png.json"
    record.write_bytes(content.encode(errors="surrogateescape"))
    assert nttt("label photos/ --refs refs/") == 0
    assert f"{record.relative_to(workplace)} is damaged" in capsys.readouterr().err
    assert segmenters[-1].num_segmented == 1 and read_folder(workplace / "photos_labeled") == before


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


def test_images_are_upright_and_what_is_left_out_is_listed(nttt, workplace: Path, capsys) -> None:
    photos = workplace / "photos"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photos / "a.png").rotate(90, expand=True).save(photos / "turned.png", exif=exif)
    (photos / "raw.cr2").touch()
    (photos / "earlier_labeled" / "overlays").mkdir(parents=True)
    (photos / "earlier_labeled" / "run.json").write_text("{}")
    (photos / "earlier_labeled" / "overlays" / "a.jpg").write_bytes((photos / "a.png").read_bytes())
    assert nttt("label photos/ --refs refs/ --min-score 0.5") == 0
    printed = capsys.readouterr()
    assert "1 file not read: 1 .cr2" in printed.err and "earlier_labeled" in printed.err
    assert "1 could not be read, see errors.csv" in printed.out
    out = workplace / "photos_labeled"
    assert [row["image"] for row in read_csv(out / "errors.csv")] == ["raw.cr2"]
    dataset = json.loads((out / "annotations.json").read_text())
    images = {image["file_name"]: image for image in dataset["images"]}
    assert set(images) == {*NAMES, "turned.png"}
    plain, turned = images["a.png"], images["turned.png"]
    assert (plain["width"], plain["height"]) == (turned["width"], turned["height"])
    boxes = {a["image_id"]: a["bbox"] for a in dataset["annotations"]}
    assert boxes[turned["id"]] == boxes[plain["id"]] == [10, 10, 30, 20]
    assert nttt("label photos/ --refs refs/ --min-score 0.5 --overwrite images.exif=ignore") == 0
    dataset = json.loads((out / "annotations.json").read_text())
    turned = next(image for image in dataset["images"] if image["file_name"] == "turned.png")
    assert (turned["width"], turned["height"]) == (plain["height"], plain["width"])


def labeled_names(folder: Path) -> list[str]:
    return [image["file_name"] for image in json.loads((folder / "annotations.json").read_text())["images"]]


def test_single_images_add_up(nttt, workplace: Path, segmenters, capsys) -> None:
    """Naming further images continues the run; images of one name in two folders stay apart."""
    assert nttt("label photos/a.png photos/sub/*.png --refs refs/ preset=demo") == 0
    out = workplace / "photos_labeled"
    assert labeled_names(out) == ["a.png", "sub/a.png"]
    assert (out / "overlays/a.png.jpg").is_file() and (out / "overlays/sub/a.png.jpg").is_file()
    capsys.readouterr()
    assert nttt("label preset=demo photos/[bc].png --refs refs/") == 0
    assert "photos_labeled holds 2 of 4 images from the same settings: continuing." in capsys.readouterr().out
    assert labeled_names(out) == ["a.png", "b.png", "c.png", "sub/a.png"]
    assert sum(segmenter.num_segmented for segmenter in segmenters) == 4
    assert nttt("label photos/ --refs refs/ preset=demo") == 0  # the whole folder goes on from there
    assert labeled_names(out) == NAMES


def test_results_of_single_images_find_them_again(nttt, workplace: Path, capsys) -> None:
    (workplace / "more").mkdir()
    picture((BLUE, (20, 20, 60, 50))).save(workplace / "more/a.png")
    assert nttt("label photos/a.png more/a.png --refs refs/ --min-score 0.5 --out found") == 0
    assert labeled_names(workplace / "found") == ["more/a.png", "photos/a.png"]
    assert nttt("export found --to yolo --val-share 0") == 0
    assert len(list((workplace / "found_yolo").rglob("*.png"))) == 2
    truth = json.loads((workplace / "gt.json").read_text())
    for image in truth["images"]:
        image["file_name"] = f"photos/{image['file_name']}"
    (workplace / "gt.json").write_text(json.dumps(truth))
    assert nttt("eval found --gt gt.json --no-drawings") == 0
    session = ReviewSession.of_results(workplace / "found")
    assert [session.image_path(n).is_file() for n in range(2)] == [True, True]


def test_other_images_in_the_same_results_are_refused(nttt, workplace: Path, capsys) -> None:
    assert nttt("label photos/a.png --refs refs/ --out found") == 0
    assert nttt("label refs/r.png --refs refs/ --out found") == 1
    assert "found was made of other images" in capsys.readouterr().err
    assert nttt("label photos/*.jpg --refs refs/") == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("photos/*.jpg matches nothing. Name folders")


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"a": 1, "b": 2}, ""),
        ({"a": 1, "b": 0, "c": 0}, "; nothing found of b, c"),
        (dict.fromkeys(map(str, range(11)), 0) | {"a": 1}, "; nothing found of 11 other categories"),
    ],
)
def test_categories_with_nothing_found_are_told(counts: dict[str, int], told: str) -> None:
    assert _not_found(counts) == told
