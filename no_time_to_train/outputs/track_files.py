"""Tracks in the formats of evaluation tools: YouTube-VIS json and MOT Challenge text."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from no_time_to_train.files.atomic import replacing
from no_time_to_train.files.formats import write_json_list
from no_time_to_train.ops.rle import rle_area
from no_time_to_train.outputs.track_folder import FrameRecord, TrackFolder
from no_time_to_train.structures import Category

_VIDEO_ID = 1


@dataclass
class TrackSummary:
    """One object over the whole clip.

    Attributes:
        track_id: as in the frames.
        category_scores: summed scores of the frames by the category it had there.
        num_frames: in which it is visible.
        chunks: first frames of the chunks in which it is visible.
    """

    track_id: int
    category_scores: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    num_frames: int = 0
    chunks: list[int] = field(default_factory=list)

    @property
    def category_id(self) -> int:
        """Return the category with the highest total, the smaller id of equals."""
        return min(self.category_scores, key=lambda category_id: (-self.category_scores[category_id], category_id))

    @property
    def score(self) -> float:
        """Return the mean score over its frames."""
        return sum(self.category_scores.values()) / self.num_frames


@dataclass(frozen=True)
class ClipRecords:
    """The first ``num_frames`` frames of a folder's records: read from disk on every pass, so that none stay in memory.

    Attributes:
        folder: where they are.
        num_frames: how many of them; there are as many.
        tracks: every object in them, by ascending id.
    """

    folder: TrackFolder
    num_frames: int
    tracks: tuple[TrackSummary, ...]

    @classmethod
    def read(cls, folder: TrackFolder, max_frames: int | None = None) -> ClipRecords:
        """Read at most ``max_frames`` frames, in one pass over the folder."""
        tracks: dict[int, TrackSummary] = {}
        num_frames = 0
        for chunk in folder.chunks():
            for frame in chunk.frames[: None if max_frames is None else max(max_frames - chunk.first, 0)]:
                num_frames += 1
                for track_id, entry in zip(frame.track_ids, frame.entries, strict=True):
                    track = tracks.setdefault(track_id, TrackSummary(track_id))
                    track.category_scores[entry["category_id"]] += entry["score"]
                    track.num_frames += 1
                    if chunk.first not in track.chunks[-1:]:
                        track.chunks.append(chunk.first)
        return cls(folder, num_frames, tuple(tracks[track_id] for track_id in sorted(tracks)))

    def frames(self) -> Iterator[FrameRecord]:
        """Yield every frame, each object with its category over the whole clip."""
        categories = {track.track_id: track.category_id for track in self.tracks}
        for frame in islice((frame for chunk in self.folder.chunks() for frame in chunk.frames), self.num_frames):
            entries = tuple(
                {**entry, "category_id": categories[track_id]}
                for track_id, entry in zip(frame.track_ids, frame.entries, strict=True)
            )
            yield replace(frame, entries=entries)

    def entries_of(self, track: TrackSummary) -> list[dict[str, Any] | None]:
        """Return one entry per frame, None where the object is not visible."""
        entries: list[dict[str, Any] | None] = [None] * self.num_frames
        for chunk in self.folder.chunks(track.chunks):
            for index, frame in enumerate(chunk.frames, start=chunk.first):
                if index < self.num_frames and track.track_id in frame.track_ids:
                    entries[index] = frame.entries[frame.track_ids.index(track.track_id)]
        return entries


def write_mot(path: Path, records: ClipRecords) -> None:
    """Write a MOT Challenge file.

    A line is ``frame,id,x,y,w,h,score,-1,-1,-1``; frames count from 1, x and y from 0 (pixels).
    """
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for number, frame in enumerate(records.frames(), start=1):
            for track_id, entry in zip(frame.track_ids, frame.entries, strict=True):
                box = ",".join(f"{value:g}" for value in entry["bbox"])
                file.write(f"{number},{track_id},{box},{entry['score']:.4f},-1,-1,-1\n")


def write_video_annotations(
    path: Path, records: ClipRecords, categories: Sequence[Category], video: dict[str, Any]
) -> None:
    """Write a data set of one video as YouTube-VIS does.

    An annotation is an object, with one mask or null per frame.

    Args:
        path: of the json file.
        records: of the clip.
        categories: what the category ids mean.
        video: further entries of the video (``file_name``, ``width``, ``height``).
    """
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {json.dumps({"description": "tracked by No Time To Train"})},\n"categories": ')
        write_json_list(file, [{"id": c.id, "name": c.name} for c in categories if not c.is_background])
        file.write(',\n"videos": ')
        write_json_list(file, [{"id": _VIDEO_ID, **video, "length": records.num_frames}])
        file.write(',\n"annotations": ')
        write_json_list(file, (_annotation(number, t, records) for number, t in enumerate(records.tracks, start=1)))
        file.write("}\n")


def _annotation(number: int, track: TrackSummary, records: ClipRecords) -> dict[str, Any]:
    entries = records.entries_of(track)
    masks = [None if entry is None else entry["segmentation"] for entry in entries]
    return {
        "id": number,
        "video_id": _VIDEO_ID,
        "track_id": track.track_id,
        "category_id": track.category_id,
        "score": track.score,
        "iscrowd": 0,
        "segmentations": masks,
        "bboxes": [None if entry is None else entry["bbox"] for entry in entries],
        "areas": [None if mask is None else rle_area(mask) for mask in masks],
    }
