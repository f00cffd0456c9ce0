"""List, get and check the data of the benchmarks: ``nttt data``."""

from __future__ import annotations

import argparse
import shlex

from no_time_to_train.commands import console, flags
from no_time_to_train.errors import InputError, counted


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their flags."""
    actions = flags.add_actions(parser)
    flags.add_action(actions, "list", "what every benchmark needs, and what is here", run_list, takes_overrides=True)
    for name, summary, run in (
        ("prepare", "download and unpack what a benchmark lacks, or say what to put where", run_prepare),
        ("verify", "read every file of a benchmark and list what is missing or damaged", run_verify),
    ):
        action = flags.add_action(actions, name, summary, run, takes_overrides=True)
        action.add_argument("benchmark", metavar="BENCHMARK", help="e.g. coco_fsod; a part as a setting: split=1")


def run_list(options: argparse.Namespace) -> None:
    """Print what there is."""
    from no_time_to_train.reports.text_table import align_columns
    from no_time_to_train.tasks.data import data_root, list_data

    rows = [(row.benchmark, row.what, row.size, row.license, row.state) for row in list_data(options.overrides)]
    print(align_columns(("benchmark", "needs", "size", "license", "state"), rows, numbers=False))
    root = data_root(options.overrides).resolve()
    print(f"\nLooked in {root} (benchmark.root=...). Get it: nttt data prepare NAME")


def run_prepare(options: argparse.Namespace) -> None:
    """Get what is missing."""
    from no_time_to_train.tasks.data import prepare_data

    prepare_data(options.benchmark, options.overrides, console.console)
    print(f"{options.benchmark} is complete. `{_command('verify', options)}` reads every image.")


def run_verify(options: argparse.Namespace) -> None:
    """Print every problem."""
    from no_time_to_train.tasks.data import verify_data

    problems = verify_data(options.benchmark, options.overrides, console.console)
    name = " ".join([options.benchmark, *(text for text in options.overrides if not text.startswith("root="))])
    if problems:
        found = counted(len(problems), "problem")
        raise InputError(f"{name}: {found}. `{_command('prepare', options)}` gets what is missing.")
    print(f"{name}: everything is here and can be read.")


def _command(action: str, options: argparse.Namespace) -> str:
    """Return the command that does another action with the same part of the same benchmark."""
    return " ".join(["nttt data", action, options.benchmark, *map(shlex.quote, options.overrides)])
