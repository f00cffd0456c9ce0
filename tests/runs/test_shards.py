"""Images are dealt out and put together again without a gap or a double, however uneven."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.runs.shards import (
    ShardWriter,
    labeled_ids,
    merged_results,
    open_batches,
    split_batches,
)
from no_time_to_train.structures import Detections, TargetImage


def make_targets(count: int) -> list[TargetImage]:
    return [TargetImage(Path(f"{i}.jpg"), f"{i}.jpg", i) for i in range(count)]


def make_detections(*scores: float) -> Detections:
    count = len(scores)
    return Detections(
        rles=tuple(encode_mask(np.ones((2, 3), bool)) for _ in scores),
        boxes_xyxy=np.tile(np.array([0, 0, 3, 2], np.float32), (count, 1)),
        scores=np.array(scores, np.float32),
        category_ids=np.ones(count, np.int64),
        predicted_ious=np.ones(count, np.float32),
        image_size_hw=(2, 3),
    )


def write(folder: Path, rank: int, *image_ids: int | str) -> None:
    writer = ShardWriter(folder, rank, min_score=0.1)
    for image_id in image_ids:
        writer.write(TargetImage(Path("a.jpg"), "a.jpg", image_id), make_detections(0.5))
    writer.close()


@given(
    count=st.integers(0, 40),
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 9),
    labeled=st.sets(st.integers(0, 39)),
)
def test_every_open_batch_goes_to_exactly_one_process(
    count: int, batch_size: int, world_size: int, labeled: set[int]
) -> None:
    batches = split_batches(make_targets(count), batch_size)
    assert [target.id for batch in batches for target in batch] == list(range(count))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    shares = [open_batches(batches, labeled, rank, world_size) for rank in range(world_size)]
    dealt = [batch for share in shares for batch in share]
    assert sorted(batch[0].id for batch in dealt) == [
        batch[0].id for batch in batches if any(target.id not in labeled for target in batch)
    ]
    if not labeled:
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_shares_do_not_depend_on_when_a_process_looks() -> None:
    batches = split_batches(make_targets(7), 1)
    early = open_batches(batches, {0, 1}, rank=1, world_size=2)
    late = open_batches(batches, {0, 1, 2, 4}, rank=1, world_size=2)
    assert early == late == [batches[3], batches[5]]


def test_doubled_ids_are_refused() -> None:
    with pytest.raises(InputError, match=r"1 image ids are used more than once \(first: 2\)"):
        split_batches([*make_targets(3), *make_targets(3)[2:]], 2)


def test_shards_are_merged_in_the_order_of_the_images(tmp_path: Path) -> None:
    write(tmp_path, 1, 3, "3")
    write(tmp_path, 0, 0)
    write(tmp_path, 0, 2)
    targets = [TargetImage(Path("a.jpg"), "a.jpg", i) for i in (2, "3", 0, 3)]
    results = list(merged_results(tmp_path, targets))
    assert [result["image_id"] for result in results] == [2, "3", 0, 3]
    assert results[0] == make_detections(0.5).to_coco_results(2)[0]
    assert labeled_ids(tmp_path) == {0, 2, 3, "3"}


def test_images_without_detections_count_and_low_scores_are_left_out(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, 0, min_score=0.25)
    for target, detections in zip(make_targets(2), [make_detections(), make_detections(0.5, 0.25, 0.125)], strict=True):
        writer.write(target, detections)
    writer.close()
    assert [result["score"] for result in merged_results(tmp_path, make_targets(2))] == [0.5, 0.25]


def test_missing_and_foreign_images_are_errors(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    with pytest.raises(InputError, match=r"2 of 3 images have no result in .* \(first: image 0\)"):
        list(merged_results(tmp_path, make_targets(3)))
    write(tmp_path, 1, 0, 7)
    with pytest.raises(InputError, match=r"results of other images \(first: image 7\)"):
        list(merged_results(tmp_path, make_targets(2)))


def test_an_image_in_two_shards_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, 0, 0, 1)
    write(tmp_path, 1, 1)
    with pytest.raises(InputError, match=r"image 1 has a result in rank=0.jsonl and in rank=1.jsonl"):
        labeled_ids(tmp_path)


@pytest.mark.parametrize("kept_bytes", [0, 1, 30, -1])
def test_a_torn_last_line_is_labeled_again(tmp_path: Path, kept_bytes: int) -> None:
    write(tmp_path, 0, 0)
    path = tmp_path / "rank=0.jsonl"
    first = path.read_bytes()
    write(tmp_path, 0, 1)
    whole = path.read_bytes()
    path.write_bytes(first + whole[len(first) :][:kept_bytes])
    assert labeled_ids(tmp_path) == {0}
    write(tmp_path, 0, 1)
    assert path.read_bytes() == whole


def test_damage_elsewhere_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, 0, 0)
    path = tmp_path / "rank=0.jsonl"
    path.write_bytes(b'{"image_id": \n' + path.read_bytes())
    with pytest.raises(InputError, match="rank=0.jsonl is damaged at byte 0"):
        labeled_ids(tmp_path)
    path.write_bytes(json.dumps([1]).encode() + b"\n")
    with pytest.raises(InputError, match="damaged"):
        labeled_ids(tmp_path)
