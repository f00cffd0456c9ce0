"""Review labeled images in the browser: ``nttt review``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train.commands import console, flags
from no_time_to_train.errors import counted

if TYPE_CHECKING:
    from no_time_to_train.review.session import ReviewSession


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    parser.add_argument("folder", type=Path, help="results folder of nttt label")
    parser.add_argument("--images", type=Path, metavar="DIR", help="where the images lie now (found in run.json)")
    flags.add_page_flags(parser)
    flags.add_model_flags(parser)


def run(options: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    with console.said_if_slow("Loading") as end_waiting:
        from no_time_to_train.review.session import ReviewSession

        serve(ReviewSession.of_results(options.folder, options.images), options, end_waiting)


def serve(session: ReviewSession, options: argparse.Namespace, on_open: Callable[[], None]) -> None:
    """Open the page of a session and serve it until Ctrl-C; ``on_open`` is called before its address is printed."""
    import webbrowser

    from no_time_to_train.review.prompted_masks import PromptedMasks
    from no_time_to_train.review.rounds import ReviewModels, review_jobs
    from no_time_to_train.review.serve import serve_review

    def tell(address: str) -> None:
        on_open()
        images = counted(len(session.file_names), "image")
        print(f"{images} from {session.images}. Every decision is saved at once; Ctrl-C ends.")
        problems = session.problems()
        if problems:
            print(f"{counted(len(problems), 'image')} cannot be shown. First: {problems[0]}")
        print(f"The page: {address}", flush=True)
        if not options.no_browser:
            webbrowser.open(address)

    models = ReviewModels(session, flags.settings(options))
    masks = PromptedMasks(models.mask_model)
    serve_review(session, masks, review_jobs(session, models), port=options.port, on_ready=tell)
