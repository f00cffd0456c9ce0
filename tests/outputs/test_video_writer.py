from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from no_time_to_train.outputs.video_writer import mp4_writer


def read(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def pictures(height: int, width: int, count: int = 5) -> list[np.ndarray]:
    """A bright bar that moves to the right."""
    frames = [np.full((height, width, 3), 60, np.uint8) for _ in range(count)]
    for index, frame in enumerate(frames):
        frame[:, 8 * index : 8 * index + 8] = (220, 200, 40)
    return frames


@pytest.mark.parametrize(("size_hw", "stored_hw"), [((48, 64), (48, 64)), ((47, 65), (48, 66))])
def test_what_is_written_comes_back(tmp_path: Path, size_hw: tuple[int, int], stored_hw: tuple[int, int]) -> None:
    path = tmp_path / "new" / "clip.mp4"
    with mp4_writer(path, Fraction(12), size_hw) as append:
        for picture in pictures(*size_hw):
            append(picture)
        assert not path.exists()
    found = read(path)
    assert [frame.shape[:2] for frame in found] == [stored_hw] * 5
    for frame, picture in zip(found, pictures(*size_hw), strict=True):
        difference = np.abs(frame[: size_hw[0], : size_hw[1]].astype(int) - picture)
        assert np.median(difference) <= 4 and difference.mean() < 8
    assert np.abs(found[0][-1, :8].astype(int) - (220, 200, 40)).max() < 40  # an odd height gets its last line again
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.frames, stream.codec_context.name) == (12, 5, "h264")


def test_odd_rates_are_kept(tmp_path: Path) -> None:
    with mp4_writer(tmp_path / "clip.mp4", Fraction(30000, 1001), (16, 16)) as append:
        for picture in pictures(16, 16):
            append(picture)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def write_then_fail() -> None:
        with mp4_writer(tmp_path / "clip.mp4", Fraction(12), (16, 16)) as append:
            append(pictures(16, 16)[0])
            append(np.zeros((8, 16, 3), np.uint8))

    with pytest.raises(ValueError, match=r"must be \(16, 16, 3\), got \(8, 16, 3\)"):
        write_then_fail()
    assert list(tmp_path.iterdir()) == []
