"""Operations and bytes against what is known by hand, and against torch's own counter."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from tools.benchmarks.operations import Operation, Operations, count


def test_one_product() -> None:
    left, right = torch.ones(4, 8), torch.ones(8, 2)
    assert count(lambda: left @ right).kernels == [Operation(2 * 4 * 8 * 2, 4 * (32 + 16 + 8), torch.float32)]


def test_views_move_nothing_and_repeated_values_count_once() -> None:
    values = torch.ones(1, 8, dtype=torch.bfloat16)
    work = count(lambda: values.expand(100, 8).reshape(100, 2, 4).transpose(1, 2) + 1)
    assert [kernel.num_bytes for kernel in work.kernels] == [2 * 8 + 2 * 800]


def test_attention_is_one_pass() -> None:
    query = torch.ones(1, 2, 16, 4)
    work = count(lambda: scaled_dot_product_attention(query, query, query))
    assert work.kernels == [Operation(2 * 2 * 2 * 16 * 16 * 4, 4 * 4 * 128, torch.float32)]


def test_products_in_place_are_counted() -> None:
    added, left, right = torch.zeros(3, 4, 6), torch.ones(3, 4, 5), torch.ones(3, 5, 6)
    assert count(lambda: added.baddbmm_(left, right)).flops == 2 * 3 * 4 * 5 * 6


def test_a_network_has_the_operations_of_torchs_counter() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.GELU(), nn.Flatten(2), nn.Linear(49, 5)).eval()
    image = torch.zeros(2, 3, 16, 16)
    with FlopCounterMode(display=False) as counter:
        network(image)
    work = count(lambda: network(image))
    assert work.flops == counter.get_total_flops() > 0
    assert work.num_bytes == sum(kernel.num_bytes for kernel in Operations(work.kernels).kernels)
