from __future__ import annotations

import pytest
import torch

from no_time_to_train.errors import EnvironmentProblemError
from no_time_to_train.models.batching import PromptBatcher, default_prompts_per_batch
from no_time_to_train.models.interfaces import PromptBatch


def prompts(count: int) -> PromptBatch:
    return PromptBatch(points_xy=torch.arange(2.0 * count).view(count, 1, 2), point_labels=torch.ones(count, 1))


class Decoder:
    """Returns the x of every prompt; runs out of memory above ``limit`` prompts."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.sizes: list[int] = []

    def __call__(self, batch: PromptBatch) -> list[float]:
        self.sizes.append(len(batch))
        if len(batch) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert batch.points_xy is not None
        return batch.points_xy[:, 0, 0].tolist()


def test_parts_are_consecutive_and_know_their_start() -> None:
    parts = PromptBatcher(4).run(Decoder(limit=99), prompts(10))
    assert parts == [(0, [0, 2, 4, 6]), (4, [8, 10, 12, 14]), (8, [16, 18])]
    assert PromptBatcher(4).run(Decoder(limit=99), prompts(0)) == []


def test_the_batch_is_halved_until_it_fits_and_stays_so(caplog: pytest.LogCaptureFixture) -> None:
    batcher, decoder = PromptBatcher(256), Decoder(limit=64)
    parts = batcher.run(decoder, prompts(300))
    assert [x for _, part in parts for x in part] == [2.0 * i for i in range(300)]
    assert decoder.sizes == [256, 128, 64, 64, 64, 64, 44]
    assert caplog.messages == [
        "GPU out of memory at 256 points per batch; continuing with 128.",
        "GPU out of memory at 128 points per batch; continuing with 64.",
    ]
    batcher.run(decoder, prompts(100))
    assert decoder.sizes[-2:] == [64, 36]


def test_apples_gpus_run_out_of_memory_in_words_alone() -> None:
    sizes = []

    def decode(batch: PromptBatch) -> None:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise RuntimeError("MPS backend out of memory (MPS allocated: 5.56 GB, other allocations: 1.10 GB)")
        if len(sizes) > 3:
            raise RuntimeError("another fault")

    with pytest.raises(RuntimeError, match="another fault"):
        PromptBatcher(8).run(decode, prompts(8))
    assert sizes == [8, 4, 2, 2]


def test_a_batch_larger_than_the_prompts_is_halved_from_their_number() -> None:
    decoder = Decoder(limit=5)
    PromptBatcher(256).run(decoder, prompts(8))
    assert decoder.sizes == [8, 4, 4]


def test_a_single_prompt_that_does_not_fit_is_an_error_with_advice() -> None:
    with pytest.raises(EnvironmentProblemError, match="even at 1 point per batch.*device=cpu"):
        PromptBatcher(4).run(Decoder(limit=0), prompts(3))


def test_defaults_follow_the_device() -> None:
    gpu, cpu = (default_prompts_per_batch(torch.device(name), 256) for name in ("cuda:1", "cpu"))
    assert gpu > cpu > 0
    assert default_prompts_per_batch(torch.device("cpu"), 64) == 4 * cpu
    assert default_prompts_per_batch(torch.device("cpu"), 4096) == 4
    assert default_prompts_per_batch(torch.device("cpu"), 256 * cpu) == 1
    assert default_prompts_per_batch(torch.device("cpu"), 512 * cpu) == 1
