from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from no_time_to_train.data.coco_results import CocoResults, checked_results, read_results
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.ops.rle import encode_mask
from tests.mutations import mutated

TEXT = encode_mask(np.eye(4, 5, dtype=bool))["counts"].decode()
BOX = {"image_id": 1, "category_id": 2, "score": 0.5, "bbox": [0, 0, 2.5, 3]}
MASK = {"image_id": "a", "category_id": 2, "score": 1, "segmentation": {"size": [4, 5], "counts": TEXT}}
NAN = float("nan")


def rle(counts: Any, size: Any = (4, 5)) -> dict[str, Any]:
    return {**MASK, "segmentation": {"size": list(size) if isinstance(size, tuple) else size, "counts": counts}}


def test_valid_results_are_kept_as_they_are(tmp_path: Path) -> None:
    entries = [BOX, MASK, {**BOX, **MASK}]
    (tmp_path / "predictions.json").write_text(json.dumps(entries))
    results = read_results(tmp_path / "predictions.json")
    assert results == entries and isinstance(results, CocoResults)
    assert checked_results(results, "x") is results


def test_numpy_values_of_python_callers_are_numbers() -> None:
    entry = {"image_id": np.int64(1), "category_id": np.int32(2), "score": np.float32(0.5), "bbox": np.zeros(4)}
    assert len(checked_results([entry], "predictions")) == 1


def test_lists_of_counts_are_compressed() -> None:
    runs = [0, 1, 4, 1, 4, 1, 4, 1, 4]
    [entry] = checked_results([rle(runs)], "predictions")
    assert entry["segmentation"] == encode_mask(np.eye(4, 5, dtype=bool))


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (7, "must be objects"),
        ({**BOX, "image_id": None}, "must have an image_id"),
        ({**BOX, "image_id": [1]}, "must have an image_id"),
        ({**BOX, "category_id": "2"}, "must have a category_id"),
        ({**BOX, "category_id": [2]}, "must have a category_id"),
        ({**BOX, "score": NAN}, "must have a score, a finite number"),
        ({**BOX, "score": float("inf")}, "must have a score"),
        ({**BOX, "score": "0.5"}, "must have a score"),
        ({**BOX, "score": 10**400}, "must have a score"),
        ({**BOX, "bbox": [0, 0, NAN, 3]}, "four finite numbers"),
        ({**BOX, "bbox": [0, 0, 3]}, "four finite numbers"),
        ({**BOX, "bbox": [0, 0, -1, 3]}, "sides of at least 0"),
        ({**BOX, "bbox": "0 0 3 3"}, "four finite numbers"),
        ({**MASK, "segmentation": "text"}, "an RLE with counts and size"),
        ({**MASK, "segmentation": [[1, 2, 3, 4, 5, 6]]}, "an RLE with counts and size"),
        (rle(TEXT, [4, 5, 1]), "an RLE with counts and size"),
        (rle(TEXT, [10**9, 10**9]), "an RLE with counts and size"),
        (rle(TEXT, (5, 5)), "no runs that add up"),
        (rle(TEXT[:-1]), "no runs that add up"),
        (rle(TEXT + "1"), "no runs that add up"),
        (rle("garbage \ud800"), "no runs that add up"),
        (rle(None), "no runs that add up"),
        (rle([20.5, -0.5]), "no runs that add up"),
        (rle([[20]]), "no runs that add up"),
        (rle([10**30]), "no runs that add up"),
    ],
)
def test_damaged_predictions_are_refused_with_their_position(entry: Any, problem: str) -> None:
    with pytest.raises(InputError, match=rf"p\.json: 1 predictions .*{problem}.*: number 3 has .*Write them again"):
        checked_results([BOX, MASK, entry], "p.json")


def test_unusable_predictions_files(tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    with pytest.raises(InputFileNotFoundError, match="nttt label writes one"):
        read_results(path)
    for text, message in (
        ("{", "not valid JSON"),
        ("{}", "COCO results list, but it is a JSON dict"),
        ("[" * 200_000, "nested too deeply"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_results(path)


@given(mutated([BOX, MASK, {**BOX, **MASK}]))
@settings(max_examples=300, deadline=None)
def test_anything_else_is_one_clear_error(entries: Any) -> None:
    try:
        results = checked_results(entries, "predictions.json")
    except InputError as error:
        assert str(error).startswith("predictions.json")
        str(error).encode("utf-8")
    else:
        assert all(entry["score"] >= 0 or entry["score"] < 0 for entry in results)
