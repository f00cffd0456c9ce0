"""The table on paper: known numbers for known work, and the demo models' table."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from no_time_to_train.models.dino.encoder import load_dino
from tests.tools.benchmarks.test_speed import rows
from tools.benchmarks import expected_speed
from tools.benchmarks.expected_speed import BANDWIDTH_SHARE, COMPUTE_SHARE, Card, expected_seconds
from tools.benchmarks.operations import Operation, Operations

CARD = Card("card", half=100e12, single=10e12, bandwidth=1e12)


@pytest.mark.parametrize(
    ("kernel", "seconds"),
    [
        (Operation(10**12, 0, torch.bfloat16), 0.01 / COMPUTE_SHARE),
        (Operation(10**12, 0, torch.float32), 0.1 / COMPUTE_SHARE),
        (Operation(10**12, 10**12, torch.float32), 1 / BANDWIDTH_SHARE),
        (Operation(0, 0, torch.float32), 5e-6),
    ],
)
def test_the_slower_of_products_and_memory_and_start(kernel: Operation, seconds: float) -> None:
    assert expected_seconds(Operations([kernel]), CARD) == pytest.approx(seconds)


@pytest.mark.slow
def test_the_table_of_the_demo_models(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--models demo --points 4 --precision half --categories 3"
    monkeypatch.setattr(sys, "argv", ["expected_speed", *arguments.split()])
    expected_speed.main()
    table = rows(capsys.readouterr().out)
    encoder = load_dino("dinov2_demo")
    with FlopCounterMode(display=False) as counter:
        encoder.encode(torch.zeros(1, 3, encoder.image_size, encoder.image_size))
    assert float(table["DINO encoder"][0]) == pytest.approx(counter.get_total_flops() / 1e9, rel=0.01)
    stages = ("SAM encoder", "DINO encoder", "decoder, 4 points", "pooling", "matching, 3 categories")
    whole = [float(cell) for cell in table["whole image"]]
    for column, total in enumerate(whole):
        assert sum(float(table[stage][column]) for stage in stages) == pytest.approx(total, rel=0.03)
    assert [float(cell) for cell in table["images/s"][3:]] == pytest.approx([1e3 / ms for ms in whole[3:]], rel=0.06)
