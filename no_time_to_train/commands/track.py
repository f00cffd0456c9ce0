"""Follow objects through a video: ``nttt track``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train.commands import console, flags
from no_time_to_train.errors import counted

if TYPE_CHECKING:
    from no_time_to_train.tasks.track import TrackReport

_MAX_SHOWN = 10
"""Objects that are named in the conclusion."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    parser.add_argument("video", type=Path, help="video file, or folder of frames")
    flags.add_memory_flags(parser)
    flags.add_min_score_flag(parser, "of a detection")
    parser.add_argument("--every", type=flags.positive, metavar="N", help="look for the references every N frames (10)")
    parser.add_argument("--max-frames", type=flags.positive, metavar="N", help="only the first N frames")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the video's name with _tracked")
    flags.add_overwrite_flag(parser)
    flags.add_model_flags(parser)


def run(options: argparse.Namespace) -> None:
    """Track the objects."""
    flags.check_memory_flags(options)
    console.say_loading()
    from no_time_to_train.tasks.track import track_video

    report = track_video(
        options.video,
        references=None if options.memory is not None else flags.read_references(options),
        memory=options.memory,
        out=options.out,
        min_score=options.min_score,
        overrides=flags.settings(options, {"tracking.key_frame_interval": options.every}),
        max_frames=options.max_frames,
        overwrite=options.overwrite,
        on_progress=console.console,
        command=options.command,
    )
    print(_conclusion(report))
    if report.problem:
        print(f"Note: {report.problem}")


def _conclusion(report: TrackReport) -> str:
    found = f"{counted(len(report.objects), 'object')} in {counted(report.num_frames, 'frame')}"
    if not report.objects:
        return f"{found}. Try a lower --min-score; {report.out / 'references'} shows what was looked for."
    shown = [f"#{o.track_id} {o.category} ({counted(o.num_frames, 'frame')})" for o in report.objects[:_MAX_SHOWN]]
    rest = ", ..." if len(report.objects) > _MAX_SHOWN else ""
    return (
        f"{found}: {', '.join(shown)}{rest}.\nLook at {report.out / 'overlay.mp4'}; masks are in "
        f"{report.out / 'annotations.json'}, boxes in {report.out / 'tracks.txt'}."
    )
