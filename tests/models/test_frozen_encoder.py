from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from no_time_to_train.models.frozen_encoder import prepare_encoder

CPU = torch.device("cpu")


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.patches(images).flatten(2).transpose(1, 2)))


class CountingCode(nn.Module):
    """Tells rows from columns, and how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, features: Tensor) -> Tensor:
        self.calls += 1
        height, width = features.shape[-2:]
        return (
            torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width).repeat(len(features), 4, 1, 1)
        )


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_same_bits_under_autocast(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module, images = Encoder().eval(), torch.rand(2, 3, 8, 8)
    prepared = copy.deepcopy(module)
    prepare_encoder(prepared, CPU, dtype)
    assert {name: weight.dtype for name, weight in prepared.named_parameters()} == {
        name: torch.float32 if name.startswith("norm") else dtype for name, _ in module.named_parameters()
    }
    with torch.autocast("cpu", dtype):
        assert torch.equal(prepared(images), module(images))


def test_float32_stays() -> None:
    module = Encoder()
    prepare_encoder(module, CPU, torch.float32)
    assert {weight.dtype for weight in module.parameters()} == {torch.float32}


def test_position_codes_are_made_once_per_size_and_format() -> None:
    module = nn.Module()
    module.neck = nn.Module()
    module.neck.position_encoding = code = CountingCode()
    prepare_encoder(module, CPU, torch.bfloat16)
    shared = module.neck.position_encoding

    for _ in range(2):
        for size in ((2, 3), (3, 2)):
            features = torch.zeros(5, 4, *size, dtype=torch.bfloat16)
            codes = shared(features)
            assert codes.dtype == torch.bfloat16
            assert torch.equal(codes, CountingCode()(features).bfloat16())
    assert code.calls == 2
    assert shared(torch.zeros(1, 4, 2, 3)).dtype == torch.float32
    assert code.calls == 3
