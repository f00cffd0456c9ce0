from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import no_time_to_train as ntt
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.outputs.exports.formats import WRITERS
from tests.outputs.exports.small_dataset import masks_of, write_labeled_folder


@pytest.fixture
def labeled(tmp_path: Path) -> Path:
    return write_labeled_folder(tmp_path)


@pytest.mark.parametrize("to", WRITERS)
def test_every_format_is_written_and_reported(to: str, labeled: Path) -> None:
    report = ntt.export_dataset(labeled, to)
    assert report.folder == labeled.with_name(f"photos_labeled_{to}") and any(report.folder.iterdir())
    assert (report.num_images, report.counts) == (3, {"boat": 1, "życie & bird": 2})
    assert report.left_out == {}
    assert not list(labeled.parent.glob(".*"))


@pytest.mark.parametrize("to", WRITERS)
def test_the_same_export_has_the_same_bytes(to: str, labeled: Path) -> None:
    contents = []
    for number in range(2):
        folder = ntt.export_dataset(labeled, to, labeled.parent / str(number)).folder
        contents.append({p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert contents[0] == contents[1]


def test_a_lower_score_takes_what_was_kept_below_the_threshold(labeled: Path) -> None:
    assert ntt.export_dataset(labeled, "csv", labeled.parent / "low", min_score=0.2).num_objects == 4
    report = ntt.export_dataset(labeled, "csv", labeled.parent / "high", min_score={"życie & bird": 0.7})
    assert report.counts == {"boat": 1, "życie & bird": 1}
    assert report.left_out == {"objects that score too low": 1}


def test_a_reviewed_folder_is_taken_as_it_was_decided(labeled: Path) -> None:
    (labeled / "review").mkdir()
    assert ntt.export_dataset(labeled, "csv", min_score=0.2).num_objects == 3


def test_csv(labeled: Path) -> None:
    lines = (ntt.export_dataset(labeled, "csv").folder / "objects.csv").read_text().splitlines()
    area = masks_of("a.jpg")[0][2].sum()
    assert lines[1] == f"a.jpg,80,60,1,boat,0.9000,6,6,45,45,{area}"


def test_crops_are_transparent_around_the_mask(labeled: Path) -> None:
    folder = ntt.export_dataset(labeled, "crops").folder
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png")) == [
        "boat/a_001.png",
        "życie & bird/a_002.png",
        "życie & bird/trip__b b_001.png",
    ]
    crop = np.asarray(Image.open(folder / "boat/a_001.png"))
    assert np.array_equal(crop[..., 3] > 0, masks_of("a.jpg")[0][2][6:45, 6:45])


def test_what_is_no_mask_is_left_out_and_counted(labeled: Path) -> None:
    path = labeled / "annotations.json"
    data = json.loads(path.read_text())
    del data["annotations"][0]["segmentation"]
    data["annotations"][1]["iscrowd"] = 1
    path.write_text(json.dumps(data))
    (labeled.parent / "photos" / "trip" / "b b.jpg").unlink()
    report = ntt.export_dataset(labeled, "coco")
    assert (report.num_images, report.num_objects) == (2, 0)
    assert report.left_out == {
        "images whose file is gone": 1,
        "objects of which only the box is known": 1,
        "crowds": 1,
    }


def test_links_and_no_images(labeled: Path) -> None:
    linked = ntt.export_dataset(labeled, "yolo", labeled.parent / "linked", image_files="link").folder
    assert all(path.is_symlink() and path.exists() for path in linked.rglob("*.jpg"))
    without = ntt.export_dataset(labeled, "yolo", labeled.parent / "without", image_files="none").folder
    assert not list(without.rglob("*.jpg"))


def test_a_coco_file_is_a_source_too(labeled: Path) -> None:
    path = labeled / "annotations.json"
    report = ntt.export_dataset(path, "coco", images=labeled.parent / "photos")
    assert report.folder.name == "annotations_coco" and report.num_objects == 3


def test_names_that_differ_in_their_suffix_only_keep_apart(tmp_path: Path) -> None:
    folder = write_labeled_folder(tmp_path)
    path = folder / "annotations.json"
    data = json.loads(path.read_text())
    data["images"][2] |= {"file_name": "A.png"}
    Image.new("RGB", (30, 20)).save(tmp_path / "photos" / "A.png")
    path.write_text(json.dumps(data))
    names = sorted(p.name for p in (ntt.export_dataset(folder, "voc").folder / "JPEGImages").iterdir())
    assert names == ["A_png.jpg", "a_jpg.jpg", "trip__b b.jpg"]


def test_faults_are_one_clear_message(labeled: Path) -> None:
    def fails(match: str, error: type[Exception] = InputError, **arguments) -> None:
        with pytest.raises(error, match=match):
            ntt.export_dataset(**{"source": labeled, "to": "coco", "out": labeled.parent / "out"} | arguments)
        assert not (labeled.parent / "out").exists() and not list(labeled.parent.glob(".*"))

    fails("'yolov8' is no format. Known: coco, coco-rle", to="yolov8")
    fails("exists and is not empty, so nothing was written", out=labeled)
    fails("exists and is not empty", out=labeled / "run.json")
    fails("cannot be written", out=labeled / "run.json" / "out")
    fails("no such file or folder. Give a folder of nttt label, or a COCO file", InputFileNotFoundError, source="none")
    fails("holds no annotations.json", InputFileNotFoundError, source=labeled.parent)
    fails("a lowest score is given for 'bot', which is no category here. Categories: boat, ", min_score={"bot": 0.5})
    fails("image_files must be one of copy, link, none", image_files="move")
    for value in (1, "x", float("nan")):
        fails("val_share must be at least 0 and below 1", val_share=value)
    for value in (2, float("nan"), "high", {"boat": "x"}):
        fails("give auto, a number from 0 to 1", min_score=value)
    (labeled.parent / "photos").rename(labeled.parent / "moved")
    fails("the folder that was labeled, is no more", InputFileNotFoundError)
    assert ntt.export_dataset(labeled, "coco", images=labeled.parent / "moved").num_objects == 3
    (labeled / "annotations.json").write_text('{"images": [')
    fails("is not valid JSON")


def test_a_folder_that_may_not_be_written_is_named(labeled: Path, monkeypatch) -> None:
    def refuse(*_, **__) -> None:
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match=r"out cannot be written \(Permission denied\)"):
        ntt.export_dataset(labeled, "coco", labeled.parent / "out")
    assert not list(labeled.parent.glob(".*"))


def test_a_failing_export_leaves_nothing_behind(labeled: Path) -> None:
    def fail(*_) -> None:
        raise RuntimeError("in the middle")

    WRITERS["failing"] = fail
    try:
        with pytest.raises(RuntimeError):
            ntt.export_dataset(labeled, "failing")
    finally:
        del WRITERS["failing"]
    assert sorted(path.name for path in labeled.parent.iterdir()) == ["photos", "photos_labeled"]
