"""Runs of a small benchmark: their files, their end, and how they go on."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from no_time_to_train import build
from no_time_to_train.benchmarks.registry import load_task
from no_time_to_train.commands import main
from no_time_to_train.config import BenchConfig, Config
from no_time_to_train.errors import EnvironmentProblemError, InputError, RunInterrupted
from no_time_to_train.runs.progress import RunProgress
from no_time_to_train.runs.shards import labeled_ids
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.tasks import bench
from no_time_to_train.tasks.bench import run_composed
from tests.small_benchmark import load_fake_models, small_config, write_small_benchmark
from tests.test_segmenter import ColorEncoder

REPOSITORY = Path(__file__).parents[2]
RUN = "custom/dinov2_demo+sam2_demo-*/shots=10/seed=33"


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    return load_fake_models(monkeypatch)


def run_benchmark(config: BenchConfig, command: Sequence[str] = (), messages: list[str] | None = None) -> Path:
    """Run; ``messages`` takes what it says on the way."""

    def note(progress: RunProgress) -> None:
        if messages is not None and progress.message is not None:
            messages.append(progress.message)

    return run_composed(config, command=command, on_progress=note).out


def test_files_of_a_finished_run(tmp_path: Path, capsys) -> None:
    config = small_config(tmp_path / "data")
    messages: list[str] = []
    folder = run_benchmark(config, ["nttt", "bench", "shots=10"], messages)
    assert [folder] == list((tmp_path / "data/runs").glob(RUN))
    names = {"config.yaml", "logs", "metrics.json", "predictions.json", "references.json", "run.json"}
    assert {path.name for path in folder.iterdir()} == names
    run = json.loads((folder / "run.json").read_text())
    assert (run["status"], run["seed"], run["shots"], run["device"]) == ("finished", 33, 10, "cpu")
    assert run["command"] == "nttt bench shots=10" and set(run["weights"]) == {"dinov2_demo", "sam2_demo"}
    assert run["timings"]["images"] == 11 and run["processes"] == 1
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["num_images"] == 11 and metrics["seconds_per_image"] == run["timings"]["seconds_per_image"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["benchmark"]["sampler"] == "all"
    predictions = json.loads((folder / "predictions.json").read_text())
    image_ids = [entry["image_id"] for entry in predictions]
    assert image_ids == sorted(image_ids) and set(image_ids) == set(range(1, 12))
    assert messages == [
        f"{folder}: 6 references of 3 categories, 11 images",
        "cpu: color + squares, 11 of 11 images to label",
    ]
    assert capsys.readouterr() == ("", "")


def test_the_references_give_the_same_run_again(tmp_path: Path) -> None:
    config = small_config(tmp_path / "data")
    folder = run_benchmark(config)
    first = load_task(config).references
    config.benchmark.references = str(folder / "references.json")
    again = load_task(config).references
    assert [(i.box_xyxy, i.category) for i in again.instances] == [(i.box_xyxy, i.category) for i in first.instances]
    assert (run_benchmark(config) / "predictions.json").read_bytes() == (folder / "predictions.json").read_bytes()


def test_a_finished_run_is_skipped_with_one_line(tmp_path: Path, capsys, loaded: list[Config]) -> None:
    overrides = write_small_benchmark(tmp_path / "data")
    first = run_composed(build.compose_bench_config(overrides))
    folder = first.out
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = run_composed(build.compose_bench_config(overrides))
    assert (again.out, again.metrics, again.was_finished) == (folder, first.metrics, True)
    assert main(["bench", *overrides]) == 0
    assert capsys.readouterr().out == f"{folder}: finished before, skipped.\n"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before and len(loaded) == 1


def test_what_a_run_left_that_was_killed_at_its_very_end_is_removed(tmp_path: Path) -> None:
    config = small_config(tmp_path / "data")
    folder = run_benchmark(config)
    before = sorted(folder.rglob("*"))
    (folder / "unfinished/shards").mkdir(parents=True)
    (folder / ".lock").write_text("process 1 on a machine that was switched off")
    assert run_benchmark(config) == folder
    assert sorted(folder.rglob("*")) == before


def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path: Path, monkeypatch) -> None:
    whole = run_benchmark(small_config(tmp_path / "whole"))
    config = small_config(tmp_path / "data")
    label, count = Segmenter.label, iter(range(100))

    def interrupted(self: Segmenter, *arguments: Any) -> Any:
        if next(count) == 4:
            raise KeyboardInterrupt
        return label(self, *arguments)

    monkeypatch.setattr(Segmenter, "label", interrupted)
    with pytest.raises(RunInterrupted, match="is valid"):
        run_benchmark(config, ["nttt", "bench", "benchmark=custom"])
    [folder] = (tmp_path / "data/runs").glob(RUN)
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    assert len(labeled_ids(folder / "unfinished/shards")) == 4
    messages: list[str] = []
    assert run_benchmark(config, messages=messages) == folder
    assert "7 of 11 images to label" in messages[-1]
    assert (folder / "predictions.json").read_bytes() == (whole / "predictions.json").read_bytes()


def test_the_cache_changes_nothing_and_saves_the_models(tmp_path: Path, monkeypatch) -> None:
    plain = run_benchmark(small_config(tmp_path / "plain"))
    cache = ["cache.enabled=true", f"cache.folder={tmp_path / 'cache'}"]
    first = small_config(tmp_path / "data", *cache)
    filled = run_benchmark(first)
    monkeypatch.setattr(ColorEncoder, "encode", None)
    first.runs = str(tmp_path / "second")
    again = run_benchmark(first)
    assert (filled / "predictions.json").read_bytes() == (plain / "predictions.json").read_bytes()
    assert (again / "predictions.json").read_bytes() == (plain / "predictions.json").read_bytes()


def test_proposals_that_depend_on_the_references_are_not_cached(tmp_path: Path) -> None:
    prefilter = ["proposals.prefilter=semantic", "proposals.prefilter_top_k=20"]
    config = small_config(tmp_path / "data", "cache.enabled=true", *prefilter)
    with pytest.raises(InputError, match="cache.enabled=false or proposals.point_grid.prefilter=none"):
        run_benchmark(config)
    config.cache.enabled = False
    assert run_benchmark(config).is_dir()


def test_the_evaluator_can_be_chosen(tmp_path: Path) -> None:
    metrics = json.loads(
        (run_benchmark(small_config(tmp_path / "a", "evaluator.name=voc")) / "metrics.json").read_text()
    )
    assert metrics["evaluator"] == "voc" and "voc_ap50_11pt" in metrics


def test_a_missing_logger_is_named_before_anything_is_read(tmp_path: Path, monkeypatch) -> None:
    def refuse(name: str) -> None:
        raise EnvironmentProblemError(f"{name} is missing")

    monkeypatch.setattr(bench, "check_logger", refuse)
    with pytest.raises(EnvironmentProblemError, match="wandb is missing"):
        run_benchmark(small_config(tmp_path / "data", "trainer.logger=wandb"))
    assert not (tmp_path / "data/runs").exists()


def test_episodes_have_numbers_and_no_predictions(tmp_path: Path, monkeypatch) -> None:
    def run_episodes(config: Any, *, segmenter: Segmenter, on_progress: Any) -> dict[str, Any]:
        on_progress(1, 1)
        kinds = {"box": {}, "mask": {}, "per_category": {}, "num_images": 1, "num_objects": 1, "notes": []}
        return {"evaluator": "episodes", "protocol": "episodes", "miou": 40.5, **kinds}

    monkeypatch.setattr(bench, "run_episodes", run_episodes)
    overrides = ["preset=demo", "device=cpu", "benchmark=coco_20i", "evaluator.name=episodes", f"runs={tmp_path}"]
    folder = run_benchmark(build.compose_bench_config([*overrides, "evaluator.num_episodes=1", "fold=2"]))
    assert folder.is_relative_to(tmp_path / "coco_20i/fold=2")
    assert json.loads((folder / "metrics.json").read_text())["miou"] == 40.5
    assert not (folder / "predictions.json").exists()
    with pytest.raises(InputError, match="episodes runs in one process"):
        run_benchmark(build.compose_bench_config([*overrides, "trainer.devices=2"]))


def test_another_evaluator_scores_the_same_labeling(tmp_path: Path, monkeypatch, loaded: list[Config]) -> None:
    config = small_config(tmp_path / "data")
    folder = run_benchmark(config)
    before = (folder / "predictions.json").stat().st_mtime_ns
    config.evaluator.name = "semantic"
    assert run_benchmark(config) == folder and len(loaded) == 1
    assert json.loads((folder / "metrics.json").read_text())["evaluator"] == "semantic"
    assert (folder / "predictions.json").stat().st_mtime_ns == before
    written = (folder / "metrics.json").stat().st_mtime_ns
    assert run_benchmark(config) == folder and (folder / "metrics.json").stat().st_mtime_ns == written


@pytest.mark.parametrize("name", ["metrics.json", "predictions.json"])
def test_a_result_that_was_removed_is_made_again(tmp_path: Path, name: str) -> None:
    config = small_config(tmp_path / "data")
    folder = run_benchmark(config)
    predictions = (folder / "predictions.json").read_bytes()
    (folder / name).unlink()
    run_benchmark(config)
    assert (folder / name).is_file() and (folder / "predictions.json").read_bytes() == predictions


def test_a_missing_evaluator_is_found_before_anything_is_labeled(tmp_path: Path, monkeypatch, loaded) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lvis" else find_spec(name))
    with pytest.raises(EnvironmentProblemError, match="evaluator lvis needs"):
        run_benchmark(small_config(tmp_path / "data", "evaluator.name=lvis"))
    assert not loaded and not (tmp_path / "data/runs").exists()


def test_an_image_of_another_size_is_found_at_once_and_can_be_repaired(tmp_path: Path) -> None:
    config = small_config(tmp_path / "data")
    path = tmp_path / "data/targets/3.png"
    original = path.read_bytes()
    Image.new("RGB", (30, 20)).save(path)
    with pytest.raises(InputError, match=r"size in the annotations is \[40, 60\] but .*3.png is 30x20"):
        run_benchmark(config)
    path.write_bytes(original)
    assert json.loads((run_benchmark(config) / "metrics.json").read_text())["num_images"] == 11


def test_damaged_results_and_changed_images_of_a_stopped_run_are_made_again(tmp_path: Path, monkeypatch) -> None:
    config = small_config(tmp_path / "data")
    label, count = Segmenter.label, iter(range(100))

    def interrupted(self: Segmenter, *arguments: Any) -> Any:
        if next(count) == 6:
            raise KeyboardInterrupt
        return label(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "label", interrupted)
        with pytest.raises(RunInterrupted):
            run_benchmark(config)
    [unfinished] = (tmp_path / "data/runs").glob(f"{RUN}/unfinished")
    shard = unfinished / "shards/rank=0.jsonl"
    lines = shard.read_bytes().splitlines(keepends=True)
    shard.write_bytes(b"".join([lines[0], b"[1, 2]\n", *lines[2:5], lines[5][:50]]))
    (unfinished / "memory.safetensors").write_bytes(b"")
    images = sorted((tmp_path / "data/targets").iterdir())
    swapped = [image.read_bytes() for image in images[:2]]
    images[0].write_bytes(swapped[1] + b"\0" * max(len(swapped[0]) - len(swapped[1]), 0))
    messages: list[str] = []
    folder = run_benchmark(config, messages=messages)
    assert messages[1:4] == [
        f"{shard} is damaged in line 2. Its image is labeled again.",
        "1 image changed since labeled: labeled again.",
        f"{unfinished / 'memory.safetensors'} is damaged. It is made again.",
    ]
    assert "8 of 11 images to label" in messages[4]
    config.runs = str(tmp_path / "whole")
    assert (folder / "predictions.json").read_bytes() == (run_benchmark(config) / "predictions.json").read_bytes()


def test_a_run_that_failed_before_any_work_does_not_block_the_next(tmp_path: Path, monkeypatch) -> None:
    config = small_config(tmp_path / "data")

    def fail(config: Config) -> None:
        raise EnvironmentProblemError("no weights")

    with monkeypatch.context() as patch:
        patch.setattr(build, "load_models", fail)
        with pytest.raises(EnvironmentProblemError, match="no weights"):
            run_benchmark(config)
    Image.new("RGB", (60, 40), "green").save(tmp_path / "data/references/1.png")  # other references
    assert (run_benchmark(config) / "metrics.json").is_file()


def test_command_line(tmp_path: Path, capsys) -> None:
    overrides = write_small_benchmark(tmp_path / "data")
    assert main(["bench", *overrides]) == 0
    [run] = (tmp_path / "data/runs").glob(f"{RUN}/run.json")
    assert json.loads(run.read_text())["command"].startswith("nttt bench preset=demo")
    output = capsys.readouterr().out
    assert "6 references of 3 categories, 11 images" in output and "box nAP" in output
    runs = tmp_path / "data/runs"
    assert output.splitlines()[-1] == f"Files are in {run.parent}; tables and plots: nttt report {runs}"
    assert main(["bench", *overrides, "shotss=3"]) == 1
    assert "shotss: no such setting" in capsys.readouterr().err


SCRIPT = """
import sys, time
from no_time_to_train import build
from no_time_to_train.commands import main
from no_time_to_train.segmenter import Segmenter
from tests.test_segmenter import ColorEncoder, SquareMaskModel

build.load_models = lambda config: (ColorEncoder(), SquareMaskModel())
label = Segmenter.label
def slow(self, *arguments):
    time.sleep(0.4)
    return label(self, *arguments)
Segmenter.label = slow
sys.exit(main(["bench", *sys.argv[1:]]))
"""


@pytest.mark.slow
def test_kill_minus_nine(tmp_path: Path) -> None:
    whole = run_benchmark(small_config(tmp_path / "whole"))
    overrides = write_small_benchmark(tmp_path / "data")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, *overrides], env=environment)
    deadline = time.monotonic() + 300
    while len(_labeled(tmp_path / "data/runs")) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert 3 <= len(_labeled(tmp_path / "data/runs")) < 11
    folder = run_benchmark(build.compose_bench_config(overrides))
    assert (folder / "predictions.json").read_bytes() == (whole / "predictions.json").read_bytes()


def _labeled(runs: Path) -> set[int | str]:
    shards: Iterator[Path] = runs.glob(f"{RUN}/unfinished/shards")
    return {image_id for folder in shards for image_id in labeled_ids(folder)}
