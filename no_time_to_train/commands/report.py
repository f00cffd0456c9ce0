"""Put finished runs beside the published numbers: ``nttt report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run)
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder of runs of nttt bench")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: report/ in RUNS")


def run(options: argparse.Namespace) -> None:
    """Print the tables."""
    from no_time_to_train.tasks.report import ReportOptions, report

    report(ReportOptions(options.runs, options.out))
