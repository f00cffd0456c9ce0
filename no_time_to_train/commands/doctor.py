"""Say what this machine has and what is missing: ``nttt doctor``."""

from __future__ import annotations

import argparse

from no_time_to_train.commands import flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run)


def run(options: argparse.Namespace) -> None:
    """Print the findings."""
    from no_time_to_train.tasks.doctor import doctor

    doctor()
