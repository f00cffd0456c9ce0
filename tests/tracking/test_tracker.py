"""Tracks in a world of colored squares, where every identity is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import decode_rle
from no_time_to_train.settings import validate
from no_time_to_train.tracking.settings import TrackingConfig
from no_time_to_train.tracking.tracker import VideoTracker, segment_video
from no_time_to_train.tracking.tracks import TrackedDetections
from tests.color_video import (
    BIRD,
    BLUE,
    BOAT,
    CATEGORY_OF,
    DARK_RED,
    GREEN,
    RED,
    ColorFollower,
    ColorVideoSegmenter,
    memory_bank,
    picture,
)


def make_tracker(segmenter: ColorVideoSegmenter | None = None, **options: float) -> VideoTracker:
    return VideoTracker(
        segmenter or ColorVideoSegmenter(), memory_bank(), TrackingConfig(**options), follower=ColorFollower()
    )


def ids_of(found: Sequence[TrackedDetections]) -> list[list[int]]:
    return [frame.track_ids.tolist() for frame in found]


def key_frames(found: Sequence[TrackedDetections]) -> list[int]:
    return [index for index, frame in enumerate(found) if frame.is_key_frame]


def test_moving_objects_keep_their_ids() -> None:
    frames = [picture((RED, 2 * t, 4, 16), (BLUE, 40 - t, 36, 20)) for t in range(20)]
    segmenter = ColorVideoSegmenter()
    tracker = make_tracker(segmenter, key_frame_interval=8)
    found = [tracker.track(frame) for frame in frames]
    assert ids_of(found) == [[1, 2]] * 20
    assert key_frames(found) == [0, 8, 16] and segmenter.num_detected_frames == 3
    for index, frame in enumerate(found):
        assert frame.detections.category_names == ["boat", "bird"]
        # The followed masks come from a grid of every other pixel, so they may be off by one pixel.
        for rle, color in zip(frame.detections.rles, (RED, BLUE), strict=True):
            assert np.count_nonzero(decode_rle(rle) != (frames[index] == color).all(axis=2)) <= 80
        np.testing.assert_allclose(frame.detections.boxes_xyxy[0], [2 * index, 4, 2 * index + 16, 20], atol=1)
    assert found[8].detections.boxes_xyxy[0].tolist() == [16, 4, 32, 20]  # a key frame's mask is the detection's
    np.testing.assert_allclose(found[5].detections.scores, 0.9)


def test_the_generator_gives_what_the_tracker_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("no_time_to_train.tracking.tracker.Sam2VideoMemory", ColorFollower)
    frames = (picture((RED, t, 4, 16)) for t in range(5))
    found = list(segment_video(ColorVideoSegmenter(), frames, memory_bank()))
    assert [index for index, _ in found] == [0, 1, 2, 3, 4]
    assert ids_of([frame for _, frame in found]) == [[1]] * 5


def test_an_object_that_leaves_and_comes_back_has_the_same_id() -> None:
    lefts = [40, 55, 70, 70, 70, 70, 70, 70, 55, 40, 30, 20]
    tracker = make_tracker(key_frame_interval=6, max_missing_frames=0)
    found = [tracker.track(picture((BLUE, 4, 40, 16), (RED, left, 4, 16))) for left in lefts]
    # Lost in frame 2, which makes frame 3 a key frame; back from frame 8 on, found by the key frame that it causes.
    assert key_frames(found) == [0, 3, 9]
    assert ids_of(found) == [[1, 2]] * 2 + [[2]] * 7 + [[1, 2]] * 3
    assert [frame.detections.category_ids.tolist() for frame in found[-2:]] == [[9, 16]] * 2
    assert tracker.num_found_again == 1


def test_while_it_is_remembered_an_object_comes_back_without_a_key_frame() -> None:
    tracker = make_tracker(key_frame_interval=50, max_unexplained_change=1)
    found = [tracker.track(picture((RED, left, 4, 16))) for left in (40, 70, 70, 50, 40)]
    assert ids_of(found) == [[1], [], [], [1], [1]] and key_frames(found) == [0]


@pytest.mark.parametrize(("second", "ids"), [(DARK_RED, [2]), (RED, [1]), (BLUE, [2])])
def test_only_what_resembles_a_lost_object_takes_its_id(second: tuple[int, int, int], ids: list[int]) -> None:
    tracker = make_tracker(key_frame_interval=1, max_missing_frames=0, min_similarity=0.99)
    for frame in (picture((RED, 4, 4, 16)), picture(), picture()):
        tracker.track(frame)
    assert tracker.track(picture((second, 40, 40, 16))).track_ids.tolist() == ids


def test_something_new_causes_a_key_frame() -> None:
    still = make_tracker(key_frame_interval=30)
    frames = [picture((RED, 4, 4, 16)) for _ in range(4)] + [picture((RED, 4, 4, 16), (BLUE, 30, 30, 20))] * 10
    found = [still.track(frame) for frame in frames]
    assert key_frames(found) == [0, 10]  # not before a third of the interval
    assert ids_of(found) == [[1]] * 10 + [[1, 2]] * 4
    blind = make_tracker(key_frame_interval=30, max_unexplained_change=1)
    assert key_frames([blind.track(frame) for frame in frames]) == [0]


def test_a_detection_too_small_for_the_network_is_left_out() -> None:
    tracker = make_tracker()
    assert tracker.track(picture((RED, 4, 4, 16), (BLUE, 41, 41, 1))).track_ids.tolist() == [1]


def test_what_the_references_do_not_name_is_not_tracked() -> None:
    tracker = make_tracker()
    assert [len(tracker.track(picture((GREEN, 4, 4, 16))).track_ids) for _ in range(3)] == [0, 0, 0]


def test_an_object_that_is_no_longer_detected_is_given_up() -> None:
    segmenter = ColorVideoSegmenter()
    tracker = make_tracker(segmenter, key_frame_interval=2, max_unconfirmed_key_frames=2)
    found = [tracker.track(picture((RED, 4, 4, 16)))]
    segmenter.blind_to.add(RED)
    found += [tracker.track(picture((RED, 4, 4, 16))) for _ in range(7)]
    # Key frames 2 and 4 do not confirm it; it is followed up to the second of them.
    assert ids_of(found) == [[1]] * 4 + [[]] * 4
    segmenter.blind_to.clear()
    assert tracker.track(picture((RED, 4, 4, 16))).track_ids.tolist() == [1]


def test_what_comes_back_by_the_followers_word_alone_must_be_detected_at_once() -> None:
    segmenter = ColorVideoSegmenter()
    tracker = make_tracker(segmenter, key_frame_interval=5)
    lefts = [4, 80, 80, 80, 80, 4, 4, 4, 4, 4, 4]
    found = []
    for left in lefts:
        found.append(tracker.track(picture((RED, left, 4, 16))))
        segmenter.blind_to.add(RED)  # from the second frame on
    # Lost in frame 1, so frame 2 is a key frame, and 7 is the next: it does not confirm what came back in frame 5.
    assert key_frames(found) == [0, 2, 7]
    assert ids_of(found) == [[1]] + [[]] * 4 + [[1]] * 2 + [[]] * 4


def test_two_tracks_on_one_object_become_one() -> None:
    segmenter = ColorVideoSegmenter()
    tracker = make_tracker(segmenter, key_frame_interval=2)
    tracker.track(picture((RED, 4, 4, 16), (BLUE, 40, 40, 16)))
    tracker.track(picture((RED, 4, 4, 16), (BLUE, 40, 40, 16)))
    follower = tracker._follower
    follow_red, first = follower.propagate, dict(tracker._tracks[0].memory.conditioning)
    follower.propagate = lambda index, frame, memory: follow_red(index, frame, type(memory)(first, {}))
    found = tracker.track(picture((RED, 4, 4, 16)))  # the follower takes both for the red one
    assert found.track_ids.tolist() == [1]


def test_a_category_is_the_one_with_the_highest_total_score(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = ColorVideoSegmenter()
    tracker = make_tracker(segmenter, key_frame_interval=1)
    frame = picture((RED, 4, 4, 16))
    names = []
    for category in (BIRD, BOAT, BOAT, BIRD):
        monkeypatch.setitem(CATEGORY_OF, RED, category)
        found = tracker.track(frame)
        assert found.track_ids.tolist() == [1]
        names += found.detections.category_names
    assert names == ["bird", "boat", "boat", "boat"]  # of equals, the smaller id


@pytest.mark.parametrize("split", [0, 1, 2])
def test_a_tracker_goes_on_from_the_state_of_another(split: int) -> None:
    frames = [
        picture((RED, 3 * t, 4, 16), (BLUE, 8, 20 + 3 * t, 16), *([(DARK_RED, 40, 2, 14)] if t > 11 else []))
        for t in range(24)
    ]
    whole = make_tracker(key_frame_interval=7)
    states, expected = [], []
    for frame in frames:
        if whole.is_key_frame_due:
            states.append(whole.state())
        expected.append(whole.track(frame))
    assert len(states) > 3
    state = states[split + 1]
    resumed = VideoTracker(
        ColorVideoSegmenter(),
        memory_bank(),
        TrackingConfig(key_frame_interval=7),
        state=state,
        follower=ColorFollower(),
    )
    for frame, before in zip(frames[state.frame_index :], expected[state.frame_index :], strict=True):
        after = resumed.track(frame)
        assert after.track_ids.tolist() == before.track_ids.tolist()
        assert after.detections.rles == before.detections.rles
        assert after.is_key_frame == before.is_key_frame
    assert resumed.num_found_again == whole.num_found_again


def test_the_state_is_whole_only_before_a_key_frame() -> None:
    tracker = make_tracker()
    assert tracker.state().tracks == ()
    tracker.track(picture())
    with pytest.raises(ValueError, match="only before a key frame"):
        tracker.state()


def test_an_empty_video_costs_no_encoding_between_key_frames() -> None:
    tracker = make_tracker(key_frame_interval=5)
    for _ in range(10):
        assert len(tracker.track(picture()).detections) == 0
    assert tracker._follower.num_encoded_frames == 0


def test_frames_of_another_size_are_refused() -> None:
    tracker = make_tracker()
    tracker.track(picture())
    with pytest.raises(InputError, match="frame 1 is 32x64, but those before are 64x64"):
        tracker.track(picture()[:, :32])


def test_memory_of_another_encoder_is_refused() -> None:
    segmenter = ColorVideoSegmenter()
    segmenter.encoder.model_id = "dinov2_large"
    with pytest.raises(InputError, match="was made with colors; this run uses dinov2_large"):
        make_tracker(segmenter)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key_frame_interval": 0}, "key_frame_interval=0 is out of range"),
        ({"min_score": 1.5}, "min_score=1.5 is out of range"),
    ],
)
def test_options_are_checked(options: dict[str, float], message: str) -> None:
    make: Callable[..., TrackingConfig] = TrackingConfig
    with pytest.raises(InputError, match=message):
        validate(make(**options))
