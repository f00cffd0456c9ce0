"""Say what this machine has and what is missing: ``nttt doctor``."""

from __future__ import annotations

import argparse

from no_time_to_train.commands import console, flags
from no_time_to_train.errors import EnvironmentProblemError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run)


def run(options: argparse.Namespace) -> None:
    """Print the findings."""
    console.say_loading()
    from no_time_to_train.tasks.doctor import doctor

    checks = doctor()
    width = max(len(check.name) for check in checks)
    for check in checks:
        print(f"{check.name.ljust(width)}  {check.state.ljust(6)}  {check.text}")
    broken = [check.name for check in checks if check.state == "broken"]
    if broken:
        raise EnvironmentProblemError(f"{len(broken)} of {len(checks)} checks failed: {', '.join(broken)}.")
    print("Nothing is broken.")
