"""The commands ``bench``, ``data`` and ``report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands.flags import Verbs, add_verb


def add_verbs(verbs: Verbs) -> None:
    """Add the parsers."""
    _add_bench(verbs)
    _add_report(verbs)
    _add_data(verbs)


def _add_bench(verbs: Verbs) -> None:
    parser = add_verb(verbs, "bench", "run a benchmark, or sweep over its settings", _bench, takes_overrides=True)
    parser.add_argument(
        "-m",
        "--multirun",
        action="store_true",
        help="a run for each combination of values: shots=1,10 'seed=range(0,5)'",
    )


def _add_report(verbs: Verbs) -> None:
    parser = add_verb(verbs, "report", "mean and std of finished runs beside the published numbers", _report)
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder of runs of nttt bench")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: report/ in RUNS")


def _bench(options: argparse.Namespace) -> None:
    if options.multirun:
        from no_time_to_train.tasks.sweep import sweep

        sweep(options.overrides, options.command)
        return
    from no_time_to_train.build import compose_bench_config
    from no_time_to_train.tasks.bench import run_benchmark

    run_benchmark(compose_bench_config(options.overrides), options.command)


def _report(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.report import ReportOptions, report

    report(ReportOptions(options.runs, options.out))


def _add_data(verbs: Verbs) -> None:
    parser = add_verb(verbs, "data", "list, get and check the data of the benchmarks", _data_list)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_verb(actions, "list", "what every benchmark needs, and what is here", _data_list, takes_overrides=True)
    for name, summary, run in (
        ("prepare", "download and unpack what a benchmark lacks, or say what to put where", _data_prepare),
        ("verify", "read every file of a benchmark and list what is missing or damaged", _data_verify),
    ):
        action = add_verb(actions, name, summary, run, takes_overrides=True)
        action.add_argument("benchmark", metavar="BENCHMARK", help="e.g. coco_fsod; a part as a setting: split=1")


def _data_list(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.data import list_data

    list_data(options.overrides)


def _data_prepare(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.data import prepare_data

    prepare_data(options.benchmark, options.overrides)


def _data_verify(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.data import verify_data

    verify_data(options.benchmark, options.overrides)
