"""Which images a run is of."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from no_time_to_train.review.session import ReviewSession
from tests.tasks.conftest import BLUE, NAMES, labeled_names, picture, read_csv


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


def test_results_inside_the_images_folder_are_not_labeled(nttt, segmenters) -> None:
    assert nttt("label photos/ --refs refs/ --out photos/out") == 0
    assert nttt("label photos/ --refs refs/ --out photos/out --overwrite") == 0
    assert [segmenter.num_segmented for segmenter in segmenters] == [5, 5]


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
