"""Images are dealt out and put together again without a gap or a double, however uneven."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from no_time_to_train.errors import InputError
from no_time_to_train.ops.rle import decode_rle, encode_mask
from no_time_to_train.runs.shards import (
    Dropped,
    ShardWriter,
    drop_unusable,
    labeled_ids,
    merged_results,
    open_batches,
    split_batches,
)
from no_time_to_train.structures import Detections, TargetImage
from tests.mutations import mutated

IMAGE = Path(__file__)
"""Stands for every image: what is in the file does not matter."""


def make_targets(count: int) -> list[TargetImage]:
    return [TargetImage(IMAGE, f"{i}.jpg", i) for i in range(count)]


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
        writer.write(TargetImage(IMAGE, "a.jpg", image_id), make_detections(0.5))
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
    targets = [TargetImage(IMAGE, "a.jpg", i) for i in (2, "3", 0, 3)]
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


def test_results_that_cannot_be_used_are_dropped(tmp_path: Path) -> None:
    images = [tmp_path / f"{number}.png" for number in range(6)]
    for image in images:
        image.write_bytes(b"one")
    targets = [TargetImage(image, image.name, number, (2, 3)) for number, image in enumerate(images)]
    for rank, part in enumerate((targets[:4], targets[4:])):
        writer = ShardWriter(tmp_path / "shards", rank, min_score=0.1)
        for target in part:
            writer.write(target, make_detections(0.5))
        writer.close()
    assert drop_unusable(tmp_path / "shards", targets) == Dropped((), 0)
    first, second = (tmp_path / f"shards/rank={rank}.jsonl" for rank in (0, 1))
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(lines[0] + lines[1][:40] + b"\n" + lines[2] + lines[3])  # image 1 is damaged
    second.write_bytes(second.read_bytes() + lines[0])  # image 0 is there twice
    images[2].write_bytes(b"two")  # of the same size
    images[4].unlink()
    dropped = drop_unusable(tmp_path / "shards", targets)
    assert dropped.messages() == [
        f"{first} is damaged in line 2. Its image is labeled again.",
        f"{tmp_path / 'shards'} holds 2 results of image 0. Its image is labeled again.",
        "2 images changed since labeled: labeled again.",
    ]
    assert labeled_ids(tmp_path / "shards") == {3, 5}
    assert drop_unusable(tmp_path / "shards", targets) == Dropped((), 0)


with tempfile.TemporaryDirectory() as folder:
    write(Path(folder), 0, 0)
    VALID_LINE = json.loads((Path(folder) / "rank=0.jsonl").read_bytes())


@given(line=mutated(VALID_LINE))
def test_a_line_is_used_or_dropped_and_never_breaks_a_run(line: object) -> None:
    targets = [TargetImage(IMAGE, "0.jpg", 0, (2, 3))]
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder) / "rank=0.jsonl"
        shard.write_bytes(json.dumps(line).encode() + b"\n")
        drop_unusable(Path(folder), targets)
        if labeled_ids(Path(folder)):
            for result in merged_results(Path(folder), targets):
                assert decode_rle(result["segmentation"]).shape == (2, 3)
        assert drop_unusable(Path(folder), targets) == Dropped((), 0)
