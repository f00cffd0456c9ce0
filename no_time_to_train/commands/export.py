"""Write labeled images in a format other programs open: ``nttt export``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train.commands import console, flags
from no_time_to_train.errors import counted

if TYPE_CHECKING:
    from no_time_to_train.tasks.export import ExportReport

_FORMATS = (
    "coco",
    "coco-rle",
    "yolo",
    "label-studio",
    "cvat",
    "datumaro",
    "labelme",
    "voc",
    "roboflow",
    "csv",
    "crops",
)
"""As in ``outputs.exports.formats``, which is too heavy to import for a help text (a test compares them)."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run)
    parser.add_argument("source", type=Path, help="folder of nttt label, or a COCO file")
    parser.add_argument("--to", required=True, choices=_FORMATS, metavar="FORMAT", help=", ".join(_FORMATS))
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the source's name with _FORMAT")
    parser.add_argument(
        "--min-score", metavar="S", help="lowest score, e.g. 0.5 or boat=0.6,bird=0.5 (as labeled or reviewed)"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="the images (those labeled, or beside the file)")
    parser.add_argument(
        "--image-files", choices=("copy", "link", "none"), default="copy", help="what becomes of the images (copy)"
    )
    parser.add_argument("--val-share", type=float, default=0.2, metavar="P", help="part for validation (0.2)")
    parser.add_argument(
        "--shape", choices=("mask", "polygon"), default="mask", help="for label-studio, cvat, datumaro (mask)"
    )
    parser.add_argument(
        "--image-prefix",
        default="/data/local-files/?d=images/",
        metavar="URL",
        help="label-studio: what stands before file names (/data/local-files/?d=images/)",
    )


def run(options: argparse.Namespace) -> None:
    """Write the export and say what is in it."""
    with console.said_if_slow("Exporting") as end_waiting:
        report = _export(options, end_waiting)
    print(describe(report))


def _export(options: argparse.Namespace, end_waiting: Callable[[], None]) -> ExportReport:
    """Write the export; ``end_waiting`` is called before something is printed."""
    from no_time_to_train.review.session import REVIEW_FOLDER
    from no_time_to_train.tasks.export import export_dataset

    if (options.source / REVIEW_FOLDER / "per_image").is_dir():
        _take_reviewed_state(options, end_waiting)
    return export_dataset(
        options.source,
        options.to,
        options.out,
        min_score=options.min_score,
        images=options.images,
        image_files=options.image_files,
        val_share=options.val_share,
        shape=options.shape,
        image_prefix=options.image_prefix,
    )


def _take_reviewed_state(options: argparse.Namespace, end_waiting: Callable[[], None]) -> None:
    """Make the decisions of a reviewed folder what is exported, in place of the run's own annotations."""
    from no_time_to_train.references.min_scores import choose_min_scores
    from no_time_to_train.review.overview import describe_problems
    from no_time_to_train.review.session import REVIEW_FOLDER, ReviewSession

    folder = options.source
    session = ReviewSession.of_results(folder, options.images)
    annotations = folder / REVIEW_FOLDER / "annotations.json"
    now = session.thresholds.now
    lowest = choose_min_scores(options.min_score, session.categories, measured=now, otherwise=now.default)
    session.write_annotations(annotations, lowest)
    options.out = options.out or folder.resolve().with_name(f"{folder.resolve().name}_{options.to}")
    options.source, options.images, options.min_score = annotations, session.images, None
    images = counted(len(session.file_names), "image")
    end_waiting()
    done = f"With the decisions of the review: {len(session.numbers_done())} of {images} done."
    print(done + describe_problems(session.problems()))


def describe(report: ExportReport) -> str:
    """Describe in a few lines what an export holds and lacks."""
    counts = ", ".join(f"{name} {count}" for name, count in report.counts.items() if count)
    totals = f"{counted(report.num_objects, 'object')} in {counted(report.num_images, 'image')}"
    lines = [f"{report.folder}: {totals} as {report.format}" + (f": {counts}." if counts else ".")]
    if report.left_out:
        lines.append("Left out: " + "; ".join(f"{reason} ({count})" for reason, count in report.left_out.items()) + ".")
    return "\n".join(lines)
