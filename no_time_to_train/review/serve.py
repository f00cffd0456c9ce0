"""Start the review page on this machine."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from contextlib import suppress

from no_time_to_train.errors import EnvironmentProblemError, InputError, Parameter, install_command
from no_time_to_train.review.jobs import ReviewJobs
from no_time_to_train.review.prompted_masks import PromptedMasks
from no_time_to_train.review.session import ReviewSession

_HOST = "127.0.0.1"


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
        import uvicorn

        from no_time_to_train.review.app import create_app
    except ModuleNotFoundError as error:
        raise EnvironmentProblemError(
            f"The review page needs {error.name}, which is not installed: {install_command('app')}."
        ) from error
    with _listen(port) as listener:
        own_port = listener.getsockname()[1]
        token = secrets.token_urlsafe(24)
        app = create_app(session, masks, jobs, port=own_port, token=token)
        on_ready(f"http://{_HOST}:{own_port}/?token={token}")
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        with suppress(KeyboardInterrupt):  # the usual way to end
            server.run(sockets=[listener])


def _listen(port: int | None) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port or 0))
        listener.listen(64)
    except OSError as error:
        listener.close()
        given = Parameter("port", port)
        raise InputError(
            f"{given} cannot be used ({error.strerror}): another program may be listening to it. Give another one, or "
            "none for a free one.",
            parameters=[given],
        ) from error
    return listener
