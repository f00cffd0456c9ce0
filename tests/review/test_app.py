from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.review.app import create_app
from no_time_to_train.review.jobs import ReviewJobs
from no_time_to_train.review.prompted_masks import Candidates
from no_time_to_train.review.session import ReviewSession
from tests.outputs.test_review_record import square

PORT, TOKEN = 8123, "secret"
ORIGIN = f"http://127.0.0.1:{PORT}"


class FakeMasks:
    """Answers every prompt with the same two masks."""

    def prepare(self, path: Path, *, upright: bool = True) -> None:
        pass

    def candidates(self, path: Path, points: Any, labels: Any, box: Any, *, upright: bool = True) -> Candidates:
        return Candidates((square(12), square(14)), (0.9, 0.5))


def fail(values: dict[str, Any], report: Any) -> str:
    raise OSError("disk full")


@pytest.fixture
def client(session: ReviewSession) -> TestClient:
    jobs = ReviewJobs({"export": lambda values, report: f"wrote {values['format']}", "label": fail}, formats=("yolo",))
    app = create_app(session, FakeMasks(), jobs, port=PORT, token=TOKEN)  # type: ignore[arg-type]
    client = TestClient(app, base_url=ORIGIN)
    answer = client.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    client.headers["origin"] = ORIGIN
    return client


def test_the_page_and_its_parts_are_served(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200 and "main.js" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert client.get("/static/masks.js").status_code == 200


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fconfig.py"])
def test_nothing_outside_the_page_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (403, 404)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"host": "evil.example"}, "127.0.0.1 only"),
        ({"host": f"evil.example:{PORT}"}, "127.0.0.1 only"),
        ({"origin": "http://evil.example"}, "Other pages"),
        ({"origin": "null"}, "Other pages"),
        ({"origin": "http://127.0.0.1:9999"}, "Other pages"),
        ({"sec-fetch-site": "cross-site"}, "Other pages"),
        ({"sec-fetch-site": "same-site"}, "Other pages"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_pages_are_refused(client: TestClient, headers: dict[str, str], reason: str, method: str) -> None:
    answer = client.request(method, "/api/undo" if method == "POST" else "/api/state", headers=headers)
    assert answer.status_code == 403 and reason in answer.text


def test_nothing_is_answered_without_the_token(client: TestClient) -> None:
    client.cookies.clear()
    assert client.get("/api/state").status_code == 403
    assert client.get("/").status_code == 403
    assert client.get("/", params={"token": "guess"}).status_code == 403
    assert client.get("/api/state", headers={"x-nttt-token": TOKEN}).status_code == 200
    assert client.get("/api/state", params={"token": TOKEN}).status_code == 403  # addresses leak, headers do not


def test_a_change_needs_an_origin(client: TestClient) -> None:
    del client.headers["origin"]
    assert client.post("/api/undo").status_code == 403
    assert client.get("/api/state").status_code == 200


def test_state_and_image(client: TestClient) -> None:
    state = client.get("/api/state").json()
    assert [entry["name"] for entry in state["images"]] == ["a.png", "b.png"]
    assert state["categories"][0]["name"] == "boat" and state["categories"][0]["color"].startswith("rgb(")
    image = client.get("/api/images/0").json()
    assert (image["height"], image["width"], len(image["objects"])) == (10, 20, 2)


def test_pixels_are_the_stored_ones(client: TestClient, session: ReviewSession) -> None:
    answer = client.get("/api/images/0/pixels")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == (session.images / "a.png").read_bytes()
    Image.fromarray(np.zeros((10, 20), np.uint16)).save(session.images / "a.png")  # browsers show it differently
    converted = client.get("/api/images/0/pixels")
    assert converted.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(converted.content)).size == (20, 10)


def test_turned_images_are_shown_as_they_are_read(client: TestClient, session: ReviewSession) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(session.images / "a.png", exif=exif)
    for upright, size in ((True, (10, 20)), (False, (20, 10))):
        session.upright = upright
        shown = Image.open(io.BytesIO(client.get("/api/images/0/pixels").content))
        assert shown.size == size and 0x0112 not in shown.getexif()


