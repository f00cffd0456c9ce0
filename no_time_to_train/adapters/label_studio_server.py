"""Start the backend for Label Studio."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from no_time_to_train.adapters.label_studio_images import TaskImages
from no_time_to_train.adapters.memory_labeler import MemoryLabeler
from no_time_to_train.errors import InputError, InputFileNotFoundError, Parameter, missing_package
from no_time_to_train.references.min_scores import MinScoreRequest

try:
    from no_time_to_train.adapters.label_studio import create_app
    from no_time_to_train.web.serving import listen, serve
except ModuleNotFoundError as error:
    raise missing_package(error) from error


def serve_label_studio(
    memory: str | Path,
    *,
    min_score: MinScoreRequest = None,
    overrides: Sequence[str] = (),
    label_studio_url: str | None = None,
    images: str | Path | None = None,
    image_hosts: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int | None = None,
    on_ready: Callable[[str], None],
) -> None:
    """Serve Label Studio with predictions until the program is interrupted.

    ``LABEL_STUDIO_URL``, ``LABEL_STUDIO_API_KEY``, ``BASIC_AUTH_USER`` and ``BASIC_AUTH_PASS`` are read from the
    environment, as by Label Studio's own backends.

    Args:
        memory: file of ``fit``.
        min_score: as of ``label_folder``.
        overrides: settings as ``"key=value"``.
        label_studio_url: of the server that images are fetched from; None: ``LABEL_STUDIO_URL``.
        images: folder that Label Studio's local files are relative to; None: they are fetched.
        image_hosts: further addresses to fetch images from, such as ``https://example.org``.
        host: address to listen at. One that others can reach needs a user and a password.
        port: to listen to; None: a free one.
        on_ready: called with the backend's address once the models are loaded.

    Raises:
        InputError: the port is in use, or others could reach the server without a password.
        InputFileNotFoundError: the memory file or the folder is not there.
        WeightsNotFoundError: a model's weights are not there.
    """
    credentials = _credentials(os.environ)
    is_local = _is_this_machine(host)
    if not is_local and credentials is None:
        given = Parameter("host", host)
        raise InputError(
            f"{given} lets other machines in: set BASIC_AUTH_USER and BASIC_AUTH_PASS, and give both to Label Studio "
            "where the model is connected.",
            parameters=[given],
        )
    folder = None if images is None else Path(images)
    if folder is not None and not folder.is_dir():
        raise InputFileNotFoundError(f"{folder}: no such folder.")
    url = label_studio_url or os.environ.get("LABEL_STUDIO_URL")
    task_images = TaskImages(url, os.environ.get("LABEL_STUDIO_API_KEY"), folder, image_hosts)
    with listen(port, host) as listener:
        labeler = MemoryLabeler(memory, min_score=min_score, overrides=overrides)
        app = create_app(labeler, task_images, is_local=is_local, credentials=credentials)
        on_ready(f"http://{host}:{listener.getsockname()[1]}")
        serve(app, listener)


def _credentials(environment: Mapping[str, str]) -> tuple[str, str] | None:
    user, password = environment.get("BASIC_AUTH_USER"), environment.get("BASIC_AUTH_PASS")
    if bool(user) != bool(password):
        raise InputError("set both BASIC_AUTH_USER and BASIC_AUTH_PASS, or none.")
    return (user, password) if user and password else None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
