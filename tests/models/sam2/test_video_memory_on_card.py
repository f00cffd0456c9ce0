"""Following objects on a GPU that is not there; the numbers are the CPU's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from no_time_to_train.models.sam2.model import load_sam2
from no_time_to_train.models.sam2.video_memory import ObjectMask, ObjectMemory, Sam2VideoMemory
from tests.pretend_card import CardTensor, on_host, pretend_card


def load(device: str, dtype: torch.dtype = torch.float32) -> Sam2VideoMemory:
    return Sam2VideoMemory(load_sam2("sam2_demo", device=device, dtype=dtype, decoder="plain"))


def follow(memory: Sam2VideoMemory) -> tuple[list[ObjectMask], ObjectMemory]:
    """A frame with a prompt and one more."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), np.uint8)
    mask = torch.zeros(memory.image_size, memory.image_size, dtype=torch.bool)
    mask[50:90, 50:130] = True
    found, remembered = memory.condition(0, memory.encode(noise[0]), mask)
    followed, remembered = memory.propagate(1, memory.encode(noise[1]), remembered)
    return [found, followed], remembered


def assert_close(on_card: Tensor, on_cpu: Tensor) -> None:
    assert isinstance(on_card, CardTensor) and on_card.device == torch.device("cuda:1")
    torch.testing.assert_close(on_host(on_card), on_cpu, atol=1e-3, rtol=1e-3)


def test_float32_gives_what_the_cpu_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu, _ = follow(load("cpu"))
    with pretend_card(monkeypatch, "cuda:1") as card:
        memory = load("cuda:1")
        card.waits.clear()
        on_card, remembered = follow(memory)
        assert all(isinstance(kept, CardTensor) for kept in remembered.tensors().values())
    for mine, theirs in zip(on_card, on_cpu, strict=True):
        assert_close(mine.logits, theirs.logits)
        assert_close(mine.object_score, theirs.object_score)
    assert card.waits == {"models.sam2.video_memory._step: to_copy": 1}, "the sam2 package's, in each frame it follows"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_is_close(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    on_cpu, _ = follow(load("cpu"))
    with pretend_card(monkeypatch, "cuda:1"):
        on_card, _ = follow(load("cuda:1", dtype))
    for mine, theirs in zip(on_card, on_cpu, strict=True):
        assert ((on_host(mine.logits) > 0) == (theirs.logits > 0)).float().mean() > 0.99
