"""Where the processes of a run come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from no_time_to_train.build import compose_bench_config
from no_time_to_train.config import TrainerConfig
from no_time_to_train.errors import EnvironmentProblemError, InputError
from no_time_to_train.runs import launch
from no_time_to_train.runs.launch import Placement, build_trainer, check_sweep, label_images, started_by_cluster
from no_time_to_train.runs.progress import RunProgress
from no_time_to_train.runs.shards import labeled_ids, merged_results
from tests.small_benchmark import make_plan

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "GROUP_RANK": "0"}
SRUN = {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "bench", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}


def placement(*overrides: str) -> Placement:
    return Placement.of(compose_bench_config(["preset=demo", *overrides]))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs."""
    monkeypatch.setattr(launch, "resolve_device", lambda device: torch.device("cuda" if device == "auto" else device))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_one_process_is_plain_and_several_are_spawned() -> None:
    assert vars(placement("device=cpu")).items() >= {"accelerator": "cpu", "devices": 1, "strategy": "auto"}.items()
    assert placement("device=cpu", "trainer.devices=3").strategy == "ddp_spawn"
    assert placement("device=cpu", "trainer.devices=3", "trainer.strategy=ddp").strategy == "ddp"


def test_gpus(gpus: None) -> None:
    two = placement("trainer.devices=2")
    assert (two.accelerator, two.devices, two.strategy) == ("gpu", 2, "ddp_spawn")
    assert placement("device=cuda:1").devices == [1]
    with pytest.raises(EnvironmentProblemError, match="trainer.devices=3, but torch sees 2 GPUs"):
        placement("trainer.devices=3")
    with pytest.raises(InputError, match="device=cuda:1 is one GPU, but trainer.devices=2. Use device=cuda"):
        placement("device=cuda:1", "trainer.devices=2")


@pytest.mark.parametrize("environment", [TORCHRUN, SRUN])
def test_processes_of_a_cluster_are_used_as_they_are(environment: dict[str, str], monkeypatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert started_by_cluster()
    found = placement("device=cpu", "trainer.num_nodes=2")
    assert found.strategy == "ddp" and found.plugins is None
    check_sweep(TrainerConfig(devices=2, strategy="ddp"))


def test_a_job_that_is_one_task_spawns_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SRUN | {"SLURM_STEP_NUM_TASKS": "1"}).items():
        monkeypatch.setenv(name, value)
    assert not started_by_cluster()
    found = placement("device=cpu", "trainer.devices=2")
    assert found.strategy == "ddp_spawn" and isinstance(found.plugins[0], LightningEnvironment)


def test_several_nodes_need_someone_to_start_them() -> None:
    with pytest.raises(InputError, match="under torchrun or srun"):
        placement("device=cpu", "trainer.num_nodes=2")


def test_a_sweep_is_never_launched_again_in_every_process() -> None:
    for harmless in (
        TrainerConfig(devices=4),
        TrainerConfig(devices=4, strategy="ddp_spawn"),
        TrainerConfig(1, 1, "ddp"),
    ):
        check_sweep(harmless)
    with pytest.raises(
        InputError,
        match=r"trainer.strategy=ddp re-launches the sweep in every GPU process. Use trainer.strategy=ddp_spawn "
        r"\(default\) or one SLURM task per GPU.",
    ):
        check_sweep(TrainerConfig(devices=4, strategy="ddp"))


def test_an_unknown_strategy_is_named() -> None:
    with pytest.raises(InputError, match="trainer.strategy=dpp cannot be used"):
        build_trainer(compose_bench_config(["device=cpu", "trainer.strategy=dpp"]))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            ProcessRaisedException(
                "\n\n-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n  File "
                '"x.py", line 1\nValueError: first\n\nDuring handling\n\nno_time_to_train.errors.InputError: a: b\n',
                1,
                77,
            ),
            "InputError: a: b",
        ),
        (
            ProcessExitedException("process 1 terminated with signal SIGKILL", 1, 77, -9, "SIGKILL"),
            "process 1 terminated with signal SIGKILL",
        ),
    ],
)
def test_what_failed_in_another_process_is_told(error: Exception, reason: str, tmp_path: Path, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(launch.lightning.Trainer, "predict", fail)
    with pytest.raises(EnvironmentProblemError, match=f"One of the processes failed: {reason}\nThe same command"):
        label_images(make_plan(tmp_path, "trainer.devices=2"))


def test_one_process_labels_everything_once(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(launch, "build_trainer", None)  # one process needs no trainer
    told: list[RunProgress] = []
    plan = make_plan(tmp_path, on_progress=told.append)
    label_images(plan)
    first = list(merged_results(plan.shards, plan.targets))
    assert labeled_ids(plan.shards) == set(range(1, 12)) and len(first) > 11
    assert told[0].message == "cpu: color + squares, 11 of 11 images to label"
    assert told[-1] == RunProgress("images", 11, 11)
    told.clear()
    label_images(plan)
    assert list(merged_results(plan.shards, plan.targets)) == first
    assert "0 of 11 images to label" in (told[0].message or "") and capsys.readouterr() == ("", "")


def test_ctrl_c_is_passed_on(tmp_path: Path) -> None:
    def interrupt(config: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_images(make_plan(tmp_path, build_segmenter=interrupt))
