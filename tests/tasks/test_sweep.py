"""Sweeps: every combination once, finished runs skipped, models loaded once, by several launchers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from no_time_to_train import build
from no_time_to_train.commands import main
from no_time_to_train.config import Config
from no_time_to_train.files.paths import configs_folder
from no_time_to_train.runs import labeling_share, shared_entries
from tests.small_benchmark import load_fake_models, write_small_benchmark
from tests.test_segmenter import ColorEncoder


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    return load_fake_models(monkeypatch)


@pytest.fixture
def bench(tmp_path: Path, loaded: list[Config]) -> Callable[..., int]:
    overrides = write_small_benchmark(tmp_path, num_targets=3)
    return lambda *more: main(["bench", "-m", *overrides, *more])


def runs(tmp_path: Path) -> list[str]:
    return sorted(path.parent.relative_to(tmp_path / "runs").as_posix() for path in tmp_path.glob("runs/**/run.json"))


def test_every_combination_is_run_with_models_loaded_once(
    bench: Callable[..., int], tmp_path: Path, loaded: list[Config], capsys
) -> None:
    arguments = list(sys.argv)
    assert bench("shots=1,2", "seed=range(0,2)") == 0
    found = runs(tmp_path)
    assert [path.split("/", 2)[2] for path in found] == [f"shots={k}/seed={n}" for k in (1, 2) for n in (0, 1)]
    assert len(loaded) == 1 and sys.argv == arguments
    output = capsys.readouterr().out
    assert "4 of 4 runs are finished:" in output and f"nttt report {tmp_path / 'runs'}" in output
    assert len([line for line in output.splitlines() if ": box nAP " in line]) == 4
    run = json.loads((tmp_path / "runs" / found[0] / "run.json").read_text())
    assert run["command"].startswith("nttt bench ") and "shots=1 seed=0" in run["command"]


@pytest.mark.parametrize("engine", ["pycocotools", "faster-coco-eval"])
def test_a_run_of_a_sweep_equals_the_same_run_alone(
    engine: str, tmp_path: Path, loaded: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "faster-coco-eval":
        pytest.importorskip("faster_coco_eval")
    encode, sizes = ColorEncoder.encode, []
    monkeypatch.setattr(ColorEncoder, "encode", lambda self, images: sizes.append(len(images)) or encode(self, images))
    overrides = [*write_small_benchmark(tmp_path, num_targets=3), "benchmark.sampler=filled_up", "shots=1"]
    overrides.append(f"evaluator.engine={engine}")
    assert main(["bench", "-m", *overrides, "seed=0,1"]) == 0
    encoded_in_sweep = sum(sizes)
    alone = ["seed=1", f"runs={tmp_path / 'alone'}"]
    assert main(["bench", *overrides, *alone]) == 0
    [one, another] = (next((tmp_path / folder).glob("**/seed=1")) for folder in ("runs", "alone"))
    for name in ("predictions.json", "references.json"):
        assert (one / name).read_bytes() == (another / name).read_bytes()
    assert len(json.loads((one / "predictions.json").read_text())) > 0
    first, second = (json.loads((folder / "metrics.json").read_text()) for folder in (one, another))
    assert first | {"seconds_per_image": 0} == second | {"seconds_per_image": 0}
    assert sum(sizes) - encoded_in_sweep == 3 + 3 and encoded_in_sweep <= 3 + 6  # nothing twice: 6 references in all
    assert not shared_entries._memories


def test_a_sweep_keeps_no_more_in_memory_than_it_is_told(
    bench: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(labeling_share, "shared_memory", lambda kind, size: asked.append((kind, size)))
    assert bench("shots=1,2", "cache.memory_mb=0") == 0
    assert asked == []
    assert bench("shots=3", "cache.memory_mb=7") == 0
    assert asked == [("prototypes", 7_000_000), ("proposals", 7_000_000)]


def test_a_sweep_goes_on_where_it_stopped(bench: Callable[..., int], tmp_path: Path, capsys) -> None:
    assert bench("shots=1") == 0
    assert bench("shots=1,2") == 0
    output = capsys.readouterr().out
    assert output.count("finished before, skipped.") == 1 and "2 of 2 runs are finished" in output
    assert len(runs(tmp_path)) == 2


def test_settings_of_the_benchmark_may_be_named_alone_and_networks_stay_for_other_methods(
    bench: Callable[..., int], tmp_path: Path, loaded: list[Config]
) -> None:
    assert bench("shots=1", "limit=1,2", "merging=soft,hard") == 0
    assert len(runs(tmp_path)) == 4 and len(loaded) == 1


def test_a_run_that_fails_does_not_stop_the_others(bench: Callable[..., int], tmp_path: Path, capsys) -> None:
    assert bench("shots=1,2", "benchmark.categories=[boat],[ship],[bird]") == 1
    output, errors = capsys.readouterr()
    assert "4 of 6 runs are finished" in output and len(runs(tmp_path)) == 4
    assert "2 of 6 runs failed. First: " in errors and "ship" in errors


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("merging=sfot,soft", "merging=sfot: no such option.*Did you mean 'soft'"),
        ("shotss=1,2", "shotss: no such setting. Did you mean 'shots'"),
        ("hydra/launcher=nowhere", "nowhere"),
        ("trainer.strategy=ddp trainer.devices=2", "trainer.strategy=ddp re-launches the sweep in every GPU process"),
    ],
)
def test_bad_settings_stop_before_the_first_run(
    override: str, message: str, bench: Callable[..., int], tmp_path: Path, capsys
) -> None:
    assert bench(*override.split()) == 1
    errors = capsys.readouterr().err
    assert re.search(message, errors), errors
    assert runs(tmp_path) == []


def test_several_values_need_the_flag(tmp_path: Path, capsys) -> None:
    assert main(["bench", "shots=1,2"]) == 2
    assert "shots=1,2" in capsys.readouterr().err


def test_settings_for_slurm_compose() -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    from hydra import compose, initialize_config_dir

    settings = ["partition=gpu", "gpus_per_node=4", "cpus_per_task=8", "tasks_per_node=4", "array_parallelism=10"]
    build.compose_bench_config()  # registers the schema
    with initialize_config_dir(config_dir=str(configs_folder()), version_base="1.3"):
        overrides = ["hydra/launcher=submitit_slurm", *(f"hydra.launcher.{setting}" for setting in settings)]
        composed = compose("bench", overrides, return_hydra_config=True)
    launcher = composed.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher") and launcher.tasks_per_node == 4


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For this process and those it starts: joblib gives each an equal part of the cores, and sums depend on it."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("launcher", [["joblib", "hydra.launcher.n_jobs=2"], ["submitit_local"]])
def test_other_launchers_write_the_same(launcher: list[str], tmp_path: Path) -> None:
    written = {}
    for name, settings in {"basic": [], "other": [f"hydra/launcher={launcher[0]}", *launcher[1:]]}.items():
        arguments = ["preset=demo", "device=cpu", "limit=1", "shots=1,2", f"runs={tmp_path / name}"]
        assert main(["bench", "-m", *arguments, *settings]) == 0
        paths = sorted((tmp_path / name).glob("demo/**/predictions.json"))
        written[name] = {path.relative_to(tmp_path / name): path.read_bytes() for path in paths}
    assert len(written["basic"]) == 2 and written["other"] == written["basic"]
