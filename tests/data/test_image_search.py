import os
import sys

import pytest

from no_time_to_train.data import image_search
from no_time_to_train.data.image_search import search_images
from no_time_to_train.errors import InputError, InputFileNotFoundError


def test_the_search_is_sorted_recursive_and_knows_suffixes(tmp_path):
    names = ["b.JPG", "a.png", "sub/c.webp", "sub/d.tiff", "e.jpeg", "f.gif"]
    for name in [*names, "notes.txt", "._a.png", ".cache/x.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert search_images(tmp_path).paths == tuple(sorted(tmp_path / name for name in names))
    assert search_images(tmp_path).remark() is None


def test_the_search_says_what_is_there_instead(tmp_path):
    with pytest.raises(InputError, match="it is empty"):
        search_images(tmp_path)
    (tmp_path / "notes.txt").touch()
    for number in range(3):
        (tmp_path / f"{number}.SVG").touch()
    with pytest.raises(InputError, match=r"no readable images .*found 3 \.svg, 1 \.txt\)\. 3 files not read: 3 \.svg"):
        search_images(tmp_path)
    with pytest.raises(InputFileNotFoundError, match="not a folder"):
        search_images(tmp_path / "gone")


def test_results_of_runs_are_left_out_and_said(tmp_path):
    for name in ["a.jpg", "b/c.jpg", "photos_labeled/overlays/a.jpg", "photos_labeled/run.json"]:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    found = search_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found.paths] == ["a.jpg", "b/c.jpg"]
    assert found.remark() == "1 folder with results of runs (run.json) left out: photos_labeled."
    assert len(search_images(tmp_path / "photos_labeled").paths) == 1  # who names it wants it


def test_what_cannot_be_read_is_counted_by_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(image_search, "missing_decoder", lambda suffix: "install it" if suffix == ".heic" else None)
    for name in ["a.jpg", "b.HEIC", "c.heic", "d.cr2"]:
        (tmp_path / name).touch()
    found = search_images(tmp_path)
    assert [path.name for path in found.paths] == ["a.jpg"]
    assert [name for name, _ in found.left_out] == ["b.HEIC", "c.heic", "d.cr2"]
    assert found.remark() == "3 files not read: 2 .heic (install it); 1 .cr2 (not a format that is read)."


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_names_that_are_no_utf8_are_left_out(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "ж.jpg").touch()
    with open(os.path.join(os.fsencode(tmp_path), b"b\xff.jpg"), "wb"):
        pass
    found = search_images(tmp_path)
    assert [path.name for path in found.paths] == ["a.jpg", "ж.jpg"]
    assert found.left_out == (("b\\xff.jpg", "with a name that is not UTF-8 (rename them)"),)
    found.remark().encode()


def test_links_to_nothing_and_closed_folders_are_said(tmp_path, monkeypatch, caplog):
    for name in ("a.jpg", "closed/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "c.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "notes").symlink_to("nowhere")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = search_images(tmp_path)
    assert [path.name for path in found.paths] == ["a.jpg"]
    found.say_what_is_left_out(tmp_path)
    assert "1 in folders that cannot be opened (Permission denied)" in caplog.text
    assert "1 links to nothing" in caplog.text
