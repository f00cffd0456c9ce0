"""The run engine: a folder is begun late, kept from others, and left valid."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from no_time_to_train.config import Config
from no_time_to_train.errors import InputError, RunInterrupted, Terminated
from no_time_to_train.runs import run as engine
from no_time_to_train.runs.run import Run, hashing_weights
from no_time_to_train.runs.run_state import RunSettings

SETTINGS = RunSettings(
    config={"merging": {"exponent": 0.5}}, config_hash="a", references="r", images="/i", min_score=0.4
)
OTHER = replace(SETTINGS, config={"merging": {"exponent": 0.3}}, config_hash="b")


def status(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text())["status"]


def finish(folder: Path, settings: RunSettings = SETTINGS, *, overwrite: bool = False) -> None:
    """A run with one result."""
    with Run(folder, settings, overwrite=overwrite) as run:

        def work() -> None:
            run.begin()
            (folder / "per_image").mkdir(exist_ok=True)
            (folder / "per_image/a.json").write_text(settings.config_hash)

        run.carry_out(work, lambda: None, lambda: "all")


def test_a_finished_run_leaves_no_lock(tmp_path: Path) -> None:
    finish(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"run.json", "per_image"}
    assert status(tmp_path / "out") == "finished"


def test_nothing_is_written_before_the_run_begins(tmp_path: Path) -> None:
    with Run(tmp_path / "out", SETTINGS):
        pass
    assert not (tmp_path / "out").exists()


def test_overwriting_costs_nothing_until_everything_is_loaded(tmp_path: Path) -> None:
    finish(tmp_path / "out")

    def fail_to_load() -> None:
        raise InputError("no weights")

    with Run(tmp_path / "out", OTHER, overwrite=True) as run, pytest.raises(InputError, match="no weights"):
        run.carry_out(fail_to_load, lambda: None, lambda: "nothing")
    assert (tmp_path / "out/per_image/a.json").read_text() == "a" and status(tmp_path / "out") == "finished"
    (tmp_path / "out/evaluation").mkdir()  # of nttt eval
    (tmp_path / "out/my notes").mkdir()
    finish(tmp_path / "out", OTHER, overwrite=True)
    assert (tmp_path / "out/per_image/a.json").read_text() == "b"
    assert not (tmp_path / "out/evaluation").exists() and (tmp_path / "out/my notes").exists()


def test_a_run_that_ended_before_its_first_result_does_not_block_others(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Run(tmp_path / "out", SETTINGS) as run:
        run.begin()
        raise RuntimeError("out of memory")
    assert status(tmp_path / "out") == "running"
    finish(tmp_path / "out", OTHER)
    with pytest.raises(InputError, match="merging.exponent=0.3 vs 0.5"):
        Run(tmp_path / "out", SETTINGS)


@pytest.mark.parametrize(("stop", "exit_code"), [(KeyboardInterrupt(), 130), (Terminated(), 143)])
def test_a_stopped_run_is_summarized(tmp_path: Path, stop: KeyboardInterrupt, exit_code: int) -> None:
    done = []
    with Run(tmp_path / "out", SETTINGS) as run:

        def work() -> None:
            run.begin()
            raise stop

        with pytest.raises(RunInterrupted, match="Interrupted with 1 of 2 images. .*out is valid") as caught:
            run.carry_out(work, lambda: done.append(1), lambda: "1 of 2 images")
    assert done == [1] and status(tmp_path / "out") == "interrupted" and caught.value.exit_code == exit_code


def test_a_second_run_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    with Run(tmp_path / "out", SETTINGS) as first, Run(tmp_path / "out", SETTINGS) as late:
        first.begin()
        with pytest.raises(InputError, match=r"out is being written by process \d+ on "):
            Run(tmp_path / "out", SETTINGS)
        with pytest.raises(InputError, match="being written"):
            late.begin()
    with Run(tmp_path / "out", SETTINGS) as next_one:
        assert next_one.earlier is not None


def test_a_folder_that_another_run_has_filled_meanwhile_is_not_cleared(tmp_path: Path) -> None:
    with Run(tmp_path / "out", OTHER) as late:
        finish(tmp_path / "out")
        with pytest.raises(InputError, match="another process has just begun"):
            late.begin()
    assert (tmp_path / "out/per_image/a.json").read_text() == "a"


def test_a_dead_process_keeps_no_lock(tmp_path: Path) -> None:
    script = "import os; from tests.runs.test_run import *; run = Run(Path('out'), SETTINGS); run.begin(); os._exit(1)"
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env={"PYTHONPATH": str(repository)})
    assert (tmp_path / "out/.lock").exists()
    finish(tmp_path / "out")
    assert not (tmp_path / "out/.lock").exists()


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"settings": []}', '{"settings": {"images": 1}}', "[" * 100000, '{"settings": {}']
)
def test_a_damaged_run_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="run.json is damaged"):
            Run(tmp_path, SETTINGS, overwrite=overwrite)
    assert (tmp_path / "run.json").read_text() == content


def test_a_stopped_block_does_not_wait_for_gigabytes_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over, was_left_alone = threading.Event(), threading.Event()

    def hash_for_long(config: Config) -> dict[str, dict[str, str]]:
        if is_over.wait(5):
            was_left_alone.set()
        return {}

    monkeypatch.setattr(engine, "weight_hashes", hash_for_long)
    details: dict[str, object] = {}
    with pytest.raises(KeyboardInterrupt), hashing_weights(Config(), details):
        raise KeyboardInterrupt
    is_over.set()
    assert was_left_alone.wait(5) and details == {}


def test_hashes_are_there_after_the_block_and_faults_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "weight_hashes", lambda config: {"model": {"a": "f00d"}})
    details: dict[str, object] = {}
    with hashing_weights(Config(), details):
        pass
    assert details == {"weights": {"model": {"a": "f00d"}}}

    def fail(config: Config) -> None:
        raise OSError("gone")

    monkeypatch.setattr(engine, "weight_hashes", fail)
    with pytest.raises(OSError, match="gone"), hashing_weights(Config(), details):
        pass
