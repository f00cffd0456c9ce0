from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from no_time_to_train.errors import InputError
from no_time_to_train.runs.run_state import RunSettings, clear, continued, read_run, write_run

SETTINGS = RunSettings(
    config={"device": "cpu", "merging": {"exponent": 0.5}},
    config_hash="aaa",
    references="r1",
    reference_counts={"boat": 3, "bird": 2},
    images="/photos",
    min_score=0.4,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "out", SETTINGS, {"status": "finished"})
    (tmp_path / "out/overlays").mkdir()
    (tmp_path / "out/overlays/a.jpg").touch()
    (tmp_path / "out/notes.txt").touch()
    return tmp_path / "out"


def test_nothing_to_continue(tmp_path: Path) -> None:
    assert continued(tmp_path / "new", SETTINGS) is None
    assert continued(tmp_path, SETTINGS) is None  # there, but empty


def test_the_same_settings_continue(folder: Path) -> None:
    moved = replace(SETTINGS, config={"device": "cuda", "merging": {"exponent": 0.5}})  # the hash leaves the device out
    assert continued(folder, moved)["status"] == "finished"
    assert (folder / "overlays/a.jpg").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": "/other"}, "of other images"),
        ({"references": "r2", "reference_counts": {}}, r"from different references\. Choose"),
        (
            {"references": "r2"},
            r"from different references \(as many of every category, but other images, boxes, masks or prototypes\)\. ",
        ),
        (
            {"references": "r2", "reference_counts": {"boat": 4, "tern": 1}},
            r"from different references \(boat: 3 then, 4 now; bird: 2 then, 0 now; tern: 0 then, 1 now\)\. ",
        ),
        (
            {"references": "r2", "reference_counts": {f"c{n}": 1 for n in range(9)}},
            r"\(boat: 3 then, 0 now; bird: 2 then, 0 now; c0: 0 then, 1 now; .*; 6 other categories\)\. ",
        ),
        (
            {"config_hash": "bbb", "config": {"device": "cuda", "merging": {"exponent": 0.3}}},
            r"with other settings \(merging.exponent=0.5 vs 0.3\)",
        ),
    ],
)
def test_other_settings_are_refused(folder: Path, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        continued(folder, replace(SETTINGS, **change))
    assert (folder / "overlays/a.jpg").exists()


def test_clearing_leaves_foreign_files(folder: Path) -> None:
    for name in ("chunks", "state"):
        (folder / name).mkdir()
    (folder / "overlay.mp4").touch()
    clear(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_foreign_and_damaged_folders(folder: Path) -> None:
    (folder / "run.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        read_run(folder)
    clear(folder)
    with pytest.raises(InputError, match="not a results folder"):
        read_run(folder)


def test_folders_of_another_version_are_refused(folder: Path) -> None:
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"settings_format"', '"unknown"'))
    with pytest.raises(InputError, match="by another version of this program, whose settings had other names"):
        continued(folder, SETTINGS)
