"""The folder that tracking writes, and the rules by which a later run continues it.

``chunks/`` is the truth: one whole file for each key frame and the frames up to the next. With the state that the
tracker had before the last chunk's end, a run killed at any moment goes on at that key frame, and ends with the very
files an undisturbed run writes. All other files are made from the chunks.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from no_time_to_train.errors import InputError
from no_time_to_train.files.formats import write_text
from no_time_to_train.outputs.image_record import check_entries
from no_time_to_train.structures import Category, Detections
from no_time_to_train.tracking.state_file import read_tracker_state, write_tracker_state
from no_time_to_train.tracking.tracks import TrackedDetections, TrackerState

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


class DamagedChunkError(InputError):
    """A chunk's file holds something else than a chunk."""


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """One frame: ``entries`` are those of ``Detections.to_json``, one per track id."""

    image_size_hw: tuple[int, int]
    is_key_frame: bool
    track_ids: tuple[int, ...]
    entries: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, found: TrackedDetections) -> Self:
        """Record what was tracked in a frame."""
        detections = found.detections
        track_ids = tuple(found.track_ids.tolist())
        return cls(detections.image_size_hw, found.is_key_frame, track_ids, tuple(detections.to_json()))

    def to_detections(self, categories: Sequence[Category]) -> Detections:
        """Return the frame's detections, in the order of the track ids."""
        return Detections.from_json(self.entries, self.image_size_hw, categories)

    def to_json(self) -> dict[str, Any]:
        """Return the frame's part of a chunk's file; the image size stands in the chunk's."""
        return {"is_key_frame": self.is_key_frame, "track_ids": self.track_ids, "detections": self.entries}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], image_size_hw: tuple[int, int]) -> Self:
        """Read what :meth:`to_json` gives."""
        track_ids, entries = tuple(content["track_ids"]), tuple(content["detections"])
        return cls(image_size_hw, content["is_key_frame"], track_ids, entries)


@dataclass(frozen=True, eq=False)
class Chunk:
    """A key frame and the frames up to the next one.

    Attributes:
        first: index of the key frame.
        frames: their records.
        next_key_frame: index after the last frame, where the next chunk begins; None: the video ended before it, or
            no more of it was wanted.
        is_end: whether the video ended.
    """

    first: int
    frames: tuple[FrameRecord, ...]
    next_key_frame: int | None = None
    is_end: bool = False

    @property
    def end(self) -> int:
        """Return the index after the last frame."""
        return self.first + len(self.frames)


class TrackFolder:
    """One tracking folder: its paths, reading and writing.

    ``path`` is made when first written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def overlay_path(self) -> Path:
        """Return the file of the overlay video."""
        return self.path / "overlay.mp4"

    def write_chunk(self, chunk: Chunk, next_state: TrackerState | None = None) -> None:
        """Record a chunk.

        The state at its end comes first: a chunk that is there can be continued.

        Args:
            chunk: it replaces one that begins at the same frame.
            next_state: of the tracker before ``chunk.next_key_frame``; needed where there is one.
        """
        if chunk.next_key_frame is not None:
            if next_state is None:
                raise ValueError("a chunk that goes on needs the tracker's state at its end")
            write_tracker_state(self._state_path(chunk.next_key_frame), next_state)
        _write_chunk_file(self._chunk_path(chunk.first), chunk)
        if chunk.next_key_frame is not None:
            for path in (self.path / "state").glob("*.safetensors"):
                if path != self._state_path(chunk.next_key_frame):
                    path.unlink()

    def chunks(self, firsts: Iterable[int] | None = None) -> Iterator[Chunk]:
        """Yield the chunks that begin at these frames; None: all, in order.

        One at a time is in memory.
        """
        if firsts is not None:
            yield from (_read_chunk_file(self._chunk_path(first)) for first in firsts)
            return
        next_first: int | None = 0
        while next_first is not None and self._chunk_path(next_first).is_file():
            chunk = _read_chunk_file(self._chunk_path(next_first))
            yield chunk
            next_first = chunk.next_key_frame

    def next_frame(self, max_frames: int | None = None) -> int | None:
        """Return the key frame at which a continued run goes on, None where nothing is left to do.

        A chunk that is damaged, and those after it, are tracked again: from its own first frame where the tracker's
        state there is kept, else from the beginning.

        Args:
            max_frames: how many frames are wanted, None: all.
        """
        last: Chunk | None = None
        try:
            for chunk in self.chunks():
                last = chunk
        except DamagedChunkError as error:
            logger.warning("%s Frames are tracked again.", error)
        if last is None:
            return 0
        if last.is_end or (max_frames is not None and max_frames <= last.end):
            return None
        first = last.first if last.next_key_frame is None else last.next_key_frame
        return first if self._has_state_before(first) else 0

    def state_before(self, frame_index: int, device: torch.device) -> TrackerState | None:
        """Read the tracker's state before a key frame; None before the first."""
        return read_tracker_state(self._state_path(frame_index), device) if frame_index else None

    def _has_state_before(self, frame_index: int) -> bool:
        path = self._state_path(frame_index)
        if not path.is_file():
            return frame_index == 0
        try:
            read_tracker_state(path, "cpu")
        except InputError:
            logger.warning("%s is damaged. All frames are tracked again.", path)
            return False
        return True

    def _chunk_path(self, first: int) -> Path:
        return self.path / "chunks" / f"{first:08d}.json"

    def _state_path(self, frame_index: int) -> Path:
        return self.path / "state" / f"{frame_index:08d}.safetensors"


def _write_chunk_file(path: Path, chunk: Chunk) -> None:
    height, width = chunk.frames[0].image_size_hw
    content = {
        "first": chunk.first,
        "next_key_frame": chunk.next_key_frame,
        "is_end": chunk.is_end,
        "height": height,
        "width": width,
        "frames": [frame.to_json() for frame in chunk.frames],
    }
    write_text(path, json.dumps(content) + "\n")


def _read_chunk_file(path: Path) -> Chunk:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        size_hw = (int(content["height"]), int(content["width"]))
        frames = tuple(FrameRecord.from_json(frame, size_hw) for frame in content["frames"])
        for frame in frames:
            check_entries(frame.entries, size_hw)
            if len(frame.track_ids) != len(frame.entries) or not all(type(number) is int for number in frame.track_ids):
                raise ValueError("its objects are not those of its numbers")
        chunk = Chunk(int(content["first"]), frames, content["next_key_frame"], bool(content["is_end"]))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError, RecursionError) as error:
        raise DamagedChunkError(f"{path} is damaged ({type(error).__name__}: {error}).") from error
    if not frames or path.stem != f"{chunk.first:08d}" or chunk.next_key_frame not in (None, chunk.end):
        raise DamagedChunkError(f"{path} is damaged (its frames are not those of its name).")
    return chunk
