from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from no_time_to_train.commands.collector import all_is_loaded, seldom_while_loading
from no_time_to_train.commands.console import Console
from no_time_to_train.runs.progress import RunProgress


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_collects_as_before_once_something_is_counted(capsys, monkeypatch) -> None:
    before, console = gc.get_threshold(), Console()
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    with seldom_while_loading():
        console(RunProgress("", 0, 0, "cpu: two models"))
        assert gc.get_threshold() > before and gc.get_freeze_count() == 0
        console(RunProgress("images", 0, 5))
        assert gc.get_threshold() == before
        num_frozen = gc.get_freeze_count()
        made_later = [[] for _ in range(1000)]
        console(RunProgress("images", 1, 5))
        assert 1000 < gc.get_freeze_count() <= num_frozen
    assert gc.get_freeze_count() <= num_frozen and len(made_later) == 1000


def test_is_as_before_after_a_command_that_fails(monkeypatch) -> None:
    before = gc.get_threshold()
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    with pytest.raises(KeyboardInterrupt), seldom_while_loading():
        raise KeyboardInterrupt
    assert gc.get_threshold() == before and gc.get_freeze_count()


@pytest.mark.parametrize("has_triton", [True, False])
def test_the_end_of_the_process_frees_what_would_be_reported(has_triton: bool, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    if has_triton:
        monkeypatch.setitem(sys.modules, "triton", ModuleType("triton"))
    with seldom_while_loading():
        all_is_loaded()
        assert gc.get_freeze_count()
    assert bool(gc.get_freeze_count()) is not has_triton


def test_leaves_the_collector_of_others_alone() -> None:
    before = gc.get_threshold()
    all_is_loaded()
    assert gc.get_threshold() == before and not gc.get_freeze_count()
