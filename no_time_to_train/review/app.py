"""The review page's server: requests in, :class:`ReviewSession` calls, plain values out."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from no_time_to_train.data.images import exif_orientation, open_image, read_image
from no_time_to_train.errors import InputError
from no_time_to_train.outputs.drawing import category_color
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.review.guard import Guard
from no_time_to_train.review.jobs import ReviewJobs
from no_time_to_train.review.prompted_masks import Candidates, PromptedMasks
from no_time_to_train.review.session import ReviewSession
from no_time_to_train.structures import Category

STATIC = Path(__file__).with_name("static")
_SHOWN_BY_BROWSERS = frozenset({"JPEG", "PNG", "WEBP", "GIF"})
_MAX_SHOWN_SIDE_PX = 6000

Answer = Callable[[Request], Awaitable[Response]]


def create_app(
    session: ReviewSession, masks: PromptedMasks, jobs: ReviewJobs, *, port: int, token: str
) -> Callable[..., Awaitable[None]]:
    """Return the guarded ASGI application.

    Args:
        session: what is reviewed.
        masks: answers clicks and boxes.
        jobs: labels again and exports.
        port: the server will listen to, on 127.0.0.1.
        token: without which nothing is answered.
    """
    pages = _Pages(session, masks, jobs)
    routes = [
        Route("/", lambda request: FileResponse(STATIC / "index.html")),
        Route("/api/state", pages.state),
        Route("/api/images/{number:int}", pages.image),
        Route("/api/images/{number:int}/pixels", pages.pixels),
        Route("/api/images/{number:int}/prompt", _changing(pages.prompt), methods=["POST"]),
        Route("/api/images/{number:int}/{action:str}", _changing(pages.change), methods=["POST"]),
        Route("/api/undo", _changing(pages.undo), methods=["POST"]),
        Route("/api/min_scores", _changing(pages.use_min_scores), methods=["POST"]),
        Route("/api/categories", _changing(pages.add_category), methods=["POST"]),
        Route("/api/jobs/{name:str}", _changing(pages.start), methods=["POST"]),
        Route("/api/job", pages.job),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    handlers = {InputError: _bad_input, FileNotFoundError: _bad_input}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), port=port, token=token)


def _changing(handle: Callable[[Request, dict[str, Any]], Any]) -> Answer:
    """Read the body, do the work beside the event loop, answer with plain values."""

    async def answer(request: Request) -> Response:
        body = await request.body()
        try:
            content = await request.json() if body else {}
        except ValueError as error:
            raise InputError("the request is no JSON.") from error
        if not isinstance(content, dict):
            raise InputError("the request must be a JSON object.")
        try:
            return JSONResponse(await run_in_threadpool(handle, request, content))
        except (KeyError, TypeError) as error:
            raise InputError(f"the request lacks something or holds a wrong value ({error!r}).") from error

    return answer


def _bad_input(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


class _Pages:
    def __init__(self, session: ReviewSession, masks: PromptedMasks, jobs: ReviewJobs) -> None:
        self._session = session
        self._masks = masks
        self._jobs = jobs
        self._candidates: dict[int, Candidates] = {}

    def state(self, request: Request) -> Response:
        session = self._session
        content = {
            "folder": str(session.folder),
            "min_scores": _by_category(session, session.thresholds.now),
            "run_min_scores": _by_category(session, session.thresholds.of_run),
            "categories": [_category_json(category) for category in session.categories],
            "formats": list(self._jobs.formats),
            "can_label": self._jobs.can_label,
        }
        images = ",".join(item.json_text for item in session.overview())
        return Response(f'{json.dumps(content)[:-1]}, "images": [{images}]}}', media_type="application/json")

    def image(self, request: Request) -> Response:
        return JSONResponse(self._session.image(request.path_params["number"]))

    def pixels(self, request: Request) -> Response:
        """Hand out the file itself where a browser shows it as it is read here, else a JPEG of what is read."""
        path = self._session.image_path(request.path_params["number"])
        with open_image(path) as image:
            as_it_is = image.format in _SHOWN_BY_BROWSERS and max(image.size) <= _MAX_SHOWN_SIDE_PX
            media_type = Image.MIME.get(image.format or "", "image/jpeg")
            as_it_is = as_it_is and image.mode in ("RGB", "L", "P")
        if as_it_is and exif_orientation(path) == 1:
            return FileResponse(path, media_type=media_type)
        shown = Image.fromarray(read_image(path, upright=self._session.upright))
        shown.thumbnail((_MAX_SHOWN_SIDE_PX, _MAX_SHOWN_SIDE_PX))
        buffer = io.BytesIO()
        shown.save(buffer, "JPEG", quality=90)
        return Response(buffer.getvalue(), media_type="image/jpeg")

    def prompt(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        number = request.path_params["number"]
        path = self._session.image_path(number)
        points = [(float(x), float(y)) for x, y in content.get("points", [])]
        if not points and content.get("box") is None:
            self._masks.prepare(path, upright=self._session.upright)
            return {"candidates": []}
        labels = [int(label) for label in content.get("labels", [])]
        found = self._masks.candidates(path, points, labels, content.get("box"), upright=self._session.upright)
        self._candidates = {number: found}  # only the last prompt's can be taken
        return {
            "candidates": [
                {
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
                    "predicted_iou": round(score, 4),
                }
                for rle, score in zip(found.masks, found.predicted_ious, strict=True)
            ]
        }

    def change(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        number, action = request.path_params["number"], request.path_params["action"]
        session = self._session
        if action == "decide":
            session.decide(number, content["ids"], content["decision"])
        elif action == "relabel":
            session.relabel(number, content["ids"], content["category_id"])
        elif action == "add":
            session.add(number, content["category_id"], self._candidate(number, content))
        elif action == "mend":
            session.mend(number, content["id"], self._candidate(number, content))
        elif action == "finish":
            session.finish(number)
        elif action == "reopen":
            session.reopen(number)
        else:
            raise InputError(f"there is nothing called {action!r} to do with an image.")
        return session.image(number)

    def undo(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        return {"number": self._session.undo()}

    def use_min_scores(self, request: Request, content: dict[str, Any]) -> dict[str, float]:
        wanted = content["min_scores"]
        try:
            by_category = None if wanted is None else {int(key): float(value) for key, value in wanted.items()}
            default = self._session.thresholds.of_run.default
            self._session.thresholds.use(None if by_category is None else MinScores(default, by_category))
        except (AttributeError, ValueError) as error:
            raise InputError(f"thresholds are numbers from 0 to 1 by category id ({error}).") from error
        return _by_category(self._session, self._session.thresholds.now)

    def add_category(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        return _category_json(self._session.add_category(str(content["name"])))

    def start(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        self._jobs.start(request.path_params["name"], content)
        return self._jobs.progress()

    def job(self, request: Request) -> Response:
        return JSONResponse(self._jobs.progress())

    def _candidate(self, number: int, content: dict[str, Any]) -> Any:
        found = self._candidates.get(number)
        position = int(content["candidate"])
        if found is None or not 0 <= position < len(found.masks):
            raise InputError("this mask is no longer known. Click again.")
        return found.masks[position]


def _by_category(session: ReviewSession, min_scores: MinScores) -> dict[str, float]:
    return {str(category.id): min_scores.of(category.id) for category in session.categories}


def _category_json(category: Category) -> dict[str, Any]:
    red, green, blue = category_color(category.id)
    return {"id": category.id, "name": category.name, "color": f"rgb({red}, {green}, {blue})"}
