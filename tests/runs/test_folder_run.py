"""A folder of results, continued after whatever stopped it or changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tasks.conftest import BLUE, RED, picture, read_csv


def run_status(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text())["status"]


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


def test_a_changed_or_new_image_is_labeled_again(nttt, workplace: Path, segmenters, capsys) -> None:
    assert nttt("label photos/ --refs refs/") == 0
    Image.open(workplace / "refs/r.png").save(workplace / "photos/a.png")
    Image.open(workplace / "refs/r.png").save(workplace / "photos/new.png")
    assert nttt("label photos/ --refs refs/") == 0
    assert segmenters[-1].num_segmented == 2
    assert "1 image changed since labeled: labeled again." in capsys.readouterr().err
    rows = {row["image"]: row["objects"] for row in read_csv(workplace / "photos_labeled/summary.csv")}
    assert rows["a.png"] == rows["new.png"] == "2"


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


@pytest.mark.parametrize("content", ["", "{", "[]", '{"height": 1, "width": 1}', "[" * 100000, "\udce4"])
def test_a_damaged_record_is_made_again(nttt, workplace: Path, segmenters, read_folder, capsys, content: str) -> None:
    assert nttt("label photos/ --refs refs/") == 0
    before = read_folder(workplace / "photos_labeled")
    record = workplace / "photos_labeled/per_image/b.png.json"
    record.write_bytes(content.encode(errors="surrogateescape"))
    assert nttt("label photos/ --refs refs/") == 0
    assert f"{record.relative_to(workplace)} is damaged" in capsys.readouterr().err
    assert segmenters[-1].num_segmented == 1 and read_folder(workplace / "photos_labeled") == before


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


def test_two_images_never_share_an_overlay(nttt, workplace: Path) -> None:
    picture((BLUE, (20, 20, 60, 50))).save(workplace / "photos/a.png.jpg", quality=95)
    assert nttt("label photos/ --refs refs/") == 0
    names = {path.name for path in (workplace / "photos_labeled/overlays").iterdir()}
    assert {"a.png.jpg", "a.png.jpg.jpg"} <= names