def test_thresholds_are_kept_and_go_back_to_the_runs(client: TestClient, session: ReviewSession) -> None:
    assert client.get("/api/state").json()["min_scores"] == {"1": 0.5, "2": 0.5}
    moved = client.post("/api/min_scores", json={"min_scores": {"1": 0.95, "2": 0.3}}).json()
    assert moved == {"1": 0.95, "2": 0.3} == client.get("/api/state").json()["min_scores"]
    assert client.get("/api/state").json()["run_min_scores"] == {"1": 0.5, "2": 0.5}
    again = ReviewSession.of_results(session.folder)
    assert again.thresholds.now == MinScores(0.5, {1: 0.95, 2: 0.3})
    for bad in ({"1": 2}, {"1": "high"}, {"boat": 0.5}, [0.5]):
        assert client.post("/api/min_scores", json={"min_scores": bad}).status_code == 400
    assert client.post("/api/min_scores", json={"min_scores": None}).json() == {"1": 0.5, "2": 0.5}
    assert not (session.folder / "review" / "min_scores.json").exists()


def test_decisions(client: TestClient, session: ReviewSession) -> None:
    name = client.get("/api/images/0").json()["objects"][0]["id"]
    image = client.post("/api/images/0/decide", json={"ids": [name], "decision": "drop"}).json()
    assert image["objects"][0]["status"] == "dropped"
    image = client.post("/api/images/0/relabel", json={"ids": [name], "category_id": 2}).json()
    assert (image["objects"][0]["status"], image["objects"][0]["category_id"]) == ("kept", 2)
    assert client.post("/api/images/0/finish").json()["done"]
    assert client.post("/api/undo").json() == {"number": 0}
    assert not session.review(0).is_done


def test_masks_of_a_click_are_added_and_mend(client: TestClient, session: ReviewSession) -> None:
    answer = client.post("/api/images/1/prompt", json={"points": [[3, 4]], "labels": [1]}).json()
    assert [entry["predicted_iou"] for entry in answer["candidates"]] == [0.9, 0.5]
    client.post("/api/images/1/add", json={"candidate": 1, "category_id": 2})
    assert session.review(1).objects[0].mask == square(14)
    name = session.review(1).objects[0].id
    client.post("/api/images/1/mend", json={"candidate": 0, "id": name})
    assert session.review(1).objects[0].mask == square(12)
    late = client.post("/api/images/0/add", json={"candidate": 0, "category_id": 2})
    assert late.status_code == 400 and "Click again" in late.json()["error"]


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("/api/images/0/decide", {"ids": ["x"], "decision": "keep"}, "no object 'x'"),
        ("/api/images/0/decide", {}, "lacks something"),
        ("/api/images/99/reopen", {}, "no image 99"),
        ("/api/images/0/burn", {}, "nothing called 'burn'"),
        ("/api/categories", {"name": "_x"}, "category name"),
        ("/api/jobs/paint", {}, "no job 'paint'"),
        ("/api/images/0/prompt", {"points": 3}, "wrong value"),
    ],
)
def test_bad_requests_say_what_is_wrong(client: TestClient, path: str, content: Any, message: str) -> None:
    answer = client.post(path, json=content)
    assert answer.status_code == 400 and message in answer.json()["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_bodies_that_are_no_objects(client: TestClient, body: bytes) -> None:
    assert client.post("/api/undo", content=body).status_code == 400


def wait_for_job(client: TestClient) -> dict[str, Any]:
    for _ in range(200):
        job = client.get("/api/job").json()
        if job["status"] != "running":
            return job
        time.sleep(0.02)
    raise AssertionError("the job never ended")


def test_jobs_tell_how_they_ended(client: TestClient) -> None:
    client.post("/api/jobs/export", json={"format": "yolo"})
    assert wait_for_job(client) == {
        "name": "export", "status": "finished", "done": 0, "total": 0, "message": "wrote yolo",
    }  # fmt: skip
    client.post("/api/jobs/label")
    assert wait_for_job(client)["message"] == "disk full"
