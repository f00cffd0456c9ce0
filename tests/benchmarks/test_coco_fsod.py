from __future__ import annotations

import json

import pytest

from no_time_to_train.benchmarks.coco_fsod import NOVEL_CATEGORIES
from no_time_to_train.benchmarks.sampling import sample_references
from no_time_to_train.data.coco import write_coco
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.errors import InputError, InputFileNotFoundError
from tests.benchmarks.datasets_on_disk import write_coco_2017, write_coco_tfa

NOVEL_IDS = [1, 2, 3, 4, 5, 6, 7, 9, 16, 17, 18, 19, 20, 21, 44, 62, 63, 64, 67, 72]


def test_novel_classes_are_scored_on_all_images(load, tmp_path) -> None:
    write_coco_2017(tmp_path)
    task = load("coco_fsod", "shots=2", "seed=33")
    assert task.name == "coco_fsod" and task.evaluator == "coco"
    assert [category.id for category in task.ground_truth.categories] == NOVEL_IDS
    assert [category.name for category in task.ground_truth.categories] == list(NOVEL_CATEGORIES)
    assert [(a.id, a.category_id, a.is_crowd) for a in task.ground_truth.annotations] == [(5, 1, False), (900, 1, True)]
    assert [target.id for target in task.targets] == [139, 285, 632]
    assert all(target.path.is_file() for target in task.targets)
    assert task.references.counts() == dict.fromkeys(NOVEL_CATEGORIES, 2)
    assert task.references.categories == task.ground_truth.categories


def test_the_draw_is_the_published_one_over_the_novel_classes(load, tmp_path) -> None:
    write_coco_2017(tmp_path)
    train = read_coco(tmp_path / "coco/annotations/instances_train2017.json")
    for seed in (33, 42):
        drawn = sample_references(train, 2, seed, NOVEL_CATEGORIES)
        task = load("coco_fsod", "shots=2", f"seed={seed}")
        assert {a.id for a in task.reference_dataset.annotations} == {i for ids in drawn.values() for i in ids}


def test_references_of_an_earlier_run_give_the_same_ones(load, tmp_path) -> None:
    write_coco_2017(tmp_path)
    first = load("coco_fsod", "shots=2", "seed=1")
    files = [tmp_path / "runs/a/references.json", tmp_path / "runs/b/references.json"]
    write_coco(first.reference_dataset, files[0])
    for settings in (["shots=2"], ["shots=9", "sampler=all"]):
        again = load("coco_fsod", f"references={files[0]}", "seed=77", *settings)
        write_coco(again.reference_dataset, files[1])
        assert files[0].read_bytes() == files[1].read_bytes()
        assert [vars(i) for i in again.references.instances] == [vars(i) for i in first.references.instances]
    drawn_anew = load("coco_fsod", f"references={files[0]}", "shots=1")
    assert set(drawn_anew.references.counts().values()) == {1}


def test_same_seed_same_bytes(load, tmp_path) -> None:
    write_coco_2017(tmp_path)
    contents = []
    for seed in (3, 3, 4):
        write_coco(load("coco_fsod", "shots=1", f"seed={seed}").reference_dataset, tmp_path / "references.json")
        contents.append((tmp_path / "references.json").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_limit_keeps_the_first_images(load, tmp_path) -> None:
    write_coco_2017(tmp_path)
    task = load("coco_fsod", "shots=1", "limit=1")
    assert [t.id for t in task.targets] == [i.id for i in task.ground_truth.images] == [139]


def test_tfa_s_files_are_used_with_2017_images(load, tmp_path) -> None:
    write_coco_2017(tmp_path)
    write_coco_tfa(tmp_path, NOVEL_CATEGORIES, shots=2)
    task = load("coco_fsod", "sampler=tfa", "shots=2", "seed=0")
    assert task.references.counts() == dict.fromkeys(NOVEL_CATEGORIES, 2)
    assert {i.image_path.name for i in task.references.instances} == {"000000000009.jpg", "000000000025.jpg"}
    with pytest.raises(
        InputFileNotFoundError, match=r"cocosplit/seed5/full_box_2shot_person_trainval.json is missing.*seed=5"
    ):
        load("coco_fsod", "sampler=tfa", "shots=2", "seed=5")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("annotations/instances_val2017.json", "instances_val2017.json .* is missing"),
        ("annotations/instances_train2017.json", "instances_train2017.json .* is missing"),
        ("val2017/000000000285.jpg", r"1 of 3 COCO validation images are missing in .*val2017 \(first: 000000000285"),
    ],
)
def test_missing_data_say_how_to_get_them(load, tmp_path, missing, message) -> None:
    write_coco_2017(tmp_path)
    (tmp_path / "coco" / missing).unlink()
    with pytest.raises(InputFileNotFoundError, match=f"{message}.*nttt data prepare coco_fsod"):
        load("coco_fsod", "shots=1")


def test_missing_reference_image(load, tmp_path) -> None:
    write_coco_2017(tmp_path)
    task = load("coco_fsod", "shots=1")
    task.references.instances[0].image_path.unlink()
    with pytest.raises(InputFileNotFoundError, match="COCO training images are missing in .*train2017"):
        load("coco_fsod", "shots=1")


def test_too_many_shots(load, tmp_path) -> None:
    write_coco_2017(tmp_path)
    with pytest.raises(InputError, match="5 references per category were asked for, but 'person' has 4"):
        load("coco_fsod", "shots=5")


def test_annotations_without_a_novel_class(load, tmp_path) -> None:
    write_coco_2017(tmp_path)
    path = tmp_path / "coco/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    content["categories"] = [category for category in content["categories"] if category["name"] != "tv"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="lacks 1 of the 20 categories of benchmark=coco_fsod: tv"):
        load("coco_fsod", "shots=1")


def test_samplers_of_other_benchmarks_are_refused(load, tmp_path) -> None:
    write_coco_2017(tmp_path)
    with pytest.raises(InputError, match="sampler=released is not for coco_fsod .*default, paper, tfa"):
        load("coco_fsod", "sampler=released")
    with pytest.raises(InputError, match="sampler=all is not for coco_fsod without benchmark.references"):
        load("coco_fsod", "sampler=all")
