"""Run a benchmark, or sweep over its settings: ``nttt bench``."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from no_time_to_train.commands import console, flags
from no_time_to_train.errors import InputError

if TYPE_CHECKING:
    from no_time_to_train.tasks.bench import BenchReport
    from no_time_to_train.tasks.sweep import SweepOutcome


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    parser.add_argument(
        "-m",
        "--multirun",
        action="store_true",
        help="a run for each combination of values: shots=1,10 'seed=range(0,5)'",
    )


def run(options: argparse.Namespace) -> None:
    """Run it, or every combination of values."""
    several = next((text for text in options.overrides if _has_several_values(text)), None)
    if several is not None and not options.multirun:
        name, _, value = several.partition("=")
        quoted = shlex.quote(f"{name}='{value}'")
        options.subparser.error(
            f"{several} has several values, one run for each: add -m. One value with a comma needs quotes: {quoted}"
        )
    console.say_loading()
    if options.multirun:
        _sweep(options.overrides)
        return
    from no_time_to_train.build import compose_bench_config

    compose_bench_config(options.overrides)  # a wrong setting is told before the seconds that Lightning takes
    from no_time_to_train.runs.launch import is_first_process
    from no_time_to_train.tasks.bench import run_benchmark
    from no_time_to_train.tasks.sweep import runs_folder

    report = run_benchmark(options.overrides, on_progress=console.console, command=options.command)
    if not is_first_process():
        return
    _show(report)
    if not report.was_finished:
        print(f"Files are in {report.out}; tables and plots: nttt report {runs_folder(options.overrides)}", flush=True)


def _sweep(overrides: Sequence[str]) -> None:
    from no_time_to_train.runs.launch import is_first_process
    from no_time_to_train.tasks.sweep import runs_folder, sweep

    outcomes = sweep(overrides, on_progress=console.console, on_outcome=_show_outcome)
    if is_first_process():
        _conclude(outcomes, runs_folder(overrides))


def _show(report: BenchReport) -> None:
    """Print the numbers of a run, or that it has been finished before."""
    from no_time_to_train.reports.metrics_table import format_metrics

    finished_before = f"{report.out}: finished before, skipped."
    print(finished_before if report.was_finished else format_metrics(report.metrics), flush=True)


def _show_outcome(outcome: SweepOutcome) -> None:
    if outcome.report is not None:
        _show(outcome.report)
    else:
        print(outcome.problem, file=sys.stderr, flush=True)


def _conclude(outcomes: Sequence[SweepOutcome], runs: str) -> None:
    """Print one line for each run, and what to do next."""
    finished = [outcome.report for outcome in outcomes if outcome.report is not None]
    print(f"\n{len(finished)} of {len(outcomes)} runs are finished:")
    for report in finished:
        print(f"{report.out}: {_headline(report.metrics)}")
    if finished:
        print(f"Mean, standard deviation and plots: nttt report {runs}", flush=True)
    problems = [outcome.problem for outcome in outcomes if outcome.problem is not None]
    if problems:
        raise InputError(f"{len(problems)} of {len(outcomes)} runs failed. First: {problems[0]}")


def _headline(metrics: Mapping[str, Any]) -> str:
    """Return the main numbers: ``box nAP 36.6, mask nAP 30.2``."""
    found = {"box nAP": metrics["box"].get("nAP"), "mask nAP": metrics["mask"].get("nAP"), "mIoU": metrics.get("miou")}
    return ", ".join(f"{name} {value:.1f}" for name, value in found.items() if value is not None)


def _has_several_values(override: str) -> bool:
    """Return whether Hydra reads a setting as a sweep: ``shots=1,10`` or ``seed=range(0,5)``."""
    value = override.partition("=")[2]
    if re.match(r"(range|choice|interval|glob)\(", value):
        return True
    outside = re.sub(r"'[^']*'|\"[^\"]*\"|\[.*\]|\{.*\}|\(.*\)", "", value)
    return "," in outside
