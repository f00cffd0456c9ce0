from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from no_time_to_train.adapters.label_studio import LabelingConfig, create_app
from no_time_to_train.adapters.label_studio_images import TaskImages
from no_time_to_train.errors import InputError
from no_time_to_train.ops.brush_rle import decode_brush
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.structures import Category, Detections

CATEGORIES = (Category(9, "boat"), Category(16, "bird"))
MASK = np.zeros((20, 40), bool)
MASK[5:15, 10:30] = True


class FakeLabeler:
    """Finds a boat and a bird at one place in every image."""

    categories = CATEGORIES
    version = "boats-1234"

    def label(self, image: np.ndarray) -> Detections:
        assert image.shape == (20, 40, 3)
        return Detections.from_rles([encode_mask(MASK)] * 2, [0.75, 0.25], [9, 16], [0.9, 0.9], (20, 40), CATEGORIES)


def config(tag: str = "BrushLabels", labels: tuple[str, ...] = ("boat", "bird")) -> str:
    tags = "".join(f'<Label value="{label}"/>' for label in labels)
    return f'<View><Image name="img" value="$photo"/><{tag} name="kind" toName="img">{tags}</{tag}></View>'


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    return TestClient(create_app(FakeLabeler(), TaskImages(folder=tmp_path)), base_url="http://127.0.0.1:9090")


def predict(client: TestClient, *names: str, label_config: str = "") -> list[Any]:
    tasks = [{"id": 7 + i, "data": {"photo": f"/data/local-files/?d={name}"}} for i, name in enumerate(names)]
    answer = client.post("/predict", json={"tasks": tasks, "label_config": label_config or config()})
    assert answer.status_code == 200
    return answer.json()["results"]


def test_it_is_up_and_has_a_version(client: TestClient) -> None:
    assert client.get("/health").json()["status"] == "UP"
    assert client.post("/setup", json={"schema": config(), "hostname": "x"}).json() == {"model_version": "boats-1234"}
    assert client.get("/versions").json() == {"versions": ["boats-1234"]}
    for path in ("/webhook", "/train"):
        assert client.post(path, json={"action": "ANNOTATION_CREATED"}).json() == {}


def test_masks_go_to_the_tags_of_the_project(client: TestClient) -> None:
    [[prediction]] = predict(client, "a.png")
    assert prediction["model_version"] == "boats-1234" and prediction["score"] == 0.5
    boat, bird = prediction["result"]
    assert (boat["from_name"], boat["to_name"], boat["type"], boat["score"]) == ("kind", "img", "brushlabels", 0.75)
    assert bird["value"]["brushlabels"] == ["bird"]
    assert np.array_equal(decode_brush(boat["value"]["rle"], (20, 40)), MASK)


def test_polygons_and_boxes_where_the_project_has_those(client: TestClient) -> None:
    [[polygons]] = predict(client, "a.png", label_config=config("PolygonLabels"))
    xs, ys = zip(*polygons["result"][0]["value"]["points"], strict=True)
    assert min(xs) == pytest.approx(25, abs=1) and max(ys) == pytest.approx(75, abs=2)
    [[boxes]] = predict(client, "a.png", label_config=config("RectangleLabels"))
    value = boxes["result"][0]["value"]
    assert (value["x"], value["y"], value["width"], value["height"], value["rotation"]) == (25, 25, 50, 50, 0)
    assert value["rectanglelabels"] == ["boat"]


def test_labels_that_the_project_has_not_are_left_out_and_said(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    [[prediction]] = predict(client, "a.png", label_config=config(labels=("boat", "tree")))
    assert [result["value"]["brushlabels"] for result in prediction["result"]] == [["boat"]]
    with caplog.at_level(logging.WARNING):
        assert client.post("/setup", json={"schema": config(labels=("boat",))}).status_code == 200
    assert "no label bird" in caplog.text


def test_an_image_that_cannot_be_read_stops_no_other(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        results = predict(client, "broken.png", "a.png", "gone.png", "../a.png", "a%00.png/a.png")
    assert [len(result) for result in results] == [0, 1, 0, 0, 0]
    assert "Task 7 gets no prediction" in caplog.text and "Task 9" in caplog.text and "is not in" in caplog.text


@pytest.mark.parametrize("data", [{}, {"photo": None}, {"photo": "http://[1/a.png"}, {"photo": "/a\0.png"}])
def test_a_task_without_an_address_stops_no_other(client: TestClient, data: dict[str, Any]) -> None:
    tasks = [{"id": 7, "data": data}, {"id": 8, "data": {"photo": "/data/local-files/?d=a.png"}}]
    answer = client.post("/predict", json={"tasks": tasks, "label_config": config()})
    assert [len(result) for result in answer.json()["results"]] == [0, 1]


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("/setup", {"schema": config(labels=("tree",))}, "no label of the memory's categories: boat, bird"),
        ("/setup", {"schema": "<View/>"}, "none of BrushLabels, PolygonLabels, RectangleLabels"),
        ("/setup", {"schema": "<View>"}, "no XML"),
        ("/predict", {"label_config": config()}, "none of Label Studio's"),
        ("/predict", {"label_config": config(), "tasks": [{"id": 1}]}, "none of Label Studio's"),
        ("/predict", [], "none of Label Studio's"),
    ],
)
def test_a_request_that_cannot_be_answered_is_explained(client: TestClient, path: str, body: Any, problem: str) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 400 and problem in answer.json()["error"]
    assert client.post(path, content=b"{").status_code == 400


def test_masks_are_preferred_to_boxes_and_other_objects_are_passed_over() -> None:
    text = (
        '<View><Text name="t" value="$title"/><RectangleLabels name="r" toName="i"><Label value="a"/></RectangleLabels>'
        '<Image name="i" value="$url"/><BrushLabels name="x" toName="t"/><BrushLabels name="b" toName="i"/></View>'
    )
    found = LabelingConfig.read(text)
    assert (found.control.name, found.control.shape, found.image_key) == ("b", "mask", "url")


@pytest.mark.parametrize("headers", [{"origin": "http://127.0.0.1:9090"}, {"origin": "null"}, {"host": "evil.example"}])
def test_web_pages_and_other_names_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    for path in ("/health", "/predict"):
        answer = client.request("GET" if path == "/health" else "POST", path, headers=headers, content="{}")
        assert answer.status_code in (400, 403) and "results" not in answer.text and "UP" not in answer.text


def test_a_password_is_asked_for_where_there_is_one() -> None:
    app = create_app(FakeLabeler(), TaskImages(), is_local=False, credentials=("me", "secret"))
    client = TestClient(app, base_url="http://labels.example:9090")
    assert client.get("/health").status_code == 401
    assert client.get("/health", auth=("me", "wrong")).status_code == 401
    assert client.get("/health", auth=("me", "secret")).status_code == 200


def test_an_address_that_a_request_names_is_not_used(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    body = {"schema": config(), "hostname": "http://127.0.0.1:1", "access_token": "theirs"}
    client.post("/setup", json=body)
    tasks = [{"id": 7, "data": {"photo": "http://127.0.0.1:1/a.png"}}]
    with caplog.at_level(logging.WARNING):
        answer = client.post("/predict", content=json.dumps({"tasks": tasks, "label_config": config()}))
    assert answer.json()["results"] == [[]] and "is not read" in caplog.text


def test_an_image_is_named_by_text() -> None:
    with pytest.raises(InputError, match="named by an address"):
        TaskImages().read(["a.png"])  # type: ignore[arg-type]
