"""Follow objects through a video: ``nttt track``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import console, flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    parser.add_argument("video", type=Path, help="video file, or folder of frames")
    flags.add_memory_flags(parser)
    parser.add_argument("--min-score", type=float, metavar="S", help="lowest score of a detection (0.4)")
    parser.add_argument("--every", type=flags.positive, metavar="N", help="look for the references every N frames (10)")
    parser.add_argument("--max-frames", type=flags.positive, metavar="N", help="only the first N frames")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the video's name with _tracked")
    flags.add_overwrite_flag(parser)
    flags.add_model_flags(parser)


def run(options: argparse.Namespace) -> None:
    """Track the objects."""
    flags.check_memory_flags(options)
    console.say_loading()
    from no_time_to_train.tasks.track import TrackOptions, track

    track(
        TrackOptions(
            video=options.video,
            references=flags.references(options),
            memory=options.memory,
            out=options.out,
            overrides=flags.settings(
                options, {"tracking.min_score": options.min_score, "tracking.key_frame_interval": options.every}
            ),
            max_frames=options.max_frames,
            overwrite=options.overwrite,
            command=options.command,
        )
    )
