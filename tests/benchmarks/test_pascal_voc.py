from __future__ import annotations

import pytest

from no_time_to_train.benchmarks.pascal_voc import CATEGORIES, NOVEL_CATEGORIES
from no_time_to_train.errors import InputError, InputFileNotFoundError
from tests.benchmarks.datasets_on_disk import write_pascal_voc, write_voc_image, write_voc_list


@pytest.mark.parametrize(("split", "num_objects"), [(1, 3), (2, 1), (3, 1)])
def test_splits(load, tmp_path, split: int, num_objects: int) -> None:
    write_pascal_voc(tmp_path)
    task = load("pascal_voc", f"split={split}", "shots=3")
    assert task.name == f"pascal_voc/split={split}" and task.evaluator == "voc"
    novel = NOVEL_CATEGORIES[split]
    assert [c.name for c in task.ground_truth.categories] == sorted(novel)
    assert [c.id for c in task.ground_truth.categories] == [1 + CATEGORIES.index(name) for name in sorted(novel)]
    assert (len(task.targets), len(task.ground_truth.annotations)) == (3, num_objects)
    assert task.references.counts() == dict.fromkeys(sorted(novel), 3)
    assert {i.image_path.name for i in task.references.instances} == {"000005.jpg", "000007.jpg", "2008_000002.jpg"}


def test_difficult_objects_are_ignored(load, tmp_path) -> None:
    write_pascal_voc(tmp_path)
    birds = [a for a in load("pascal_voc", "shots=1").ground_truth.annotations if a.image_id == 1]
    assert [(a.box_xyxy, a.is_crowd) for a in birds] == [((12, 11, 52, 47), False), ((0, 0, 64, 60), True)]


def test_published_boxes_are_one_pixel_short(load, tmp_path) -> None:
    write_pascal_voc(tmp_path)
    task = load("pascal_voc", "shots=1", "output.box_convention=inclusive")
    assert task.ground_truth.annotations[0].box_xyxy == (12, 11, 51, 46)


def write_tfa_list(root, name: str, lines: list[str], shots: int, seed: int = 0) -> None:
    folder = root / "pascal_voc/vocsplit" / (f"seed{seed}" if seed else "")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"box_{shots}shot_{name}_train.txt").write_text("\n".join(lines) + "\n")


def test_tfa_lists(load, tmp_path) -> None:
    """Absolute paths of another machine, both years, a difficult object, more objects than shots."""
    write_pascal_voc(tmp_path)
    devkit = tmp_path / "pascal_voc/VOCdevkit"
    corners = [("1", "1", "9", "9"), ("2", "2", "9", "9"), ("3", "3", "9", "9")]
    write_voc_image(devkit, 2007, "000009", [("bird", c, i == 0) for i, c in enumerate(corners)])
    write_voc_image(devkit, 2007, "000012", [("bird", corners[0], True)])
    write_voc_list(devkit, 2007, "trainval", ["000005", "000007", "000009", "000012"])
    for name in NOVEL_CATEGORIES[1]:
        lines = ["/scratch/VOC2012/JPEGImages/2008_000002.jpg", "VOC2007/JPEGImages/000005.jpg"]
        write_tfa_list(tmp_path, name, lines, shots=2, seed=4)
    write_tfa_list(tmp_path, "bird", ["x/000012.jpg", "x/000009.jpg"], shots=2, seed=4)
    task = load("pascal_voc", "sampler=tfa", "shots=2", "seed=4")
    assert task.references.counts() == dict.fromkeys(sorted(NOVEL_CATEGORIES[1]), 2)
    birds = [i for i in task.references.instances if i.category.name == "bird"]
    assert {(i.image_path.name, i.box_xyxy) for i in birds} == {
        ("000012.jpg", (0, 0, 9, 9)),
        ("000009.jpg", (1, 1, 9, 9)),
    }
    with pytest.raises(
        InputFileNotFoundError, match=r"vocsplit/box_2shot_bird_train.txt is missing.*few-shot-object-detection"
    ):
        load("pascal_voc", "sampler=tfa", "shots=2", "seed=0")


def test_tfa_list_of_other_images(load, tmp_path) -> None:
    write_pascal_voc(tmp_path)
    write_tfa_list(tmp_path, "bird", ["VOC2007/JPEGImages/000099.jpg"], shots=1)
    with pytest.raises(InputError, match="names images that are not in .*: 000099"):
        load("pascal_voc", "sampler=tfa", "shots=1", "seed=0")


def test_every_year_is_needed(load, tmp_path) -> None:
    write_pascal_voc(tmp_path)
    (tmp_path / "pascal_voc/VOCdevkit/VOC2012/ImageSets/Main/trainval.txt").unlink()
    with pytest.raises(InputFileNotFoundError, match="VOC2012.*trainval.txt .*nttt data prepare pascal_voc"):
        load("pascal_voc", "shots=1")
