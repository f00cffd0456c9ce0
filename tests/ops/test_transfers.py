"""Copies between host and device: the same values, and no copy where none is needed."""

from __future__ import annotations

import pytest
import torch

from no_time_to_train.ops.transfers import pinned, to_device, to_host
from tests.pretend_card import on_host, pretend_card


def test_on_the_cpu_nothing_is_copied() -> None:
    values = torch.arange(3)
    assert to_device(values, "cpu") is values
    assert to_host(values)[0] is values


def test_what_is_pinned_already_is_not_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.arange(3)
    assert pinned(values, "cpu") is values and pinned(values, "mps") is values
    with pretend_card(monkeypatch) as card:
        ready = pinned(values, "cuda")
        assert ready is not values and pinned(ready, "cuda") is ready
        there = to_device(ready, "cuda")
        assert to_device(there, "cuda") is there and pinned(there, "cuda") is there and not card.waits
    torch.testing.assert_close(on_host(there), values)


def test_a_gpu_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = torch.arange(3), torch.ones(2)
    with pretend_card(monkeypatch) as card:
        there = [to_device(values, "cuda") for values in (first, second)]
        assert not card.waits
        assert [values.device.type for values in there] == ["cuda", "cuda"]
        back = to_host(*there, first)
    assert card.waits.total() == 1
    assert all(values.is_cpu for values in back)
    torch.testing.assert_close(list(map(on_host, back)), [first, second, first])
