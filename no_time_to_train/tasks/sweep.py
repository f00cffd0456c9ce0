"""``nttt bench -m``: a run for every combination of values.

Runs are in this process, or wherever Hydra's launcher takes them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from no_time_to_train.build import sweep_bench_configs
from no_time_to_train.config import BenchConfig
from no_time_to_train.errors import InputError, NoTimeToTrainError
from no_time_to_train.files.formats import write_json
from no_time_to_train.runs.launch import check_sweep, is_first_process
from no_time_to_train.settings.composing import SweepJob
from no_time_to_train.tasks.bench import run_benchmark

_OUTCOME = "outcome.json"


def sweep(overrides: Sequence[str], command: Sequence[str]) -> None:
    """Carry out all runs that are not finished.

    One that fails does not stop the others.

    Args:
        overrides: settings, some with several values: ``shots=1,10``, ``seed=range(0,5)``.
        command: the command line that continues the sweep.

    Raises:
        InputError: a bad setting, or some of the runs failed.
    """
    runs = next((o.split("=", 1)[1] for o in reversed(overrides) if o.startswith("runs=")), BenchConfig().runs)
    folder = Path(runs) / ".sweeps" / hashlib.sha256("\0".join(overrides).encode()).hexdigest()[:12]
    if is_first_process():
        shutil.rmtree(folder, ignore_errors=True)
    sweep_bench_configs(overrides, folder, _run)
    if is_first_process():
        _conclude(folder, runs)


def _run(config: BenchConfig, job: SweepJob) -> None:
    """Return one job. Its outcome goes into a file: it may run on another machine."""
    check_sweep(config.trainer)
    outcome: dict[str, Any] = {"run": None, "problem": None}
    try:
        outcome["run"] = str(run_benchmark(config, ["nttt", "bench", *job.overrides]))
    except NoTimeToTrainError as error:
        outcome["problem"] = f"{' '.join(job.overrides)}: {error}"
        print(outcome["problem"], file=sys.stderr, flush=True)
    if is_first_process():
        write_json(job.folder / _OUTCOME, outcome)


def _conclude(folder: Path, runs: str) -> None:
    """Return one line for each run, and what to do next."""
    paths = sorted(folder.glob(f"*/{_OUTCOME}"), key=lambda path: int(path.parent.name))
    outcomes = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    finished = [outcome["run"] for outcome in outcomes if outcome["run"] is not None]
    print(f"\n{len(finished)} of {len(outcomes)} runs are finished:")
    for run in finished:
        print(f"{run}: {_headline(json.loads((Path(run) / 'metrics.json').read_text(encoding='utf-8')))}")
    if finished:
        print(f"Mean, standard deviation and plots: nttt report {runs}", flush=True)
    problems = [outcome["problem"] for outcome in outcomes if outcome["problem"] is not None]
    if problems:
        raise InputError(f"{len(problems)} of {len(outcomes)} runs failed. First: {problems[0]}")


def _headline(metrics: dict[str, Any]) -> str:
    """Return the main numbers: ``box nAP 36.6, mask nAP 30.2``."""
    found = {"box nAP": metrics["box"].get("nAP"), "mask nAP": metrics["mask"].get("nAP"), "mIoU": metrics.get("miou")}
    return ", ".join(f"{name} {value:.1f}" for name, value in found.items() if value is not None)
