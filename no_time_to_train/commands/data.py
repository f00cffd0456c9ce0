"""List, get and check the data of the benchmarks: ``nttt data``."""

from __future__ import annotations

import argparse

from no_time_to_train.commands import flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their flags."""
    actions = flags.add_actions(parser, run_list)
    flags.add_action(actions, "list", "what every benchmark needs, and what is here", run_list, takes_overrides=True)
    for name, summary, run in (
        ("prepare", "download and unpack what a benchmark lacks, or say what to put where", run_prepare),
        ("verify", "read every file of a benchmark and list what is missing or damaged", run_verify),
    ):
        action = flags.add_action(actions, name, summary, run, takes_overrides=True)
        action.add_argument("benchmark", metavar="BENCHMARK", help="e.g. coco_fsod; a part as a setting: split=1")


def run_list(options: argparse.Namespace) -> None:
    """Print what there is."""
    from no_time_to_train.tasks.data import list_data

    list_data(options.overrides)


def run_prepare(options: argparse.Namespace) -> None:
    """Get what is missing."""
    from no_time_to_train.tasks.data import prepare_data

    prepare_data(options.benchmark, options.overrides)


def run_verify(options: argparse.Namespace) -> None:
    """Print every problem."""
    from no_time_to_train.tasks.data import verify_data

    verify_data(options.benchmark, options.overrides)
