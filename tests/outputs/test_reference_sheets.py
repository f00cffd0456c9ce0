from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.outputs import reference_sheets
from no_time_to_train.structures import Category, ReferenceInstance, ReferenceSet

BOAT, BIRD, NONE = Category(9, "boat"), Category(16, "bird/small"), Category(20, "none")


@pytest.fixture
def references(tmp_path: Path) -> ReferenceSet:
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "a.png")
    instances = [
        ReferenceInstance(tmp_path / "a.png", 1, number, category, (5, 5, 25, 25))
        for number, category in enumerate((BIRD, BOAT, BIRD))
    ]
    return ReferenceSet((BOAT, BIRD, NONE), tuple(instances))


@pytest.mark.parametrize(
    ("captions", "expected"), [(None, ["boat", "bird/small", "bird/small"]), (["x", "y", "z"], ["y", "x", "z"])]
)
def test_a_sheet_per_category_with_captions(
    references: ReferenceSet, tmp_path: Path, monkeypatch, captions: list[str] | None, expected: list[str]
) -> None:
    written: list[str] = []
    draw = reference_sheets.draw_reference

    def record(image: np.ndarray, box: tuple, name: str, *more: object) -> np.ndarray:
        written.append(name)
        return draw(image, box, name, *more)

    monkeypatch.setattr(reference_sheets, "draw_reference", record)
    reference_sheets.write_reference_sheets(references, tmp_path / "sheets", captions)
    assert written == expected
    assert {path.name for path in (tmp_path / "sheets").iterdir()} == {"9_boat.jpg", "16_bird_small.jpg"}
