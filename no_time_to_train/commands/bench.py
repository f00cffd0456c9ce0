"""Run a benchmark, or sweep over its settings: ``nttt bench``."""

from __future__ import annotations

import argparse
import re

from no_time_to_train.commands import console, flags


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
        options.subparser.error(f"{several} has several values, one run for each: add -m")
    console.say_loading()
    if options.multirun:
        from no_time_to_train.tasks.sweep import sweep

        sweep(options.overrides, options.command)
        return
    from no_time_to_train.build import compose_bench_config
    from no_time_to_train.tasks.bench import run_benchmark

    run_benchmark(compose_bench_config(options.overrides), options.command)


def _has_several_values(override: str) -> bool:
    """Return whether Hydra reads a setting as a sweep: ``shots=1,10`` or ``seed=range(0,5)``."""
    value = override.partition("=")[2]
    if re.match(r"(range|choice|interval|glob)\(", value):
        return True
    outside = re.sub(r"'[^']*'|\"[^\"]*\"|\[.*\]|\{.*\}|\(.*\)", "", value)
    return "," in outside
