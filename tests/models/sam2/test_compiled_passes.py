from __future__ import annotations

import os
import signal

import pytest
import torch

from no_time_to_train.models.sam2.compiled_passes import _in_threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    done: list[tuple[int, int]] = []
    _in_threads(10, lambda *job: done.append(job))
    assert sorted(done) == [(0, 4), (4, 4), (8, 2)]
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(10)  # a child that waits for its parent's threads ends by it
            done.clear()
            _in_threads(10, lambda *job: done.append(job))
            os._exit(0 if len(done) == 3 else 1)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
