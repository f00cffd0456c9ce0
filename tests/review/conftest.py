from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.review.session import ReviewSession
from tests.outputs.test_review_record import record, square


def write_results(folder: Path, images: Path, records: dict[str, ImageRecord]) -> None:
    """The part of a results folder that a review reads."""
    for name, found in records.items():
        path = folder / "per_image" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        found.write(path)
    (folder / "run.json").write_text(json.dumps({"settings": {"images": str(images), "min_score": 0.5}}))
    dataset = {
        "categories": [{"id": 1, "name": "boat"}, {"id": 2, "name": "bird"}],
        "images": [{"id": n, "file_name": name} for n, name in enumerate(records, start=1)],
    }
    (folder / "annotations.json").write_text(json.dumps(dataset))


@pytest.fixture
def session(tmp_path: Path) -> ReviewSession:
    """Two images: one with two detections, one with a doubtful one."""
    images = tmp_path / "images"
    images.mkdir()
    for name, gray in (("a.png", 40), ("b.png", 200)):
        Image.fromarray(np.full((10, 20, 3), gray, np.uint8)).save(images / name)
    records = {
        "a.png": record((1, square(0), 0.9), (2, square(8), 0.6)),
        "b.png": record((1, square(0), 0.4)),
    }
    write_results(tmp_path / "images_labeled", images, records)
    return ReviewSession.of_results(tmp_path / "images_labeled")
