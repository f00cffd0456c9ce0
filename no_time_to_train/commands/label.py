"""Label images: ``nttt label``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train.commands import console, flags
from no_time_to_train.errors import counted

if TYPE_CHECKING:
    from no_time_to_train.tasks.label import LabelReport

_MAX_NOT_FOUND = 10
"""Categories without objects that are named."""
_SHARE_OF_BEST_SCORE = 0.8
"""Where to look for objects if none scores enough."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    flags.add_images_argument(parser)
    flags.add_memory_flags(parser)
    flags.add_min_score_flag(parser, "drawn and annotated")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the images' folder with _labeled")
    flags.add_overwrite_flag(parser)
    parser.add_argument("--strict", action="store_true", help="stop at an image that cannot be read")
    parser.add_argument("--limit", type=flags.positive, metavar="N", help="only the first N images")
    flags.add_model_flags(parser)


def run(options: argparse.Namespace) -> None:
    """Label the images."""
    images = flags.read_images(options)
    flags.check_memory_flags(options)
    console.say_loading()
    from no_time_to_train.tasks.label import label_folder

    report = label_folder(
        images,
        references=None if options.memory is not None else flags.read_references(options),
        memory=options.memory,
        out=options.out,
        min_score=options.min_score,
        overrides=flags.settings(options),
        limit=options.limit,
        overwrite=options.overwrite,
        strict=options.strict,
        on_progress=console.console,
        command=options.command,
    )
    print(_conclusion(report))


def _conclusion(report: LabelReport) -> str:
    out = report.out
    skipped = f"; {len(report.problems)} could not be read, see errors.csv" if report.problems else ""
    scores = _describe(sorted(set(report.min_scores.values())))
    found = f"{counted(report.num_objects, 'object')} above {scores} in {counted(report.num_images, 'image')}{skipped}"
    if report.num_objects:
        counts = ", ".join(f"{name} {count}" for name, count in report.counts.items() if count)
        where = f"Look at {out / 'index.html'}; annotations are in {out / 'annotations.json'}."
        return f"{found}: {counts}{_not_found(report.counts)}.\n{where}"
    if report.best_score is None:
        return f"{found}. Nothing resembles the references at all: see {out / 'references'} for what was looked for."
    lower = report.best_score * _SHARE_OF_BEST_SCORE
    return (
        f"{found}; best score {report.best_score:.2f}. See overlays with --min-score {lower:.2f} (nothing is computed "
        f"again), and {out / 'references'} for what was looked for."
    )


def _not_found(counts: Mapping[str, int]) -> str:
    """Return the categories without objects; of many only how many there are."""
    names = [name for name, count in counts.items() if not count]
    if not names:
        return ""
    listed = ", ".join(names) if len(names) <= _MAX_NOT_FOUND else counted(len(names), "other category")
    return f"; nothing found of {listed}"


def _describe(min_scores: Sequence[float]) -> str:
    if len(min_scores) == 1:
        return f"{min_scores[0]:.2f}"
    return f"{min_scores[0]:.2f} to {min_scores[-1]:.2f} (by category, see run.json)"
