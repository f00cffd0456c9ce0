"""The benchmark runs, and its two ways agree."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from no_time_to_train.models import cpu_linear
from tools.benchmarks import operations, speed


def rows(output: str) -> dict[str, list[str]]:
    """Cells of every table row by the row's first cell."""
    lines = [line.strip("| ").split(" | ") for line in output.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_one_table_with_every_stage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--models demo --points 4 --quick --threads 1 --categories 3 --image-size 60 80 --scaling categories"
    monkeypatch.setattr(sys, "argv", ["speed", *arguments.split()])
    threads = torch.get_num_threads()
    speed.main()
    torch.set_num_threads(threads)
    table = rows(capsys.readouterr().out)
    decoder = table["decoder, 4 points"][-1]
    assert float(decoder.split()[1].rstrip(",")) < 1e-4 and decoder.endswith("100.000% equal pixels")
    assert float(table["pooling"][-1]) < 1e-4
    total_plain, total_fast, _, factor, *_ = table["whole image (sum)"]
    assert float(factor) == pytest.approx(float(total_plain) / float(total_fast), rel=0.05)
    assert "1203" in table


@pytest.mark.parametrize("is_amd", [True, False])
def test_operations_of_linear_layers_are_counted(monkeypatch: pytest.MonkeyPatch, is_amd: bool) -> None:
    monkeypatch.setattr(cpu_linear, "is_amd_processor", lambda: is_amd)
    layer = nn.Sequential(nn.Linear(64, 32)).requires_grad_(False)
    cpu_linear.use_onednn_linear(layer, torch.device("cpu"), torch.float32)
    assert operations.count(lambda: layer(torch.zeros(5, 3, 64))).flops == 2 * 15 * 64 * 32
