from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tools.demo import animate

OVERVIEW = Path(__file__).parents[3] / "docs" / "images" / "overview.webp"


@pytest.mark.slow
def test_three_frames_for_every_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(animate, "TARGETS", animate.TARGETS[:1])
    monkeypatch.setattr("sys.argv", ["animate", "--out", str(tmp_path / "a.webp")])
    animate.main()
    with Image.open(tmp_path / "a.webp") as moving, Image.open(OVERVIEW) as committed:
        assert moving.n_frames == 3 and moving.size == committed.size


def test_the_committed_overview_is_small_enough_for_a_readme() -> None:
    assert OVERVIEW.stat().st_size < 2_000_000
    with Image.open(OVERVIEW) as moving:
        assert moving.n_frames >= 3
