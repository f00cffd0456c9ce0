"""Listen to a port, and serve an application there."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import uvicorn

from no_time_to_train.errors import InputError, Parameter

THIS_MACHINE = "127.0.0.1"

Application = Callable[..., Awaitable[Any]]
"""As ASGI has it."""


def listen(port: int | None, host: str = THIS_MACHINE) -> socket.socket:
    """Return a socket that listens.

    Args:
        port: None: a free one.
        host: address of this machine to listen at.

    Raises:
        InputError: it cannot, as where another program uses the port.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port or 0))
        listener.listen(64)
    except OSError as error:
        listener.close()
        given = Parameter("port", port)
        raise InputError(
            f"{given} cannot be used at {host} ({error.strerror}): another program may be listening to it. "
            "Give another one.",
            parameters=[given],
        ) from error
    return listener


def serve(app: Application, listener: socket.socket) -> None:
    """Answer requests until the program is interrupted."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    with suppress(KeyboardInterrupt):  # the usual way to end
        server.run(sockets=[listener])
