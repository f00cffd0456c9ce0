"""Compare sources of masks on annotated images: ``nttt compare-proposals``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train.commands import console, flags
from no_time_to_train.errors import counted

if TYPE_CHECKING:
    from no_time_to_train.tasks.compare_proposals import ProposalComparison


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="COCO file with masks")
    parser.add_argument("--images", type=Path, metavar="DIR", help="its images (found beside it)")
    parser.add_argument("--refs", type=Path, metavar="FILE", help="COCO file of references for --annotations: adds nAP")
    parser.add_argument("--ref-images", type=Path, metavar="DIR", help="images of the references (found beside them)")
    parser.add_argument(
        "--sources",
        default="point_grid,automatic_masks,semantic_clusters,point_grid+semantic_clusters",
        metavar="A,B",
        help="names separated by commas; A+B is a union; own settings in brackets: automatic_masks[crop_n_layers=1]",
    )
    parser.add_argument("--shots", type=flags.positive, metavar="K", help="references per category of a benchmark (10)")
    parser.add_argument("--seed", type=int, metavar="N", help="of their drawing (33)")
    parser.add_argument("--limit", type=flags.positive, metavar="N", help="only the first N images")
    parser.add_argument(
        "--out", type=Path, default=Path("proposal_comparison"), metavar="DIR", help="default: proposal_comparison"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    flags.add_model_flags(parser)


def run(options: argparse.Namespace) -> None:
    """Print the table."""
    if options.annotations is None and (options.images or options.refs or options.ref_images):
        options.subparser.error("--images, --refs and --ref-images belong to --annotations, which is not given")
    if options.annotations is not None and (options.shots is not None or options.seed is not None):
        options.subparser.error("--shots and --seed draw references of a benchmark; with --annotations give --refs")
    drawing = {"shots": options.shots, "seed": options.seed}
    console.say_loading()
    from no_time_to_train.tasks.compare_proposals import compare_proposals

    comparison = compare_proposals(
        options.sources,
        annotations=options.annotations,
        images=options.images,
        references=options.refs,
        reference_images=options.ref_images,
        limit=options.limit,
        out=options.out,
        overrides=[f"{key}={value}" for key, value in drawing.items() if value is not None] + flags.settings(options),
        on_progress=console.console,
        command=options.command,
    )
    console.console.end_line()
    print(_table(comparison, markdown=options.markdown))
    print(f"\nWritten to {options.out}: comparison.csv, comparison.json, recall.png")
    if comparison.was_interrupted:
        raise KeyboardInterrupt


def _table(comparison: ProposalComparison, *, markdown: bool) -> str:
    from no_time_to_train.reports.text_table import align_columns

    counts = f"{counted(comparison.num_objects, 'object')} in {counted(comparison.num_images, 'image')}"
    title = f"\n{counts}; recalls and AP in per cent, masks ranked by predicted IoU"
    rows = [[result.name, *map(_format, result.columns().values())] for result in comparison.results]
    header = ["source", *comparison.results[0].columns()]
    return f"{title}\n{align_columns(header, rows, markdown=markdown)}"


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"
