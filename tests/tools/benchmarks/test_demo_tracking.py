from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from no_time_to_train.ops.rle import Rle, encode_mask
from no_time_to_train.structures import Detections
from no_time_to_train.tracking.settings import TrackingConfig
from no_time_to_train.tracking.tracks import TrackedDetections
from tools.benchmarks import demo_tracking
from tools.benchmarks.demo_tracking import MIN_ABSENT_FRAMES, Figures, draw_clips, evaluate_clip, match_frame


def rectangle(left: int, right: int) -> np.ndarray:
    mask = np.zeros((20, 60), bool)
    mask[:, left:right] = True
    return mask


def rle(left: int, right: int) -> Rle:
    return encode_mask(rectangle(left, right))


def tracked(*objects: tuple[int, Rle]) -> TrackedDetections:
    zeros = [0] * len(objects)
    detections = Detections.from_rles([mask for _, mask in objects], zeros, zeros, zeros, (20, 60))
    return TrackedDetections(detections, np.array([track_id for track_id, _ in objects]), is_key_frame=False)


def test_the_same_track_as_before_goes_before_a_better_one() -> None:
    truth, found, ids = [rle(0, 20)], [rle(0, 20), rle(0, 16), rle(40, 60)], np.array([3, 7, 9])
    assert match_frame(truth, found, [None], ids) == {0: (0, 1.0)}
    assert match_frame(truth, found, [7], ids) == {0: (1, pytest.approx(0.8))}
    assert match_frame(truth, found, [9], ids) == {0: (0, 1.0)}  # its track does not fit any more
    assert match_frame(truth, [], [None], np.zeros(0)) == {}
    assert match_frame([], found, [], ids) == {}


def test_figures_of_a_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """One object that stays and one that is away in the third frame and comes back under another id."""
    masks = np.stack([np.stack([rectangle(0, 20), rectangle(30, 50)]) for _ in range(5)])
    masks[2, 1] = False
    found = [
        tracked((1, rle(0, 20)), (2, rle(30, 50))),
        tracked((1, rle(0, 10)), (2, rle(30, 50)), (5, rle(55, 60))),  # IoU 0.5, and a false track
        tracked((1, rle(0, 20))),
        tracked((1, rle(0, 20)), (4, rle(30, 50))),  # another id
        tracked((4, rle(30, 50))),  # the first is missed
    ]

    def segment_video(*_: object) -> Iterator[tuple[int, TrackedDetections]]:
        return iter(enumerate(found))

    monkeypatch.setattr(demo_tracking, "segment_video", segment_video)
    figures = Figures()
    evaluate_clip(None, None, TrackingConfig(), np.zeros((5, 20, 60, 3), np.uint8), masks, figures)  # type: ignore[arg-type]
    assert figures.ious == [1, 1, 0.5, 1, 1, 1, 1, 0, 1]
    assert (figures.num_found, figures.num_false, figures.num_frames) == (8, 1, 5)
    assert (figures.num_switches, figures.num_returns, figures.num_returned_with_id) == (1, 1, 0)
    assert "identity switches 1 in 5 frames" in figures.line()


def test_in_a_clip_one_object_leaves_and_comes_back() -> None:
    [(frames, masks)] = draw_clips(seed=100, count=1, num_frames=60)
    assert frames.shape == (60, 256, 256, 3) and masks.shape == (60, 3, 256, 256)
    is_visible = masks.sum(axis=(2, 3)) >= 100
    leaver = int(is_visible.sum(axis=0).argmin())
    assert is_visible[0].all() and is_visible[-1].all()
    assert (~is_visible[:, leaver]).sum() >= MIN_ABSENT_FRAMES
    assert np.delete(is_visible, leaver, axis=1).all()
