"""Look at references before using them: ``nttt refs check``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their flags."""
    actions = flags.add_actions(parser, run_check)
    check = flags.add_action(actions, "check", "score every reference by the others", run_check, takes_overrides=True)
    check.add_argument("refs", type=Path, nargs="?", help="COCO file or folder of references")
    check.add_argument("--out", type=Path, metavar="DIR", help="default: the references' name with _checked")
    flags.add_reference_flags(check)
    flags.add_model_flags(check)


def run_check(options: argparse.Namespace) -> None:
    """Print the scores, the worst first."""
    flags.require_references(options)
    from no_time_to_train.tasks.check_references import CheckOptions, check_references

    check_references(CheckOptions(flags.references(options), options.out, flags.settings(options)))
