"""Print every setting of a command line: ``nttt config``."""

from __future__ import annotations

import argparse

from no_time_to_train.commands import flags

PAGE_INTRODUCTION = """# Settings

<!-- Made by `make settings-doc`; a test compares this page with the code. -->

Every setting, with its default, what it may be, and its meaning. `nttt config --explain [NAME]` prints the same for a
part, with the present values of a command line. How settings are written: [configuration](configuration.md).
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    parser.add_argument(
        "--explain",
        nargs="?",
        const="",
        metavar="NAME",
        help="say what every setting means, or those of NAME, e.g. merging",
    )
    parser.add_argument("--markdown", action="store_true", help="print the page of all settings and their defaults")
    flags.add_model_flags(parser)


def run(options: argparse.Namespace) -> None:
    """Print the settings as JSON, or what they mean."""
    import json

    from no_time_to_train.build import compose_bench_config, compose_config
    from no_time_to_train.config import BenchConfig, to_dict
    from no_time_to_train.settings.reference import explain, settings_page

    if options.markdown:
        print(settings_page(BenchConfig(), PAGE_INTRODUCTION), end="")
        return
    if options.explain is None:
        print(json.dumps(to_dict(compose_config(flags.settings(options))), indent=2))
        return
    if "=" in options.explain:  # argparse takes a setting for the name that was left out
        options.overrides.insert(0, options.explain)
        options.explain = ""
    print(explain(compose_bench_config(flags.settings(options)), options.explain))
