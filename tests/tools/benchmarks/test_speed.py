"""The benchmark runs, and its two ways agree."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import nn

from no_time_to_train.models import cpu_linear
from tests.pretend_card import pretend_card
from tools.benchmarks import operations, speed


def rows(output: str) -> dict[str, list[str]]:
    """Cells of every table row by the row's first cell."""
    lines = [line.strip("| ").split(" | ") for line in output.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, list[str]]:
    arguments = ["--models", "demo", "--points", "4", "--quick", "--categories", "3", "--image-size", "60", "80"]
    monkeypatch.setattr(sys, "argv", ["speed", *arguments, *more])
    threads = torch.get_num_threads()
    speed.main()
    torch.set_num_threads(threads)
    return rows(capsys.readouterr().out)


def test_one_table_with_every_stage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    table = run(monkeypatch, capsys, "--threads", "1", "--scaling", "categories")
    decoder = table["decoder, 4 points"][-1]
    assert float(decoder.split()[1].rstrip(",")) < 1e-4 and decoder.endswith("100.000% equal pixels")
    assert float(table["pooling"][-1]) < 1e-4
    total_plain, total_fast, _, factor, *_ = table["whole image (sum)"]
    assert float(factor) == pytest.approx(float(total_plain) / float(total_fast), rel=0.05)
    assert "1203" in table


@pytest.mark.slow
def test_on_a_gpu_it_prints_the_same_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The GPU is waited for before and after each run that is timed, and only it; nothing mixes CPU and GPU."""
    on_cpu = run(monkeypatch, capsys, "--scaling", "images")
    asked: Counter[str] = Counter()

    def ask(question: str, answer: object) -> Callable[[object], object]:
        def told(device: object) -> object:
            assert device == torch.device("cuda:1")
            asked[question] += 1
            return answer

        return told

    answers = {
        "synchronize": None,
        "reset_peak_memory_stats": None,
        "max_memory_allocated": 3e6,
        "memory_allocated": 1e6,
        "get_device_name": "NVIDIA A100-SXM4-80GB",
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, ask(name, answer))
    monkeypatch.setattr(speed, "matrix_rate", lambda device, dtype: 1e11)
    with pretend_card(monkeypatch, "cuda:1"):
        on_card = run(monkeypatch, capsys, "--device", "cuda:1", "--scaling", "images")
    assert on_cpu["stage"] == on_card["stage"] and set(on_cpu) == set(on_card)
    assert all(float(on_card[way][0]) > 0 for way in ("in turns", "read, squashed and finished beside"))
    num_stages, num_without_plain = 7, 1
    assert asked["reset_peak_memory_stats"] == 2 * num_stages - num_without_plain
    assert asked["synchronize"] > 3 * asked["reset_peak_memory_stats"]
    assert on_card["decoder, 4 points"][-2] == "3 / 3"


@pytest.mark.parametrize("is_amd", [True, False])
def test_operations_of_linear_layers_are_counted(monkeypatch: pytest.MonkeyPatch, is_amd: bool) -> None:
    monkeypatch.setattr(cpu_linear, "is_amd_processor", lambda: is_amd)
    layer = nn.Sequential(nn.Linear(64, 32)).requires_grad_(False)
    cpu_linear.use_onednn_linear(layer, torch.device("cpu"), torch.float32)
    assert operations.count(lambda: layer(torch.zeros(5, 3, 64))).flops == 2 * 15 * 64 * 32
