"""Propose class-free masks of images: ``nttt propose``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import console, flags
from no_time_to_train.errors import counted

_METHODS = {"semantic": "semantic_clusters", "grid": "point_grid", "automatic": "automatic_masks"}
"""What ``--method`` may be, and the source of proposals that it stands for."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    flags.add_images_argument(parser)
    parser.add_argument(
        "--method",
        choices=tuple(_METHODS),
        help="semantic: clusters of the encoder's features (default); grid: a regular grid of points; "
        "automatic: SAM's automatic masks. Other sources by proposals=NAME",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the images' folder with _proposals")
    flags.add_overwrite_flag(parser)
    parser.add_argument("--limit", type=flags.positive, metavar="N", help="only the first N images")
    flags.add_model_flags(parser)


def run(options: argparse.Namespace) -> None:
    """Write the masks of every image."""
    images = flags.read_images(options)
    overrides = flags.settings(options)
    if not any(override.startswith("proposals=") for override in overrides):
        overrides.append(f"proposals={_METHODS[options.method or 'semantic']}")
    elif options.method is not None:
        options.subparser.error("--method and proposals=... both choose the source of the masks; give one of them")
    console.say_loading()
    from no_time_to_train.tasks.propose import propose_folder

    report = propose_folder(
        images,
        out=options.out,
        overrides=overrides,
        limit=options.limit,
        overwrite=options.overwrite,
        on_progress=console.console,
        command=options.command,
    )
    problems = f"; {len(report.problems)} could not be read, see errors.csv" if report.problems else ""
    print(
        f"{counted(report.num_masks, 'mask')} in {counted(report.num_images, 'image')}{problems}.\n"
        f"Look at {report.out / 'index.html'}; masks are in {report.out / 'proposals.json'}."
    )
