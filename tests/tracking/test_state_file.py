from __future__ import annotations

from pathlib import Path

import pytest
import torch

from no_time_to_train.errors import InputError
from no_time_to_train.models.sam2.video_memory import FrameMemory, ObjectMemory
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.tracking.state_file import read_tracker_state, write_tracker_state
from no_time_to_train.tracking.tracks import Track, TrackerState
from tests.color_video import picture

CPU = torch.device("cpu")


def test_a_state_comes_back(tmp_path: Path) -> None:
    memory = ObjectMemory(
        conditioning={3: FrameMemory(torch.rand(1, 4), torch.rand(1, 2, 3, 3).bfloat16())},
        recent={4: FrameMemory(torch.rand(1, 4), None), 12: FrameMemory(torch.rand(1, 4), torch.ones(1, 2, 3, 3))},
    )
    followed = Track(
        id=1,
        category_scores={16: 0.1 + 0.2, 9: 1.7},
        score=0.9,
        predicted_iou=0.7,
        feature_sum=torch.rand(5),
        rle=encode_mask(picture()[..., 0] > 0),
        memory=memory,
        num_missing_frames=3,
        num_unconfirmed=2,
    )
    lost = Track(id=2, category_scores={9: 0.5}, score=0.5, predicted_iou=0.4, feature_sum=torch.rand(5))
    path = tmp_path / "state" / "13.safetensors"
    write_tracker_state(path, TrackerState(13, (followed, lost), num_found_again=4))
    state = read_tracker_state(path, CPU)
    assert (state.frame_index, state.num_found_again) == (13, 4)
    for read, written in zip(state.tracks, (followed, lost), strict=True):
        for name in ("id", "category_scores", "score", "predicted_iou", "num_missing_frames", "num_unconfirmed"):
            assert getattr(read, name) == getattr(written, name), name
        assert torch.equal(read.feature_sum, written.feature_sum)
        assert read.rle is None  # the next frame gives it a new one
    assert state.tracks[1].memory is None
    read_memory = state.tracks[0].memory
    assert (list(read_memory.conditioning), list(read_memory.recent)) == ([3], [4, 12])
    for name, tensor in memory.tensors().items():
        assert torch.equal(read_memory.tensors()[name], tensor) and read_memory.tensors()[name].dtype == tensor.dtype


def test_a_state_without_tracks(tmp_path: Path) -> None:
    write_tracker_state(tmp_path / "s.safetensors", TrackerState(5))
    assert read_tracker_state(tmp_path / "s.safetensors", CPU).tracks == ()


@pytest.mark.parametrize("content", [None, b"", b"not a state at all"])
def test_a_damaged_state_is_one_message(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "5.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"5\.safetensors is damaged .* Begin anew with overwrite=True"):
        read_tracker_state(path, CPU)
