"""A machine learning backend for Label Studio: what it asks over HTTP, and predictions as answers.

Label Studio sends ``/health``, ``/setup``, ``/predict`` and ``/webhook`` to the address it is given under Settings >
Model. The address and key of Label Studio that a request names are not used: anybody could name their own.
"""

from __future__ import annotations

import base64
import logging
import secrets
import xml.etree.ElementTree as ElementTree
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from no_time_to_train.adapters.label_studio_images import TaskImages
from no_time_to_train.errors import NoTimeToTrainError
from no_time_to_train.outputs.exports.dataset import objects_of
from no_time_to_train.outputs.exports.label_studio import TAGS, Control, prediction
from no_time_to_train.structures import Category, Detections
from no_time_to_train.web.serving import Application

logger = logging.getLogger(__name__)

_NAMES_OF_THIS_MACHINE = ("127.0.0.1", "localhost", "host.docker.internal")


class Labeler(Protocol):
    """As of ``MemoryLabeler``."""

    categories: tuple[Category, ...]
    version: str

    def label(self, image: np.ndarray) -> Detections:
        """Return the objects of an image."""


@dataclass(frozen=True)
class LabelingConfig:
    """What a project's labeling configuration says of predictions.

    Attributes:
        control: what they are given with.
        image_key: of a task's data: where the image is.
        labels: that may be given.
    """

    control: Control
    image_key: str
    labels: frozenset[str]

    @classmethod
    def read(cls, text: str) -> LabelingConfig:
        """Read the XML of a labeling configuration.

        Masks are preferred to polygons, and polygons to boxes, where there are several tags.

        Raises:
            NoTimeToTrainError: it is no XML, or has no tag for labels of an image.
        """
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise NoTimeToTrainError(f"the labeling configuration is no XML ({error}).") from error
        images = {tag.get("name"): tag.get("value", "").removeprefix("$") for tag in root.iter("Image")}
        for shape, tag_name in TAGS.items():
            for tag in root.iter(tag_name):
                image = tag.get("toName", "")
                if images.get(image):
                    labels = frozenset(label.get("value", "") for label in tag.iter("Label"))
                    return cls(Control(shape, tag.get("name", ""), image), images[image], labels)
        raise NoTimeToTrainError(
            f"the labeling configuration has none of {', '.join(TAGS.values())} for an Image. Add one, with a Label "
            "for each category."
        )


class LabelStudioBackend:
    """Answers Label Studio's requests.

    Args:
        labeler: finds the objects.
        images: reads the images of tasks.
    """

    def __init__(self, labeler: Labeler, images: TaskImages) -> None:
        self._labeler = labeler
        self._images = images

    def health(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Say that the server runs."""
        return {"status": "UP", "model_class": "no-time-to-train"}

    def setup(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Check the labeling configuration of a project; say which labels it lacks."""
        labels = LabelingConfig.read(content["schema"]).labels
        names = [category.name for category in self._labeler.categories]
        missing = [name for name in names if name not in labels]
        if len(missing) == len(names):
            raise NoTimeToTrainError(
                f"the labeling configuration has no label of the memory's categories: {', '.join(names)}."
            )
        if missing:
            logger.warning("The labeling configuration has no label %s: such objects are left out.", ", ".join(missing))
        return {"model_version": self._labeler.version}

    def versions(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """List the only version."""
        return {"versions": [self._labeler.version]}

    def predict(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Label the images of tasks, in order.

        A task whose image cannot be read gets no prediction, and is said.
        """
        config = LabelingConfig.read(content["label_config"])
        results = [self._predictions(task, config) for task in content["tasks"]]
        return {"results": results, "model_version": self._labeler.version}

    def event(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Take note of what happens in a project: nothing is trained, so nothing is done."""
        return {}

    def _predictions(self, task: Mapping[str, Any], config: LabelingConfig) -> list[dict[str, Any]]:
        location = task["data"].get(config.image_key)
        try:
            found = self._labeler.label(self._images.read(location))
        except (NoTimeToTrainError, OSError) as error:
            logger.warning("Task %s gets no prediction: %s", task.get("id"), error)
            return []
        objects = [item for item in objects_of(found) if item.category.name in config.labels]
        return [prediction(objects, found.image_size_hw, config.control, self._labeler.version)]


def create_app(
    labeler: Labeler,
    images: TaskImages,
    *,
    is_local: bool = True,
    credentials: tuple[str, str] | None = None,
) -> Application:
    """Return the guarded ASGI application.

    Args:
        labeler: finds the objects.
        images: reads the images of tasks.
        is_local: whether it answers to names of this machine only, so that no web page can pass for it.
        credentials: user and password that each request must give, where there are any.
    """
    backend = LabelStudioBackend(labeler, images)
    routes = [
        Route("/", _answering(backend.health)),
        Route("/health", _answering(backend.health)),
        Route("/versions", _answering(backend.versions)),
        Route("/setup", _answering(backend.setup), methods=["POST"]),
        Route("/predict", _answering(backend.predict), methods=["POST"]),
        *(Route(path, _answering(backend.event), methods=["POST"]) for path in ("/webhook", "/train")),
    ]
    hosts = _NAMES_OF_THIS_MACHINE if is_local else ("*",)
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)]
    return _Guard(Starlette(routes=routes, middleware=middleware), credentials)


def _answering(handle: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
    """Read the body, do the work beside the event loop, answer with plain values."""

    async def answer(request: Request) -> Response:
        try:
            content = await request.json() if request.method == "POST" else {}
            return JSONResponse(await run_in_threadpool(handle, content))
        except NoTimeToTrainError as error:
            problem = str(error)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"the request is none of Label Studio's ({error!r})."
        logger.warning("%s was refused: %s", request.url.path, problem)
        return JSONResponse({"error": problem}, 400)

    return answer


class _Guard:
    """Refuse web pages, and those who do not know the password."""

    def __init__(self, app: ASGIApp, credentials: tuple[str, str] | None) -> None:
        self._app = app
        self._expected = credentials and f"Basic {base64.b64encode(':'.join(credentials).encode()).decode()}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        headers = HTTPConnection(scope).headers
        if "origin" in headers:  # Label Studio's server sends none
            await PlainTextResponse("Web pages may not use this server.", 403)(scope, receive, send)
            return
        given = headers.get("authorization", "")
        if self._expected and not secrets.compare_digest(given.encode(), self._expected.encode()):
            wanted = {"www-authenticate": 'Basic realm="no-time-to-train"'}
            await PlainTextResponse("Give the user and the password.", 401, wanted)(scope, receive, send)
            return
        await self._app(scope, receive, send)
