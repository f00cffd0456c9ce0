"""``nttt bench -m``: a run for every combination of values.

Runs are in this process, or wherever Hydra's launcher takes them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from no_time_to_train.build import sweep_bench_configs
from no_time_to_train.config import BenchConfig
from no_time_to_train.errors import NoTimeToTrainError
from no_time_to_train.files.formats import write_json
from no_time_to_train.runs.launch import check_sweep, is_first_process
from no_time_to_train.runs.progress import OnProgress, tell_nobody
from no_time_to_train.runs.shared_entries import forget_entries
from no_time_to_train.settings.composing import SweepJob
from no_time_to_train.tasks.bench import BenchReport, run_composed

_OUTCOME = "outcome.json"


@dataclass(frozen=True)
class SweepOutcome:
    """What one run of a sweep came to.

    Attributes:
        report: what it measured; None: it failed.
        problem: its settings and what went wrong; None: it finished.
    """

    report: BenchReport | None
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the content of the outcome's file."""
        return {"run": None if self.report is None else str(self.report.out), "problem": self.problem}

    @classmethod
    def read(cls, file: Path) -> SweepOutcome:
        """Read the outcome that a run left, perhaps on another machine."""
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["run"] is None:
            return cls(None, content["problem"])
        out = Path(content["run"])
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        return cls(BenchReport(out, metrics, was_finished=True), None)


OnOutcome = Callable[[SweepOutcome], None]
"""Is told what each run came to, in the process that carried it out."""


def _keep_quiet(outcome: SweepOutcome) -> None:
    """Take the place of an ``on_outcome`` that was not given."""


def sweep(
    overrides: Sequence[str], *, on_progress: OnProgress = tell_nobody, on_outcome: OnOutcome = _keep_quiet
) -> tuple[SweepOutcome, ...]:
    """Carry out all runs that are not finished.

    One that fails does not stop the others.

    Args:
        overrides: settings, some with several values: ``shots=1,10``, ``seed=range(0,5)``.
        on_progress: is told how far each run is.
        on_outcome: is told what each run came to, as it ends. Both must be picklable where Hydra's launcher starts
            processes.

    Returns:
        All outcomes, in order; nothing in all processes but the first.

    Raises:
        InputError: a bad setting.
    """
    folder = Path(runs_folder(overrides)) / ".sweeps" / hashlib.sha256("\0".join(overrides).encode()).hexdigest()[:12]
    if is_first_process():
        shutil.rmtree(folder, ignore_errors=True)
    try:
        sweep_bench_configs(overrides, folder, partial(_run, on_progress=on_progress, on_outcome=on_outcome))
    finally:
        forget_entries()
    if not is_first_process():
        return ()
    files = sorted(folder.glob(f"*/{_OUTCOME}"), key=lambda file: int(file.parent.name))
    return tuple(map(SweepOutcome.read, files))


def runs_folder(overrides: Sequence[str]) -> str:
    """Return the folder of all runs of these settings."""
    return next((o.split("=", 1)[1] for o in reversed(overrides) if o.startswith("runs=")), BenchConfig().runs)


def _run(config: BenchConfig, job: SweepJob, on_progress: OnProgress, on_outcome: OnOutcome) -> None:
    """Carry out one job. Its outcome goes into a file: it may run on another machine."""
    check_sweep(config.trainer)
    try:
        command = ["nttt", "bench", *job.overrides]
        report = run_composed(config, on_progress=on_progress, command=command, keeps_for_next=True)
        outcome = SweepOutcome(report, None)
    except NoTimeToTrainError as error:
        outcome = SweepOutcome(None, f"{' '.join(job.overrides)}: {error}")
    if is_first_process():
        write_json(job.folder / _OUTCOME, outcome.to_json())
        on_outcome(outcome)
