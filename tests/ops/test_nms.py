from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.errors import EnvironmentProblemError
from no_time_to_train.ops import nms
from no_time_to_train.ops.nms import class_aware_nms, torchvision_nms

OVERLAPPING = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 10]])


def test_only_boxes_of_one_class_suppress_each_other() -> None:
    ranking = torch.tensor([0.5, 0.9, 0.7])
    assert class_aware_nms(OVERLAPPING, ranking, torch.tensor([0, 0, 0]), 0.5).tolist() == [1]
    assert class_aware_nms(OVERLAPPING, ranking, torch.tensor([0, 1, 0]), 0.5).tolist() == [1, 2]
    assert class_aware_nms(OVERLAPPING, ranking, torch.tensor([0, 0, 0]), 0.85).tolist() == [1, 2]


def test_iou_at_the_threshold_is_kept_and_ties_go_in_input_order() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1], [0, 0, 2, 1]])
    assert class_aware_nms(boxes, torch.ones(3), torch.zeros(3, dtype=torch.int64), 0.5).tolist() == [0, 1]


def test_empty_and_degenerate_boxes() -> None:
    none = class_aware_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5)
    assert none.tolist() == []
    points = class_aware_nms(torch.zeros(3, 4), torch.ones(3), torch.zeros(3, dtype=torch.int64), 0.5)
    assert points.tolist() == [0, 1, 2]


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_equals_the_plain_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(-20, 20, (12, 2), generator=generator).float()
    boxes = torch.cat([corners, corners + torch.randint(1, 20, (12, 2), generator=generator)], dim=1)
    ranking = torch.randint(0, 5, (12,), generator=generator) / 5
    labels = torch.randint(0, 3, (12,), generator=generator) * 1000
    kept: list[int] = []
    for i in sorted(range(12), key=lambda i: (-ranking[i].item(), i)):
        if all(labels[i] != labels[j] or iou(boxes[i].tolist(), boxes[j].tolist()) <= 0.4 for j in kept):
            kept.append(i)
    assert class_aware_nms(boxes, ranking, labels, 0.4).tolist() == kept


def iou(a: list[float], b: list[float]) -> float:
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


class FreshOperators:
    """``torch.ops`` of a process that has not loaded torchvision's library, which ``error`` makes unusable."""

    def __init__(self, error: Exception) -> None:
        self.torchvision = SimpleNamespace()
        self._error = error

    def load_library(self, path: Path) -> None:
        assert path.is_file()
        raise self._error


@pytest.mark.parametrize("error", [OSError("undefined symbol"), RuntimeError("operator torchvision::nms is missing")])
def test_a_torchvision_of_another_build_is_named(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(nms, "torch", SimpleNamespace(ops=FreshOperators(error)))
    with pytest.raises(EnvironmentProblemError, match="nttt doctor"):
        torchvision_nms()


def test_a_missing_torchvision_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nms, "torch", SimpleNamespace(ops=FreshOperators(OSError())))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblemError, match="not installed"):
        torchvision_nms()


@pytest.mark.slow
def test_only_torchvisions_operators_are_loaded() -> None:
    code = "import sys, no_time_to_train.ops.nms; print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
