"""Put finished runs beside the published numbers: ``nttt report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import console, flags
from no_time_to_train.errors import counted, install_command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run)
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder of runs of nttt bench")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: report/ in RUNS")


def run(options: argparse.Namespace) -> None:
    """Print the tables."""
    with console.said_if_slow("Reading runs"):
        from no_time_to_train.tasks.report import report

        made = report(options.runs, out=options.out)
    if not made.has_matplotlib:
        print(f"No plots: matplotlib is not installed ({install_command('bench')}).")
    print(made.tables())
    if made.left_out:
        total = counted(made.num_runs + len(made.left_out), "run")
        print(f"Left out, {len(made.left_out)} of {total}:\n{made.unfinished()}")
    plots = counted(len(made.plots), "plot")
    print(f"Written to {made.out}: report.md, report.csv, report.tex and {plots}.")
