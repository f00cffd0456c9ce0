from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from no_time_to_train.data.box_files import BoxFile, read_box_file
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.structures import TargetImage
from tests.mutations import mutated

A, B = (TargetImage(Path("photos") / name, name, number) for number, name in enumerate(("sub/a.jpg", "b.jpg"), start=1))
SIZE_HW = (60, 80)


@pytest.fixture
def read(tmp_path: Path):
    """``read_box_file`` of a file with this content."""

    def read_content(content: Any) -> BoxFile:
        path = tmp_path / "boxes.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_box_file(path)

    return read_content


def result(box_xywh: list[float], score: float, **image: Any) -> dict[str, Any]:
    return {**image, "category_id": 1, "bbox": box_xywh, "score": score}


def test_results_by_id(read) -> None:
    results = [result([1, 2, 3, 4], 0.5, image_id=2), result([5, 5, 10, 10], 0.75, image_id=2)]
    file = read([*results, result([0, 0, 1, 1], 1, image_id=7)])
    boxes, scores = file.boxes(B, SIZE_HW)
    assert boxes.tolist() == [[1, 2, 4, 6], [5, 5, 15, 15]]
    assert scores.tolist() == [0.5, 0.75]
    assert file.boxes(A, SIZE_HW)[0].shape == (0, 4)


def test_an_id_written_as_text_is_another_id(read) -> None:
    assert len(read([result([1, 2, 3, 4], 0.5, image_id="2")]).boxes(B, SIZE_HW)[0]) == 0


def test_results_by_file_name(read) -> None:
    names = ["sub/a.jpg", "elsewhere/b.jpg"]  # the second is found by its last part
    file = read([result([0, 0, 9, 9], score, file_name=name) for name, score in zip(names, (0.1, 0.2), strict=True)])
    assert [file.boxes(target, SIZE_HW)[1].tolist() for target in (A, B)] == [[0.1], [0.2]]


def test_a_last_part_that_is_not_unique_is_no_match(read) -> None:
    file = read([result([0, 0, 9, 9], 0.5, file_name=f"{folder}/b.jpg") for folder in ("x", "y")])
    assert len(file.boxes(B, SIZE_HW)[0]) == 0


def test_data_set_goes_by_file_name(read) -> None:
    images = [
        {"id": 1, "file_name": "b.jpg", "height": 60, "width": 80},  # not the targets' ids
        {"id": 2, "file_name": "sub/a.jpg"},
    ]
    annotations = [
        {"image_id": 1, "bbox": [1, 1, 2, 2]},
        {"image_id": 1, "bbox": [2, 2, 2, 2], "score": 0.25},
        {"image_id": 1, "bbox": [0, 0, 80, 60], "iscrowd": 1},
    ]
    file = read({"images": images, "annotations": annotations})
    boxes, scores = file.boxes(B, SIZE_HW)
    assert boxes.tolist() == [[1, 1, 3, 3], [2, 2, 4, 4]]
    assert scores.tolist() == [1, 0.25]
    assert len(file.boxes(A, SIZE_HW)[0]) == 0
    with pytest.raises(InputError, match=r"boxes.json: the size is \[60, 80\] but b.jpg is 60x80.*swapped"):
        file.boxes(B, (80, 60))


def test_no_overlap_with_the_images_is_an_error(read) -> None:
    by_id = read([result([0, 0, 9, 9], 0.5, image_id=i) for i in (100, 101, 102, 103)])
    with pytest.raises(InputError) as caught:
        by_id.check_targets([A, B])
    assert "none of the 2 images (1, 2), only for 100, 101, 102 ..." in str(caught.value)
    assert "give every result a file_name" in str(caught.value)
    by_name = read([result([0, 0, 9, 9], 0.5, file_name="c.jpg")])
    with pytest.raises(InputError, match="'sub/a.jpg', 'b.jpg'.*only for 'c.jpg'. A file_name must be"):
        by_name.check_targets([A, B])
    with pytest.raises(InputError, match="for no image at all"):
        read([]).check_targets([A])


def test_some_images_without_boxes_are_told(read, caplog, monkeypatch) -> None:
    # The command line keeps the package's messages from the root logger, in this process too if it ran before.
    monkeypatch.setattr(logging.getLogger("no_time_to_train"), "propagate", True)
    file = read([result([0, 0, 9, 9], 0.5, image_id=1)])
    file.check_targets([A])
    assert not caplog.records
    file.check_targets([A, B])
    assert "no boxes for 1 of 2 images (2)" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ({"images": []}, "COCO results list .* or a COCO data set .*it is a JSON dict of another form"),
        ("[1, 2]", "it is a JSON list of another form"),
        ([{"bbox": [1, 2, 3, 4], "score": 1}], r"1 boxes have no image_id \(positions 0 of the list"),
        (
            [result([1, 2, 3, 4], 1, file_name="a.jpg"), result([1, 2, 3, 4], 1, image_id=3)],
            r"1 boxes have no file_name \(positions 1 ",
        ),
        ([result([1, 2, 3], 1, image_id=1)], "have no bbox of four finite numbers"),
        ([result([1, 2, 3, float("nan")], 1, image_id=1)], "have no bbox of four finite numbers"),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4]}], "have no score"),
        ([result([1, 2, 3, 4], 1, file_name="../a.jpg")], "boxes.json: file_name '../a.jpg' must name a file below"),
        ({"images": [{"id": 1}], "annotations": []}, "1 images have no file_name"),
        (
            {"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 3, "bbox": [1, 2, 3, 4]}]},
            "have an image_id that is not among the images",
        ),
    ],
)
def test_unusable_files(read, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(content)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputFileNotFoundError, match="no such file of boxes"):
        read_box_file(tmp_path / "none.json")


def test_rows_are_grouped_in_file_order(read) -> None:
    scores = np.linspace(0, 1, 30)
    file = read([result([0, 0, 1, 1], score, image_id=i % 2 + 1) for i, score in enumerate(scores)])
    assert file.boxes(A, SIZE_HW)[1].tolist() == scores[::2].tolist()


VALID_RESULTS = [{"image_id": 1, "bbox": [0, 0, 4, 3], "score": 0.5}, {"image_id": 2, "bbox": [0, 0, 4, 3], "score": 1}]
VALID_DATA_SET = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 5}],
    "annotations": [{"image_id": 1, "bbox": [0, 0, 4, 3], "iscrowd": 0}],
}


@given(mutated(VALID_RESULTS) | mutated(VALID_DATA_SET))
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_one_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "boxes.json"
    path.write_text(json.dumps(content))
    try:
        file = read_box_file(path)
    except InputError as error:
        assert str(path) in str(error)
        str(error).encode("utf-8")
    else:
        assert all(np.isfinite(rows).all() for rows in file.rows.values())
