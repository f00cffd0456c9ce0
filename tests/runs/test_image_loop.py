"""The loop over images gives the same beside the device's work as in turns with it, and says what goes wrong there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from no_time_to_train.runs import labeling_share
from no_time_to_train.runs.image_labeling import BatchReader, LoadedBatch
from no_time_to_train.runs.image_loop import go_through
from no_time_to_train.runs.labeling_share import Alone, label_share
from no_time_to_train.runs.plan import RunPlan
from no_time_to_train.runs.progress import Counter, RunProgress
from no_time_to_train.structures import Detections, TargetImage
from tests.small_benchmark import make_plan


class Begun:
    """Takes notes of what is begun with and finished, and in which thread."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.finished_in: set[str] = set()
        self.may_finish = threading.Event()
        self.may_finish.set()

    def process(self, batch: LoadedBatch) -> Iterator[Callable[[], Any]]:
        for target in batch.targets:
            self.events.append(f"begin {target.id}")
            yield lambda target=target: self.finish(target)

    def finish(self, target: TargetImage) -> str:
        assert self.may_finish.wait(timeout=10)
        self.finished_in.add(threading.current_thread().name)
        if target.id == 3 and "fail" in self.events:
            raise OSError("the disk is full")
        return f"detections of {target.id}"


class Written:
    """A sink that keeps a list."""

    def __init__(self, done: tuple[int, ...] = ()) -> None:
        self.found: list[Any] = []
        self.done = done
        self.is_open = False

    def __enter__(self) -> Written:
        self.is_open = True
        return self

    def __exit__(self, *error: Any) -> None:
        self.is_open = False

    def is_done(self, target: TargetImage) -> bool:
        return target.id in self.done

    def write(self, target: TargetImage, image: np.ndarray | None, detections: Detections) -> None:
        assert self.is_open
        self.found.append(detections)


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    return make_plan(tmp_path, num_targets=5)


def run(plan: RunPlan, begun: Begun, sink: Written, *, finish_beside: bool) -> list[int]:
    progress: list[RunProgress] = []
    reader = BatchReader([plan.targets[:2], plan.targets[2:]], leave_out_unreadable=True)
    counter = Counter("images", len(plan.targets), progress.append)
    go_through(reader, begun.process, sink, counter, finish_beside=finish_beside)
    return [step.done for step in progress]


@pytest.mark.parametrize("finish_beside", [False, True])
def test_all_are_written_in_order_and_counted(plan: RunPlan, finish_beside: bool) -> None:
    plan.targets[3].path.write_text("broken")
    begun, sink = Begun(), Written(done=(2,))
    assert run(plan, begun, sink, finish_beside=finish_beside) == [0, 1, 2, 3, 4, 5]
    assert sink.found == [f"detections of {number}" for number in (1, 3, 5)]
    is_main = begun.finished_in == {threading.main_thread().name}
    assert is_main != finish_beside and len(begun.finished_in) == 1


def test_the_next_images_are_begun_with_before_one_is_finished(plan: RunPlan) -> None:
    begun, sink = Begun(), Written()
    begun.may_finish.clear()
    loop = threading.Thread(target=run, args=(plan, begun, sink), kwargs={"finish_beside": True})
    loop.start()
    while "begin 3" not in begun.events:
        assert loop.is_alive()
    assert not sink.found
    begun.may_finish.set()
    loop.join(timeout=10)
    assert len(sink.found) == 5


def test_what_goes_wrong_beside_is_raised_and_the_rest_is_kept(plan: RunPlan) -> None:
    begun, sink = Begun(), Written()
    begun.events.append("fail")
    with pytest.raises(OSError, match="the disk is full"):
        run(plan, begun, sink, finish_beside=True)
    assert sink.found[:2] == ["detections of 1", "detections of 2"] and not sink.is_open


def test_a_run_writes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_turns = make_plan(tmp_path, num_targets=5)
    beside = replace(in_turns, folder=tmp_path / "beside")
    label_share(in_turns, Alone(torch.device("cpu")))
    monkeypatch.setattr(labeling_share, "is_cpu_idle", lambda segmenter: True)
    label_share(beside, Alone(torch.device("cpu")))
    shards = [(plan.shards / "rank=0.jsonl").read_bytes() for plan in (in_turns, beside)]
    assert shards[0] == shards[1] and shards[0].count(b"\n") == 5
