"""Run a benchmark, or sweep over its settings: ``nttt bench``."""

from __future__ import annotations

import argparse

from no_time_to_train.commands import flags


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
    if options.multirun:
        from no_time_to_train.tasks.sweep import sweep

        sweep(options.overrides, options.command)
        return
    from no_time_to_train.build import compose_bench_config
    from no_time_to_train.tasks.bench import run_benchmark

    run_benchmark(compose_bench_config(options.overrides), options.command)
