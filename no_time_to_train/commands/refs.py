"""Look at references, or draw them: ``nttt refs check`` and ``nttt refs draw``."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train.commands import console, flags
from no_time_to_train.errors import counted

if TYPE_CHECKING:
    from no_time_to_train.tasks.check_references import ReferenceReport

_SHOWN = 30
"""Rows of the table that are printed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their flags."""
    actions = flags.add_actions(parser)
    check = flags.add_action(actions, "check", "score every reference by the others", run_check, takes_overrides=True)
    check.add_argument("refs", type=Path, nargs="?", help="COCO file or folder of references")
    check.add_argument("--out", type=Path, metavar="DIR", help="default: the references' name with _checked")
    flags.add_reference_flags(check)
    flags.add_model_flags(check)
    draw = flags.add_action(actions, "draw", "draw references on images in the browser", run_draw, takes_overrides=True)
    flags.add_images_argument(draw)
    draw.add_argument("--out", type=Path, metavar="DIR", help="default: the images' folder with _references")
    flags.add_page_flags(draw)
    flags.add_model_flags(draw)


def run_check(options: argparse.Namespace) -> None:
    """Print the scores, the worst first."""
    flags.require_references(options)
    console.say_loading()
    references = flags.read_references(options)
    from no_time_to_train.reports.text_table import align_columns
    from no_time_to_train.tasks.check_references import HEADER, check_references

    out = options.out or _default_folder(options.refs)
    report = check_references(references, out=out, overrides=flags.settings(options), on_progress=console.console)
    rows = report.rows()
    print(align_columns(HEADER, rows[:_SHOWN], numbers=False))
    if len(rows) > _SHOWN:
        print(f"... and {len(rows) - _SHOWN} better ones, see {out / 'references.csv'}")
    print()
    print("\n".join(_conclusions(report)))
    print(f"Images of all references, the worst first, and the table: {out}")


def _default_folder(path: Path | None) -> Path:
    """Return the folder beside the references that has their name with ``_checked``."""
    if path is None:
        return Path("refs_checked")
    path = path.resolve()
    return path.with_name(f"{path.stem if path.is_file() else path.name}_checked")


def _conclusions(report: ReferenceReport) -> Iterator[str]:
    """Yield what to do about the references, one line each."""
    from no_time_to_train.tasks.check_references import SMALL_PX

    checked = counted(len(report.references), "reference")
    if report.num_skipped:
        yield f"{report.num_skipped} of {report.num_references} references cannot be used (see the warnings)."
    none = [name for name, count in report.counts().items() if count == 0]
    if none:
        yield f"No usable reference: {', '.join(none)}. These categories will never be found."
    single = [name for name, count in report.counts().items() if count == 1]
    if single:
        yield f"One reference only, so it cannot be left out: {', '.join(single)}. Add a second to have it checked."
    if report.num_mislabeled:
        yield f"{report.num_mislabeled} of {checked} look more like another category: correct them or leave them out."
    if report.num_small:
        yield f"{report.num_small} of {checked} are small (below {SMALL_PX} px): larger ones are better examples."
    if report.min_scores is None:
        yield "No thresholds were measured: --min-score auto will take the number of output.draw_min_score."
    else:
        by_name = report.min_scores.by_name(report.categories)
        measured = ",".join(f"{name}={score:.2f}" for name, score in by_name.items())
        yield f"Thresholds measured on the reference images, those of --min-score auto: {measured}"


def run_draw(options: argparse.Namespace) -> None:
    """Serve the page to draw on until Ctrl-C."""
    with console.said_if_slow("Loading") as end_waiting:
        from no_time_to_train.commands.review import serve
        from no_time_to_train.data.image_selection import ImageSelection
        from no_time_to_train.review.session import ReviewSession
        from no_time_to_train.tasks.image_folder import default_out

        images = ImageSelection.of(flags.read_images(options))
        out = options.out or default_out(images, "references")
        serve(ReviewSession.of_images(images, out), options, end_waiting)
    label = ["nttt", "label", *map(str, images.names), "--refs", str(out / "references.json")]
    print(f"Label with them: {shlex.join([*label, '--ref-images', str(images.root)])}")
