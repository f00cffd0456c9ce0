from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given

from no_time_to_train.ops.rle import decode_rle, encode_mask
from no_time_to_train.outputs.image_record import ImageRecord
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category, Detections
from tests.mutations import mutated

CATEGORIES = (Category(9, "boat"), Category(16, "bird"))


def detections() -> Detections:
    masks = np.zeros((2, 6, 8), bool)
    masks[0, 1:3, 2:7] = masks[1, 4:, :2] = True
    return Detections(
        rles=tuple(encode_mask(mask) for mask in masks),
        boxes_xyxy=np.array([[2, 1, 7, 3], [0, 4, 2, 6]], np.float32),
        scores=np.array([0.9, 0.1], np.float32),
        category_ids=np.array([9, 16]),
        predicted_ious=np.array([0.8, 0.7], np.float32),
        image_size_hw=(6, 8),
        categories=CATEGORIES,
    )


def test_a_record_gives_back_the_detections(tmp_path: Path) -> None:
    original = detections()
    ImageRecord.from_detections("sub/a.jpg", 123, original, min_score=0.05).write(tmp_path / "sub/a.jpg.json")
    record = ImageRecord.read(tmp_path / "sub/a.jpg.json")
    assert (record.file_name, record.num_bytes, record.image_size_hw) == ("sub/a.jpg", 123, (6, 8))
    restored = record.to_detections(CATEGORIES, MinScores(0.05))
    assert restored.rles == original.rles
    for name in ("boxes_xyxy", "scores", "category_ids", "predicted_ious"):
        np.testing.assert_array_equal(getattr(restored, name), getattr(original, name))
    assert restored.category_names == ["boat", "bird"]


def test_thresholds_on_writing_and_on_reading() -> None:
    assert len(ImageRecord.from_detections("a", 1, detections(), min_score=0.5).entries) == 1
    record = ImageRecord.from_detections("a", 1, detections(), min_score=0.05)
    assert len(record.to_detections(CATEGORIES, MinScores(0.5))) == 1
    assert len(record.to_detections(CATEGORIES, MinScores(0.95))) == 0


def test_the_score_is_compared_as_it_was_computed() -> None:
    """0.4 is no float32: a score of np.float32(0.4) must fall on the same side in every file."""
    single = detections()[:1]
    at_threshold = Detections(**{**vars(single), "scores": np.array([0.4], np.float32)})
    record = ImageRecord.from_detections("a", 1, at_threshold, min_score=0.05)
    kept = [entry for entry in record.entries if entry["score"] >= 0.4]
    assert len(kept) == len(record.to_detections(CATEGORIES, MinScores(0.4)))


VALID = json.loads(json.dumps(ImageRecord.from_detections("a.jpg", 123, detections(), min_score=0.05).to_json()))


@given(content=mutated(VALID))
def test_a_record_is_read_as_a_whole_or_refused(content: object) -> None:
    try:
        record = ImageRecord.from_json(content)  # type: ignore[arg-type]
    except ValueError:
        return
    assert all(decode_rle(rle).shape == record.image_size_hw for rle in record.to_detections((), MinScores(0.0)).rles)
    assert json.loads(json.dumps(record.to_json(), allow_nan=False)) == json.loads(json.dumps(content))
