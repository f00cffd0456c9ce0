"""Two real processes and their end: the same bytes as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from no_time_to_train.errors import EnvironmentProblemError
from no_time_to_train.runs.launch import label_images
from no_time_to_train.runs.plan import CachePlan, RunPlan
from no_time_to_train.runs.progress import RunProgress
from no_time_to_train.runs.shards import labeled_ids, merged_results
from tests.small_benchmark import build_dying_segmenter, make_plan

TWO = "trainer.devices=2"


def predictions(plan: RunPlan) -> bytes:
    return json.dumps(list(merged_results(plan.shards, plan.targets))).encode()


@pytest.fixture
def expected(tmp_path: Path) -> bytes:
    """Of one process."""
    plan = make_plan(tmp_path, folder=tmp_path / "one")
    label_images(plan)
    return predictions(plan)


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one(tmp_path: Path, expected: bytes) -> None:
    cache = CachePlan(tmp_path / "cache", "f00d", "beef")
    for folder in ("two", "two from the cache"):
        told: list[RunProgress] = []
        plan = make_plan(tmp_path, TWO, folder=tmp_path / folder, cache=cache, on_progress=told.append)
        label_images(plan)
        assert "11 of 11 images to label in 2 processes" in (told[0].message or "")
        assert told[-1] == RunProgress("images", 6, 6)  # of the first process, told in this one
        assert predictions(plan) == expected
        assert sorted(path.name for path in plan.shards.iterdir()) == ["rank=0.jsonl", "rank=1.jsonl"]
        assert json.loads(plan.report_file.read_text())["processes"] == 2


@pytest.mark.slow
def test_more_processes_than_images(tmp_path: Path) -> None:
    one, three = (make_plan(tmp_path, f"trainer.devices={n}", num_targets=2, folder=tmp_path / str(n)) for n in (1, 3))
    label_images(one)
    label_images(three)
    assert predictions(three) == predictions(one)


@pytest.mark.slow
def test_a_run_whose_process_was_killed_continues_to_the_same_bytes(tmp_path: Path, expected: bytes) -> None:
    plan = make_plan(tmp_path, TWO, build_segmenter=build_dying_segmenter)
    with pytest.raises(EnvironmentProblemError, match="SIGKILL.*\nThe same command continues"):
        label_images(plan)
    done = labeled_ids(plan.shards)
    assert {2, 4} <= done < set(range(1, 12))
    label_images(make_plan(tmp_path, "trainer.devices=1"))  # any number of processes may go on
    assert predictions(plan) == expected
