"""Print every setting of a command line: ``nttt config``."""

from __future__ import annotations

import argparse

from no_time_to_train.commands import flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    flags.add_model_flags(parser)


def run(options: argparse.Namespace) -> None:
    """Print the settings as JSON."""
    import json

    from no_time_to_train.build import compose_config
    from no_time_to_train.config import to_dict

    print(json.dumps(to_dict(compose_config(flags.settings(options))), indent=2))
