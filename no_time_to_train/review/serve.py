"""Start the review page on this machine."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from no_time_to_train.errors import missing_package
from no_time_to_train.review.jobs import ReviewJobs
from no_time_to_train.review.prompted_masks import PromptedMasks
from no_time_to_train.review.session import ReviewSession


def serve_review(
    session: ReviewSession,
    masks: PromptedMasks,
    jobs: ReviewJobs,
    *,
    port: int | None = None,
    on_ready: Callable[[str], None],
) -> None:
    """Serve the review page until the program is interrupted.

    Args:
        session: what is reviewed.
        masks: answers clicks and boxes.
        jobs: what the page's buttons start.
        port: to listen to; None: a free one.
        on_ready: called with the address to open, token included, once the server answers.

    Raises:
        InputError: the port is in use.
        EnvironmentProblemError: the server's packages are not installed.
    """
    try:
        from no_time_to_train.review.app import create_app
        from no_time_to_train.web.serving import THIS_MACHINE, listen, serve
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    with listen(port) as listener:
        own_port = listener.getsockname()[1]
        token = secrets.token_urlsafe(24)
        app = create_app(session, masks, jobs, port=own_port, token=token)
        session.overview()  # thousands of records take seconds to read: before anybody waits for the page
        on_ready(f"http://{THIS_MACHINE}:{own_port}/?token={token}")
        serve(app, listener)
