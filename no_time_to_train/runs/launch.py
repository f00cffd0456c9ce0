"""Where a benchmark run's processes come from: this one alone, those that Lightning starts, or a cluster's."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch.multiprocessing.spawn import ProcessException

from no_time_to_train.config import BenchConfig, TrainerConfig
from no_time_to_train.errors import EnvironmentProblemError, InputError
from no_time_to_train.models.precision import resolve_device
from no_time_to_train.runs.labeling_share import Alone, label_share
from no_time_to_train.runs.lightning_module import LabelingModule
from no_time_to_train.runs.plan import CachePlan, RunPlan
from no_time_to_train.runs.relay import relayed
from no_time_to_train.runs.silence import silence_lightning

_SPAWNING = ("auto", "ddp_spawn", "ddp_fork", "ddp_notebook")
"""Strategies whose processes run nothing but the module, so that a sweep stays in the first one."""


def is_first_process() -> bool:
    """Return whether this process writes the files and prints.

    It can be called before there is a trainer, too.
    """
    return rank_zero_only.rank == 0  # type: ignore[attr-defined]  # an attribute that Lightning gives the function


def started_by_cluster() -> bool:
    """Return whether a cluster has started the run's processes already.

    ``torchrun`` does, or ``srun`` with several tasks.
    """
    return TorchElasticEnvironment.detect() or (SLURMEnvironment.detect() and _slurm_tasks() > 1)


def check_sweep(settings: TrainerConfig) -> None:
    """Refuse a sweep that every process of every run would repeat.

    Raises InputError.
    """
    if settings.strategy not in _SPAWNING and settings.devices * settings.num_nodes > 1 and not started_by_cluster():
        raise InputError(
            f"trainer.strategy={settings.strategy} re-launches the sweep in every GPU process. Use "
            "trainer.strategy=ddp_spawn (default) or one SLURM task per GPU."
        )


def label_images(plan: RunPlan) -> None:
    """Label the images of the plan that have no result yet.

    Afterwards the shards of all processes are whole.

    Raises:
        InputError: there is no such strategy, or it does not fit the device.
        EnvironmentProblemError: there are fewer devices than asked for, or a process failed or was killed.
    """
    if _is_alone(plan.config):
        label_share(plan, Alone(resolve_device(plan.config.device)))
    else:
        _label_in_processes(plan)


def _is_alone(config: BenchConfig) -> bool:
    settings = config.trainer
    return settings.strategy == "auto" and settings.devices * settings.num_nodes == 1 and not started_by_cluster()


def _label_in_processes(plan: RunPlan) -> None:
    silence_lightning()
    trainer = build_trainer(plan.config)
    interrupt_handler = signal.getsignal(signal.SIGINT)
    try:
        with _heard_here(plan, trainer) as own, _stopped_from_here():
            trainer.predict(LabelingModule(own), return_predictions=False)
    except SystemExit as error:  # what Lightning makes of Ctrl-C
        signal.signal(signal.SIGINT, interrupt_handler)
        raise _stop_behind(error) from error
    except ProcessException as error:
        raise EnvironmentProblemError(
            f"One of the processes failed: {_reason(error)}\nThe same command continues where they stopped."
        ) from error
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


@contextmanager
def _heard_here(plan: RunPlan, trainer: lightning.Trainer) -> Iterator[RunPlan]:
    """Give the plan for the processes, whose progress is told in this one."""
    launcher = trainer.strategy.launcher
    if not isinstance(launcher, _MultiProcessingLauncher):
        yield plan
        return
    with relayed(plan.on_progress, launcher._start_method) as tell:
        yield replace(plan, on_progress=tell, cache=_on_disk(plan.cache))


def _on_disk(cache: CachePlan | None) -> CachePlan | None:
    """Return what processes that end with the run keep for the next one."""
    return None if cache is None or cache.folder is None else replace(cache, memory_bytes=0)


@contextmanager
def _stopped_from_here() -> Iterator[None]:
    """Let Ctrl-C, which a terminal sends to all processes, reach this one only, and none outlive the block."""
    earlier = set(multiprocessing.active_children())
    start_processes = torch.multiprocessing.start_processes

    def start(*arguments: Any, **options: Any) -> Any:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # which the processes inherit
        try:
            return start_processes(*arguments, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    if hasattr(signal, "pthread_sigmask"):
        torch.multiprocessing.start_processes = start  # Lightning's launcher calls it
    try:
        yield
    finally:
        torch.multiprocessing.start_processes = start_processes
        for process in set(multiprocessing.active_children()) - earlier:
            process.kill()  # a shard may lose its last line
            process.join()


def _stop_behind(error: BaseException) -> KeyboardInterrupt:
    """Return what stopped the run, Ctrl-C or SIGTERM, from what Lightning made of it."""
    stop: BaseException | None = error
    while stop is not None:
        if isinstance(stop, KeyboardInterrupt):
            return stop
        stop = stop.__context__
    return KeyboardInterrupt()


def build_trainer(config: BenchConfig) -> lightning.Trainer:
    """Build the trainer of a run; errors as for :func:`label_images`."""
    try:
        return lightning.Trainer(
            **vars(Placement.of(config)),
            num_nodes=config.trainer.num_nodes,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError) as error:
        raise InputError(f"trainer.strategy={config.trainer.strategy} cannot be used: {error}") from error


@dataclass(frozen=True)
class Placement:
    """Lightning's arguments for where the processes run and who starts them."""

    accelerator: str
    devices: int | list[int]
    strategy: str
    plugins: list[Any] | None = None

    @classmethod
    def of(cls, config: BenchConfig) -> Placement:
        """Read the placement from settings; raises as :func:`label_images` does."""
        device, settings = resolve_device(config.device), config.trainer
        devices: int | list[int] = settings.devices
        if device.type == "cuda":
            _check_gpus(device, settings)
            devices = settings.devices if device.index is None else [device.index]
        elif device.type == "mps" and settings.devices > 1:
            raise InputError(f"trainer.devices={settings.devices}, but device=mps is one device.")
        accelerator = "gpu" if device.type == "cuda" else device.type
        if started_by_cluster():
            strategy = "ddp" if settings.strategy == "auto" else settings.strategy
            return cls(accelerator, devices, strategy)
        if settings.num_nodes > 1:
            raise InputError(
                f"trainer.num_nodes={settings.num_nodes}: something must start a process on every node. Run the same "
                "command under torchrun or srun, see docs/how_to/several_gpus.md."
            )
        strategy = "ddp_spawn" if settings.strategy == "auto" and settings.devices > 1 else settings.strategy
        # A job of a cluster that is one task may use several GPUs: its processes are then not the cluster's business.
        return cls(accelerator, devices, strategy, plugins=[LightningEnvironment()])


def _check_gpus(device: torch.device, settings: TrainerConfig) -> None:
    if device.index is not None and settings.devices > 1:
        raise InputError(f"device={device} is one GPU, but trainer.devices={settings.devices}. Use device=cuda.")
    if settings.devices > torch.cuda.device_count():
        raise EnvironmentProblemError(
            f"trainer.devices={settings.devices}, but torch sees {torch.cuda.device_count()} GPUs here."
        )


def _slurm_tasks() -> int:
    """Tasks that ``srun`` started together with this one; a batch script itself is no such task."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def _reason(error: ProcessException) -> str:
    """Return the last exception in the traceback of a process, or the signal that ended it."""
    exceptions = re.findall(r"^(?:\w+\.)*(\w+: .*)", str(error), flags=re.MULTILINE)
    return exceptions[-1] if exceptions else str(error).strip()
