from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from no_time_to_train.benchmarks.cd_fsod import DOMAINS, domain_categories
from no_time_to_train.errors import InputError, InputFileNotFoundError
from tests.benchmarks.datasets_on_disk import BOX_XYWH, SHOTS, released_objects, write_box_annotations, write_cd_fsod


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_lists_its_released_references(domain: str) -> None:
    released = SHOTS["images"][domain]
    assert set(released) == {"1", "5", "10"}
    for shots, images in released.items():
        assert tuple(images) == domain_categories(domain)
        counts = {name: len(image_ids) for name, image_ids in images.items()}
        if (domain, shots) == ("clipart1k", "10"):
            assert counts.pop("motorbike") == 7
        assert set(counts.values()) == {int(shots)}


def test_annotations_of_uodd_belong_to_its_images() -> None:
    for shots, per_category in SHOTS["annotations"]["uodd"].items():
        for name, annotation_ids in per_category.items():
            assert len(annotation_ids) == len(SHOTS["images"]["uodd"][shots][name])


def test_string_ids_and_names_spelled_otherwise(load, tmp_path) -> None:
    folder = write_cd_fsod(tmp_path, "artaxor", released_objects("artaxor", 1), folder="artaxor")
    for path in (folder / "annotations").iterdir():
        path.write_text(path.read_text().replace('"Araneae"', '"araneae "').replace('"Odonata"', '"ODO_nata"'))
    task = load("cd_fsod", "shots=1")
    assert task.name == "cd_fsod/domain=artaxor" and task.evaluator == "coco"
    assert [c.name for c in task.ground_truth.categories] == list(domain_categories("artaxor"))
    assert task.ground_truth.categories[0].id == 0
    spider = next(i for i in task.references.instances if i.category.name == "Araneae")
    assert spider.image_id == spider.image_path.stem == "33f0071dfc8a8dfa38d68c6939c5a1d3"
    assert spider.mask is None
    assert [target.id for target in task.targets] == ["t0", "t1"]
    assert 0 not in {a.id for a in task.ground_truth.annotations}


def test_a_repeated_image_gives_its_annotations_in_turn(load, tmp_path) -> None:
    write_cd_fsod(tmp_path, "uodd", released_objects("uodd", 5))
    task = load("cd_fsod", "domain=uodd", "shots=5")
    assert task.references.counts() == dict.fromkeys(domain_categories("uodd"), 5)
    boxes = [i.box_xyxy for i in task.references.instances if i.image_id == 1590]
    assert len(set(boxes)) == 2
    first_only = load("cd_fsod", "domain=uodd", "shots=5", "first_annotation_only=true")
    assert first_only.references.counts() == dict.fromkeys(domain_categories("uodd"), 5)
    assert [i.box_xyxy[0] for i in first_only.references.instances if i.image_id == 1590] == [BOX_XYWH[0]] * 2


def test_uodd_as_its_authors_publish_it(load, tmp_path) -> None:
    """Classes called 0B 1B 2B, a separate validation set whose annotation ids begin anew, unlisted objects first."""
    folder = write_cd_fsod(tmp_path, "uodd", {})
    names = ("0B", "1B", "2B")
    write_box_annotations(folder, "val", names, {3586: (0, 0, 0)}, first_id=583)
    train = {i: positions for i, positions in released_objects("uodd", 10).items() if i != 3586}
    write_box_annotations(folder, "train", names, train, first_id=1)
    task = load("cd_fsod", "domain=uodd", "shots=10")
    found = [i for i in task.references.instances if i.image_id == 3586]
    assert {i.image_path for i in found} == {folder / "val/3586.jpg"}
    assert sorted(i.box_xyxy[0] for i in found) == [BOX_XYWH[0] + 0.25, BOX_XYWH[0] + 0.5]
    assert task.references.counts() == {"seacucumber": 10, "seaurchin": 10, "scallop": 10}


def test_too_few_released_references_are_filled_up_as_published(load, tmp_path) -> None:
    write_cd_fsod(tmp_path, "clipart1k", released_objects("clipart1k", 10))
    task = load("cd_fsod", "domain=clipart1k", "shots=10")
    assert task.references.counts() == dict.fromkeys(domain_categories("clipart1k"), 10)
    listed = SHOTS["images"]["clipart1k"]["10"]["motorbike"]
    expected = Counter(listed) + Counter(random.Random(42).choices(listed, k=3))
    assert Counter([listed[i] for i in (4, 0, 1)]) == expected - Counter(listed)
    motorbikes = [i for i in task.references.instances if i.category.name == "motorbike"]
    assert Counter(i.image_id for i in motorbikes) == expected
    assert len({i.annotation_id for i in task.references.instances}) == 200


def test_released_file_comes_first(load, tmp_path) -> None:
    folder = write_cd_fsod(tmp_path, "deepfish", {7: (0,), 8: (0,)})
    content = json.loads((folder / "annotations/train.json").read_text())
    content["annotations"] = content["annotations"][1:]
    (folder / "annotations/1_shot.json").write_text(json.dumps(content))
    task = load("cd_fsod", "domain=deepfish", "shots=1")
    assert [i.image_path for i in task.references.instances] == [folder / "train/8.jpg"]


@pytest.mark.parametrize("name", ["NEU-DET", "NEUDET", "neu_det"])
def test_folder_names(load, tmp_path, name: str) -> None:
    write_cd_fsod(tmp_path, "neu_det", released_objects("neu_det", 1), folder=name)
    assert len(load("cd_fsod", "domain=neu_det", "shots=1").references) == 6


def test_own_drawing(load, tmp_path) -> None:
    write_cd_fsod(tmp_path, "deepfish", {i: (0,) for i in range(5)})
    task = load("cd_fsod", "domain=deepfish", "sampler=paper", "shots=3", "seed=1")
    assert task.references.counts() == {"fish": 3}


def test_requests_that_the_released_references_do_not_meet(load, tmp_path) -> None:
    folder = write_cd_fsod(tmp_path, "deepfish", {1: (0,)})
    with pytest.raises(InputError, match="shots=3: CD-FSOD released references for 1, 5 and 10"):
        load("cd_fsod", "domain=deepfish", "shots=3")
    with pytest.raises(InputError, match="image 2416 of the released references has 0 objects.*sampler=paper"):
        load("cd_fsod", "domain=deepfish", "shots=1")
    write_box_annotations(folder, "1_shot", ("fish",), {1: (0, 0)})
    with pytest.raises(InputError, match="has 2 references of 'fish' for 1 shots"):
        load("cd_fsod", "domain=deepfish", "shots=1")


def test_other_categories_are_refused(load, tmp_path) -> None:
    folder = write_cd_fsod(tmp_path, "deepfish", {1: (0,)})
    write_box_annotations(folder, "test", ("shark",), {1: (0,)})
    with pytest.raises(InputError, match="other categories than expected: missing fish; unknown shark"):
        load("cd_fsod", "domain=deepfish", "shots=1")


def test_missing_domain(load) -> None:
    with pytest.raises(InputFileNotFoundError, match="DIOR.*test.json .*nttt data prepare cd_fsod domain=dior"):
        load("cd_fsod", "domain=dior")
