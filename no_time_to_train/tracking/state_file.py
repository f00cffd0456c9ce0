"""A tracker's knowledge before a key frame, as a file.

Another process goes on from it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from no_time_to_train.errors import InputError, Parameter
from no_time_to_train.files.atomic import replacing
from no_time_to_train.tracking.tracks import Track, TrackerState

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_METADATA_KEY = "tracks"


def write_tracker_state(path: Path, state: TrackerState) -> None:
    """Write a safetensors file.

    Masks are left out: the next frame gives every followed object a new one.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    entries = []
    for track in state.tracks:
        named = {"feature_sum": track.feature_sum} | ({} if track.memory is None else track.memory.tensors())
        tensors |= {f"{track.id}.{name}": tensor.contiguous().cpu() for name, tensor in named.items()}
        entries.append(
            {
                "id": track.id,
                "category_scores": list(track.category_scores.items()),
                "score": track.score,
                "predicted_iou": track.predicted_iou,
                "num_missing_frames": track.num_missing_frames,
                "num_unconfirmed": track.num_unconfirmed,
            }
        )
    content = {"frame_index": state.frame_index, "num_found_again": state.num_found_again, "tracks": entries}
    with replacing(path) as unfinished:
        unfinished.write_bytes(save(tensors, metadata={_METADATA_KEY: json.dumps(content)}))


def read_tracker_state(path: Path, device: torch.device | str) -> TrackerState:
    """Read what ``write_tracker_state`` wrote, its memories on the device.

    Raises:
        InputError: the file is damaged or missing.
    """
    import torch  # noqa: F401 (else safe_open would, and Ctrl-C meanwhile is more than its Rust can take)

    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads(file.metadata()[_METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
        return _state_from(content, tensors, device)
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        anew = Parameter("overwrite", True)
        raise InputError(
            f"{path} is damaged ({error}), so that the run cannot be continued. Begin anew with {anew}.",
            parameters=[anew],
        ) from error


def _state_from(content: dict[str, Any], tensors: dict[str, Tensor], device: torch.device | str) -> TrackerState:
    """Put the state together; KeyError, TypeError or ValueError where parts do not belong together."""
    from no_time_to_train.models.sam2.video_memory import ObjectMemory

    by_track: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        track_id, rest = name.split(".", 1)
        by_track.setdefault(int(track_id), {})[rest] = tensor
    tracks = []
    for entry in content["tracks"]:
        named = by_track[entry["id"]]
        feature_sum = named.pop("feature_sum")
        category_scores = {int(category_id): score for category_id, score in entry.pop("category_scores")}
        memory = ObjectMemory.from_tensors(named).to(device) if named else None
        tracks.append(Track(category_scores=category_scores, feature_sum=feature_sum, memory=memory, **entry))
    return TrackerState(content["frame_index"], tuple(tracks), content["num_found_again"])
