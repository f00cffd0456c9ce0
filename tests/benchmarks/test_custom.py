from __future__ import annotations

import logging
from pathlib import Path

import pytest

from no_time_to_train.errors import InputError, InputFileNotFoundError
from tests.benchmarks.datasets_on_disk import coco_annotation, coco_images, write_image, write_json


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """References of bird 1 and boat 2 (and a cup without any); targets with other ids, dog besides."""
    for folder, ids in (("refs/images", (1, 2)), ("targets", (11, 12))):
        for i in ids:
            write_image(tmp_path / folder / f"{i}.png")
    references = {
        "images": coco_images({1: "1.png", 2: "2.png"}),
        "annotations": [coco_annotation(n, 1 + n % 2, 1 + n // 2) for n in range(4)],
        "categories": [{"id": 1, "name": "bird"}, {"id": 2, "name": "boat"}, {"id": 3, "name": "cup"}],
    }
    targets = {
        "images": coco_images({11: "11.png", 12: "12.png"}),
        "annotations": [coco_annotation(7, 11, 9), coco_annotation(8, 11, 16), coco_annotation(9, 11, 18)],
        "categories": [{"id": 9, "name": "boat"}, {"id": 16, "name": "bird"}, {"id": 18, "name": "dog"}],
    }
    write_json(tmp_path / "refs/references.json", references)
    write_json(tmp_path / "targets.json", targets)
    return [
        f"references={tmp_path / 'refs/references.json'}",
        f"annotations={tmp_path / 'targets.json'}",
        f"images={tmp_path / 'targets'}",
    ]


def test_categories_are_matched_by_name(load, tmp_path, files, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        task = load("custom", *files, "shots=2")
    assert "2 categories lack references" in caplog.text
    assert [(c.id, c.name) for c in task.ground_truth.categories] == [(9, "boat"), (16, "bird")]
    assert [a.id for a in task.ground_truth.annotations] == [7, 8]
    assert task.references.categories == task.reference_dataset.categories == task.ground_truth.categories
    assert task.references.counts() == {"boat": 2, "bird": 2}
    assert {i.image_path.parent for i in task.references.instances} == {tmp_path / "refs/images"}
    assert [target.id for target in task.targets] == [11, 12]


def test_a_drawing_and_everything(load, files) -> None:
    assert load("custom", *files, "shots=1").references.counts() == {"boat": 1, "bird": 1}
    assert len(load("custom", *files, "shots=1", "sampler=all").references) == 4
    with pytest.raises(InputError, match="Ask for fewer"):
        load("custom", *files, "shots=3")


def test_chosen_categories(load, files) -> None:
    task = load("custom", *files, "shots=2", "benchmark.categories=[bird]")
    assert [c.name for c in task.ground_truth.categories] == ["bird"]
    with pytest.raises(InputError, match="targets.json lacks 1 of the 1 categories of benchmark.categories: cat"):
        load("custom", *files, "benchmark.categories=[cat]")
    with pytest.raises(InputError, match="references.json lacks 1 of the 1 categories .*: dog"):
        load("custom", *files, "benchmark.categories=[dog]")


def test_labeling_the_references_themselves_is_remarked(load, tmp_path, files, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        load("custom", *files, "shots=2")
        assert "also target images" not in caplog.text
        load("custom", files[0], f"annotations={tmp_path / 'refs/references.json'}", "shots=2")
    assert "2 reference images are also target images" in caplog.text


def test_nothing_in_common(load, tmp_path, files) -> None:
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cup"}]}
    write_json(tmp_path / "targets.json", content)
    with pytest.raises(InputError, match="share no category: references of bird, boat; targets list cup"):
        load("custom", *files)


def test_what_is_needed(load, tmp_path, files) -> None:
    with pytest.raises(InputError, match="needs benchmark.references=FILE"):
        load("custom", *files[1:])
    with pytest.raises(InputError, match="needs benchmark.annotations=FILE"):
        load("custom", files[0])
    with pytest.raises(InputFileNotFoundError, match="nowhere.json with the target images is missing"):
        load("custom", files[0], "annotations=nowhere.json")
    message = "2 of 2 target images not found.*Did you mean benchmark.images=.*targets"
    with pytest.raises(InputFileNotFoundError, match=message):
        load("custom", *files[:2], "shots=2")
