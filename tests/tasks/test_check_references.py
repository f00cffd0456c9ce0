"""``nttt refs check`` with an encoder that sees colors."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train import build, commands, segmenter
from no_time_to_train.tasks.check_references import check_references
from no_time_to_train.tasks.label import label_folder
from tests.tasks.conftest import annotation, picture
from tests.test_segmenter import make_segmenter

BOAT, BIRD = 9, 16
RED, DARK_RED, BLUE = (255, 0, 0), (200, 40, 40), (0, 0, 255)


@pytest.fixture(autouse=True)
def color_segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "build_segmenter", lambda config: make_segmenter())


def write_references(folder: Path, *instances: tuple[tuple[int, int, int], int, tuple[int, int, int, int]]) -> Path:
    """A picture for each (color, category id, box)."""
    folder.mkdir()
    for number, (color, _, box) in enumerate(instances):
        picture((color, box)).save(folder / f"{number}.png")
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 60, "width": 80} for i in range(len(instances))],
        "annotations": [annotation(i + 1, i, category, box) for i, (_, category, box) in enumerate(instances)],
        "categories": [{"id": BOAT, "name": "boat"}, {"id": BIRD, "name": "bird"}],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "references.csv").open() as file:
        return list(csv.DictReader(file))


BOX = (10, 10, 50, 50)


def test_the_worst_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The fourth picture is a red bird: a mistake of who labeled it."""
    instances = [(RED, BOAT, BOX), (DARK_RED, BOAT, BOX), (BLUE, BIRD, BOX), (RED, BIRD, BOX), (BLUE, BIRD, BOX)]
    refs = write_references(tmp_path / "refs", *instances)
    assert commands.main(["refs", "check", str(refs)]) == 0
    printed = capsys.readouterr().out
    assert "1 of 5 references look more like another category" in printed
    assert "--min-score auto" in printed
    table = read_table(tmp_path / "refs_checked")
    assert (table[0]["image"], table[0]["remark"]) == ("3.png", "looks more like 'boat'")
    assert table[0]["own"] < "0.3" and table[0]["nearest other"] > "0.9"
    margins = [float(row["margin"]) for row in table]
    assert margins == sorted(margins) and margins[1] > 0
    sheets = {path.name: np.asarray(Image.open(path)) for path in (tmp_path / "refs_checked").glob("*.jpg")}
    assert set(sheets) == {"9_boat.jpg", "16_bird.jpg"}
    # The worst bird is drawn first, and it is red.
    first = sheets["16_bird.jpg"][150:250, 150:250].reshape(-1, 3).mean(axis=0)
    assert first[0] > first[2]


def test_a_single_reference_cannot_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refs = write_references(tmp_path / "refs", (RED, BOAT, BOX), (BLUE, BIRD, (10, 10, 50, 30)))
    assert commands.main(["refs", "check", str(refs), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "One reference only, so it cannot be left out: boat, bird. Add a second" in printed
    assert "--min-score auto" in printed
    assert "1 of 2 references are small (below 32 px)" in printed
    table = read_table(tmp_path / "out")
    assert {(row["own"], row["margin"]) for row in table} == {("-", "-")}
    assert table[1]["remark"] == "small (below 32 px); the only one of its category"


def test_one_category_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refs = write_references(tmp_path / "refs", (RED, BOAT, BOX), (BLUE, BOAT, BOX), (RED, BOAT, BOX))
    assert commands.main(["refs", "check", str(refs), "--classes", "boat"]) == 0
    assert "--min-score auto" in capsys.readouterr().out
    table = read_table(tmp_path / "refs_checked")
    assert [row["image"] for row in table][0] == "1.png" and {row["nearest other"] for row in table} == {"-"}


def test_what_cannot_be_used_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refs = write_references(tmp_path / "refs", (RED, BOAT, BOX), (RED, BOAT, BOX), (BLUE, BIRD, BOX))
    (refs / "2.png").write_bytes((refs / "2.png").read_bytes()[:-60])
    assert commands.main(["refs", "check", str(refs)]) == 0
    captured = capsys.readouterr()
    assert "1 of 3 references cannot be used" in captured.out and "2.png" in captured.err
    assert "No usable reference: bird. These categories will never be found." in captured.out


def test_thresholds_are_measured_on_tiles_as_labels_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference image of 80 x 60 pixels in tiles of 64: whoever measures and whoever labels cuts it alike."""
    tiled: list[tuple[int, int]] = []
    instances = [(RED, BOAT, BOX), (DARK_RED, BOAT, BOX), (BLUE, BIRD, BOX), (BLUE, BIRD, BOX)]
    refs = write_references(tmp_path / "refs", *instances)
    monkeypatch.setattr(build, "build_segmenter", lambda config: make_segmenter(f"tiles={config.tiles}"))
    monkeypatch.setattr(
        segmenter, "with_tiles", lambda whole, pixels, side_px, *_: tiled.append((len(pixels), side_px)) or whole
    )
    check_references(refs / "annotations.json", overrides=["tiles=64"])
    assert tiled == [(60, 64)] * 4
    label_folder(refs, references=refs / "annotations.json", overrides=["tiles=64"], out=tmp_path / "labeled")
    assert tiled == [(60, 64)] * (4 + 4 + 4)  # measured again, then labeled


def test_references_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["refs", "check"]) == 2
    assert commands.main(["refs"]) == 2
    assert "usage: nttt refs" in capsys.readouterr().err
