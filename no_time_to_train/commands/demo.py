"""Run the bundled models on the bundled benchmark: ``nttt demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import console, flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    parser.add_argument("--out", type=Path, default=Path("nttt_demo"), metavar="DIR", help="default: nttt_demo")
    parser.add_argument("--shots", type=flags.positive, default=10, metavar="K", help="references per category (10)")
    parser.add_argument("--seed", type=int, default=33, metavar="N", help="of the drawing of references (33)")
    parser.add_argument("--limit", type=flags.positive, metavar="N", help="only the first N test images")
    flags.add_overwrite_flag(parser)
    flags.add_model_flags(parser)


def run(options: argparse.Namespace) -> None:
    """Label the test images and print the table."""
    console.say_loading()
    from no_time_to_train.reports.metrics_table import describe_metrics
    from no_time_to_train.tasks.demo import run_demo

    report = run_demo(
        options.out,
        shots=options.shots,
        seed=options.seed,
        limit=options.limit,
        overrides=flags.settings(options),
        overwrite=options.overwrite,
        on_progress=console.console,
        command=options.command,
    )
    print(f"\n{describe_metrics(report.metrics)}")
    out = report.out
    print(f"\nImages: {out / 'sheet.jpg'} and {out / 'index.html'}; numbers: metrics.json there.")
