"""Compute average precision against ground truth: ``nttt eval``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import console, flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run)
    parser.add_argument("predictions", type=Path, help="folder of nttt label, or COCO results file")
    parser.add_argument("--gt", type=Path, required=True, metavar="FILE", help="COCO ground truth")
    parser.add_argument(
        "--gt-images", type=Path, metavar="DIR", help="its images (found beside it, or where they were labeled)"
    )
    parser.add_argument("--match-by-name", action="store_true", help="map category ids by name")
    parser.add_argument("--classes", type=flags.names, metavar="A,B", help="only these categories")
    parser.add_argument("--engine", choices=("pycocotools", "faster-coco-eval"), default="pycocotools")
    flags.add_crowds_flag(parser)
    parser.add_argument("--no-drawings", action="store_true", help="draw no errors, curves and confusion matrix")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")


def run(options: argparse.Namespace) -> None:
    """Print the table."""
    with console.said_if_slow("Evaluating"):
        described, out, drawings = _evaluate(options)
    print(described)
    print(f"Written to {out}" + (f"; errors, best thresholds and curves: {drawings}" if drawings else ""))


def _evaluate(options: argparse.Namespace) -> tuple[str, Path, Path | None]:
    """Return the table, the file of the numbers, and the folder of drawings if there is one."""
    from no_time_to_train.reports.metrics_table import describe_metrics
    from no_time_to_train.tasks.evaluate import evaluate, metrics_file

    out = metrics_file(options.predictions)
    stem = "evaluation" if out.stem == "evaluation_metrics" else out.stem.replace("metrics", "evaluation")
    drawings = None if options.no_drawings else out.with_name(stem)
    metrics = evaluate(
        options.predictions,
        options.gt,
        images=options.gt_images,
        match_by_name=options.match_by_name,
        categories=options.classes,
        engine=options.engine,
        crowds_are_objects=options.crowds_are_objects,
        out=out,
        drawings=drawings,
    )
    described = describe_metrics(metrics, markdown=options.markdown)
    return flags.spell_flags(described, metrics.parameters, options.subparser), out, drawings
