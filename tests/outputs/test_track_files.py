"""Records of a short clip, and the files made of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.outputs.track_files import ClipRecords, write_mot, write_video_annotations
from no_time_to_train.outputs.track_folder import Chunk, FrameRecord, TrackFolder
from no_time_to_train.structures import BACKGROUND_CATEGORY_NAME, Category, Detections
from no_time_to_train.tracking.tracks import TrackedDetections, TrackerState
from tests.color_video import BIRD, BOAT

CPU = torch.device("cpu")


def frame(*objects: tuple[int, int, float, tuple[int, int, int, int]], is_key_frame: bool = False) -> FrameRecord:
    """Objects (track id, category id, score, box_xyxy) in a picture of 10 x 20."""
    rles = []
    for _, _, _, (left, top, right, bottom) in objects:
        mask = np.zeros((10, 20), bool)
        mask[top:bottom, left:right] = True
        rles.append(encode_mask(mask))
    detections = Detections.from_rles(
        rles,
        scores=[score for _, _, score, _ in objects],
        category_ids=[category_id for _, category_id, _, _ in objects],
        predicted_ious=[0.5] * len(objects),
        image_size_hw=(10, 20),
        categories=(BOAT, BIRD),
    )
    return FrameRecord.of(TrackedDetections(detections, np.array([o[0] for o in objects], np.int64), is_key_frame))


FIRST = (
    frame((1, 9, 0.5, (0, 0, 4, 4)), is_key_frame=True),
    frame((1, 9, 0.5, (1, 0, 5, 4)), (2, 16, 0.75, (10, 5, 20, 10))),
)
SECOND = (
    frame((2, 9, 0.25, (10, 5, 20, 10)), is_key_frame=True),
    frame((1, 9, 1.0, (3, 0, 7, 4)), (2, 16, 0.75, (10, 5, 20, 10))),
    frame(),
)


@pytest.fixture
def folder(tmp_path: Path) -> TrackFolder:
    folder = TrackFolder(tmp_path / "clip_tracked")
    folder.write_chunk(Chunk(0, FIRST, next_key_frame=2), TrackerState(2))
    folder.write_chunk(Chunk(2, SECOND, is_end=True))
    return folder


def test_records_come_back(folder: TrackFolder) -> None:
    first, second = folder.chunks()
    assert (first.first, first.end, first.next_key_frame, first.is_end) == (0, 2, 2, False)
    assert (second.first, second.end, second.next_key_frame, second.is_end) == (2, 5, None, True)
    assert [record.is_key_frame for record in first.frames] == [True, False]
    detections = first.frames[1].to_detections((BOAT, BIRD))
    assert detections.category_names == ["boat", "bird"] and detections.image_size_hw == (10, 20)
    assert detections.masks[1, 5:, 10:].all() and detections.masks[1].sum() == 50
    assert [chunk.first for chunk in folder.chunks([2])] == [2]
    assert folder.next_frame() is None and folder.next_frame(max_frames=4) is None


def test_a_folder_is_continued_at_the_last_chunk_that_is_whole(tmp_path: Path) -> None:
    folder = TrackFolder(tmp_path)
    assert folder.next_frame() == 0 and folder.state_before(0, CPU) is None
    folder.write_chunk(Chunk(0, FIRST, next_key_frame=2), TrackerState(2, num_found_again=7))
    assert folder.next_frame() == 2 and folder.next_frame(max_frames=2) is None
    assert folder.state_before(2, CPU).num_found_again == 7
    folder.write_chunk(Chunk(2, SECOND))  # as many frames as were asked for: it may be done again from its key frame
    assert folder.state_before(2, CPU).num_found_again == 7
    folder.write_chunk(Chunk(2, (*SECOND, frame()), next_key_frame=6), TrackerState(6))
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["00000006.safetensors"]
    assert [chunk.end for chunk in folder.chunks()] == [2, 6] and folder.next_frame() == 6
    with pytest.raises(ValueError, match="needs the tracker's state"):
        folder.write_chunk(Chunk(6, FIRST, next_key_frame=8))


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"first": 0}', "[" * 100000])
def test_damaged_chunks_are_tracked_again(tmp_path: Path, damage: str, caplog) -> None:
    folder = TrackFolder(tmp_path)
    folder.write_chunk(Chunk(0, FIRST, next_key_frame=2), TrackerState(2))
    folder.write_chunk(Chunk(2, SECOND, is_end=True))
    last = tmp_path / "chunks/00000002.json"
    last.write_text(damage or last.read_text()[:-40])
    assert folder.next_frame() == 2 and f"{last} is damaged" in caplog.text  # the state before it is kept
    first = tmp_path / "chunks/00000000.json"
    first.write_text(damage or first.read_text()[:-40])
    assert folder.next_frame() == 0


def test_tracks_over_the_whole_clip(folder: TrackFolder) -> None:
    records = ClipRecords.read(folder)
    one, two = records.tracks
    assert (records.num_frames, one.track_id, two.track_id) == (5, 1, 2)
    assert (one.category_id, one.num_frames, one.chunks) == (9, 3, [0, 2])
    assert one.score == pytest.approx((0.5 + 0.5 + 1.0) / 3)
    assert (two.category_id, two.num_frames) == (16, 3)  # 1.5 as a bird, 0.25 as a boat
    shown = [[entry["category_id"] for entry in record.entries] for record in records.frames()]
    assert shown == [[9], [9, 16], [16], [9, 16], []]
    shorter = ClipRecords.read(folder, max_frames=3)
    assert (shorter.num_frames, [track.num_frames for track in shorter.tracks]) == (3, [2, 2])
    assert len(list(shorter.frames())) == 3


def test_mot_text(folder: TrackFolder, tmp_path: Path) -> None:
    write_mot(tmp_path / "tracks.txt", ClipRecords.read(folder))
    assert (tmp_path / "tracks.txt").read_text().splitlines() == [
        "1,1,0,0,4,4,0.5000,-1,-1,-1",
        "2,1,1,0,4,4,0.5000,-1,-1,-1",
        "2,2,10,5,10,5,0.7500,-1,-1,-1",
        "3,2,10,5,10,5,0.2500,-1,-1,-1",
        "4,1,3,0,4,4,1.0000,-1,-1,-1",
        "4,2,10,5,10,5,0.7500,-1,-1,-1",
    ]


def test_video_annotations(folder: TrackFolder, tmp_path: Path) -> None:
    categories = (BOAT, BIRD, Category(20, BACKGROUND_CATEGORY_NAME))
    video = {"file_name": "clip.mp4", "height": 10, "width": 20}
    write_video_annotations(tmp_path / "annotations.json", ClipRecords.read(folder), categories, video)
    content = json.loads((tmp_path / "annotations.json").read_text())
    assert content["categories"] == [{"id": 9, "name": "boat"}, {"id": 16, "name": "bird"}]
    assert content["videos"] == [{"id": 1, "file_name": "clip.mp4", "height": 10, "width": 20, "length": 5}]
    one, two = content["annotations"]
    assert (one["id"], one["video_id"], one["track_id"], one["category_id"], one["iscrowd"]) == (1, 1, 1, 9, 0)
    assert [mask is None for mask in one["segmentations"]] == [False, False, True, False, True]
    assert one["bboxes"] == [[0, 0, 4, 4], [1, 0, 4, 4], None, [3, 0, 4, 4], None]
    assert one["areas"] == [16, 16, None, 16, None]
    mask = coco_mask.decode(one["segmentations"][3])
    assert mask.shape == (10, 20) and mask[:4, 3:7].all() and mask.sum() == 16
    assert (two["category_id"], two["areas"]) == (16, [None, 50, 50, 50, None])


def test_a_clip_without_objects(tmp_path: Path) -> None:
    folder = TrackFolder(tmp_path)
    folder.write_chunk(Chunk(0, (frame(is_key_frame=True),), is_end=True))
    records = ClipRecords.read(folder)
    write_mot(tmp_path / "tracks.txt", records)
    write_video_annotations(tmp_path / "annotations.json", records, (BOAT,), {})
    assert (tmp_path / "tracks.txt").read_text() == ""
    assert json.loads((tmp_path / "annotations.json").read_text())["annotations"] == []
