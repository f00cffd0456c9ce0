"""Label a folder of images: ``nttt label``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import console, flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    parser.add_argument("images", type=Path, help="folder of images, sub-folders included")
    flags.add_memory_flags(parser)
    parser.add_argument("--min-score", type=float, metavar="S", help="lowest score drawn and annotated (0.4)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the images folder's name with _labeled")
    flags.add_overwrite_flag(parser)
    parser.add_argument("--strict", action="store_true", help="stop at an image that cannot be read")
    parser.add_argument("--limit", type=flags.positive, metavar="N", help="only the first N images")
    flags.add_model_flags(parser)


def run(options: argparse.Namespace) -> None:
    """Label the images."""
    flags.check_memory_flags(options)
    console.say_loading()
    from no_time_to_train.tasks.label import LabelOptions, label

    label(
        LabelOptions(
            images=options.images,
            references=flags.references(options),
            memory=options.memory,
            out=options.out,
            overrides=flags.settings(options, {"output.draw_min_score": options.min_score}),
            limit=options.limit,
            overwrite=options.overwrite,
            strict=options.strict,
            command=options.command,
        )
    )
