"""With and without the cache the same detections; what the cache has is not computed."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from no_time_to_train.data.images import UnreadableImageError, read_image
from no_time_to_train.proposals import encoding
from no_time_to_train.proposals.cache import ProposalCache, image_key
from no_time_to_train.proposals.encoding import square_image
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.runs import image_labeling
from no_time_to_train.runs.image_labeling import BatchReader, label_batch, load_batch, square_ahead
from no_time_to_train.runs.plan import RunPlan
from no_time_to_train.segmenter import Segmenter
from tests.small_benchmark import build_small_segmenter, make_plan


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    return make_plan(tmp_path, num_targets=4)


@pytest.fixture
def segmenter(plan: RunPlan) -> Segmenter:
    return build_small_segmenter(plan.config)


@pytest.fixture
def memory(plan: RunPlan, segmenter: Segmenter) -> MemoryBank:
    return segmenter.build_memory(plan.references)


def results(plan: RunPlan, segmenter: Segmenter, memory: MemoryBank, cache: ProposalCache | None) -> list:
    batches = [plan.targets[:2], plan.targets[2:]]
    found = []
    store = None if cache is None else cache.store
    for batch in BatchReader(batches, cache, num_threads=2):
        for target, finish in zip(batch.targets, label_batch(batch, segmenter, memory, store), strict=True):
            found += finish().to_coco_results(target.id)
    return found


def test_cached_and_uncached_are_equal(plan, segmenter, memory, tmp_path: Path, monkeypatch) -> None:
    plain = results(plan, segmenter, memory, None)
    assert len({entry["image_id"] for entry in plain}) == 4 and len({entry["category_id"] for entry in plain}) > 1
    cache = ProposalCache(tmp_path / "cache", "f00d")
    assert results(plan, segmenter, memory, cache) == plain
    monkeypatch.setattr(segmenter, "encode", None)
    assert results(plan, segmenter, memory, cache) == plain


def test_a_second_look_reads_the_images_of_cached_masks(plan, segmenter, memory, tmp_path: Path, monkeypatch) -> None:
    cache = ProposalCache(tmp_path / "cache", "f00d")
    once = results(plan, segmenter, memory, cache)
    segmenter.config.second_look.max_masks = 5
    plain = results(plan, segmenter, memory, None)
    seen: list[bool] = []

    def read(path: Path, *, upright: bool) -> np.ndarray:
        seen.append(upright)
        return read_image(path, upright=upright)

    monkeypatch.setattr(image_labeling, "read_image", read)
    assert results(plan, segmenter, memory, cache) == plain != once
    assert seen == [target.upright for target in plan.targets], "turned as the masks are"


def test_images_squashed_by_the_reading_threads_give_the_same(plan, segmenter, memory, monkeypatch) -> None:
    """As beside a GPU, where the main thread then squashes nothing."""
    plain = results(plan, segmenter, memory, None)
    threads = set()

    def square(pixels: np.ndarray) -> Tensor:
        threads.add(threading.current_thread().name)
        return square_image(pixels, segmenter.mask_model)

    ahead = BatchReader([plan.targets[:2], plan.targets[2:]], square=square)
    assert square_ahead(segmenter) is None, "on a CPU the models need all cores"
    monkeypatch.setattr(type(segmenter), "device", torch.device("cuda"))
    assert square_ahead(segmenter) == segmenter.square
    monkeypatch.undo()
    batches = list(ahead)
    monkeypatch.setattr(encoding, "resize_for_model", None)
    found = []
    for batch in batches:
        for target, finish in zip(batch.targets, label_batch(batch, segmenter, memory), strict=True):
            found += finish().to_coco_results(target.id)
    assert found == plain
    assert threads and all(name.startswith("read-ahead") for name in threads)


def test_a_batch_is_computed_whole_or_not_at_all(plan, segmenter, memory, tmp_path: Path) -> None:
    cache = ProposalCache(tmp_path / "cache", "f00d")
    list(label_batch(load_batch(plan.targets[:2], cache), segmenter, memory, cache.store))
    assert len(load_batch(plan.targets[:2], cache).pooled) == 2
    half_known = load_batch(plan.targets[1:3], cache)
    assert len(half_known.images) == 2 and not half_known.pooled
    list(label_batch(half_known, segmenter, memory, cache.store))
    assert cache.load(image_key(plan.targets[2])) is not None


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_batches_come_in_order_and_again(plan: RunPlan, num_threads: int) -> None:
    batches = [plan.targets[:1], plan.targets[1:3], plan.targets[3:]]
    reader = BatchReader(batches, None, num_threads)
    for _ in range(2):
        assert [batch.targets for batch in reader] == batches
    assert [len(batch.images) for batch in reader] == [1, 2, 1]


def test_an_image_that_cannot_be_read_stops_the_run(plan: RunPlan) -> None:
    plan.targets[2].path.write_text("broken")
    with pytest.raises(UnreadableImageError, match=r"3.png"):
        list(BatchReader([plan.targets], None, 1))
