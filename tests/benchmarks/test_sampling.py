import json
import random

import pytest
from PIL import Image

from no_time_to_train.benchmarks.sampling import sample_references, sampled_dataset, sampled_references
from no_time_to_train.data.coco import write_coco
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.errors import InputError

NAMES = {7: "boat", 3: "bird"}


def entry(number, image_id, category_id, box=(20, 20, 50, 50), **more):
    return {"id": number, "image_id": image_id, "category_id": category_id, "bbox": list(box), **more}


def dataset_of(tmp_path, annotations, num_images=20):
    data = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "height": 100, "width": 100, "extra": 1} for i in range(num_images)
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in NAMES.items()],
    }
    (tmp_path / "train.json").write_text(json.dumps(data))
    return read_coco(tmp_path / "train.json")


@pytest.mark.parametrize(
    ("seed", "first", "second"),
    [
        (33, [0, 4, 5, 1, 7, 8, 6, 3, 2, 9], [0, 2, 1, 3, 4]),
        (42, [7, 3, 2, 8, 5, 6, 9, 4, 0, 1], [1, 2, 0, 3, 4]),
        (99, [7, 2, 0, 8, 5, 1, 4, 3, 9, 6], [1, 0, 4, 3, 2]),
    ],
)
def test_published_draws(tmp_path, seed, first, second):
    """Category 7 comes first in the file, so its ten annotations are shuffled first, though 3 is the lower id."""
    boats = [entry(100 + i, i, 7) for i in range(10)]
    birds = [entry(200 + i, i, 3) for i in range(5)]
    dataset = dataset_of(tmp_path, boats[:1] + birds[:2] + boats[1:] + birds[2:])
    drawn = sample_references(dataset, shots=5, seed=seed)
    assert list(drawn) == [7, 3]
    assert drawn == {7: [100 + i for i in first[:5]], 3: [200 + i for i in second]}


def test_draws_are_nested(tmp_path):
    dataset = dataset_of(tmp_path, [entry(1 + i, i, 7) for i in range(20)])
    three, ten = (sample_references(dataset, shots, 5, ["boat"])[7] for shots in (3, 10))
    assert ten[:3] == three


def published_sampler(path, seed, shots, wanted):
    """A plain transcription of the rules, on the raw JSON."""
    random.seed(seed)
    data = json.loads(path.read_text())
    by_id = {}
    for annotation in data["annotations"]:
        by_id[annotation["id"]] = annotation
    images = {i["id"]: i for i in data["images"]}
    by_category = {}
    for annotation in by_id.values():
        if annotation["category_id"] in wanted:
            by_category.setdefault(annotation["category_id"], []).append(annotation)
    result = {}
    for category_id, candidates in by_category.items():
        random.shuffle(candidates)
        taken = []
        for a in candidates:
            x, y, w, h = a["bbox"]
            right = images[a["image_id"]]["width"] - (x + w)
            bottom = images[a["image_id"]]["height"] - (y + h)
            valid = a.get("iscrowd", 0) != 1 and w >= 32 and h >= 32 and min(x, y, right, bottom) >= 10
            if valid and a["image_id"] not in [t["image_id"] for t in taken] and len(taken) < shots:
                taken.append(a)
        result[category_id] = [(a["image_id"], a["bbox"]) for a in taken]
    return result


@pytest.mark.parametrize("seed", range(8))
def test_invalid_flat_crowd_and_repeated_annotations_take_part_in_the_shuffle(tmp_path, seed):
    rng = random.Random(1000 + seed)
    annotations = []
    for number in range(120):
        box = [
            rng.choice([5, 9.9, 10, 20]),
            rng.choice([9, 10, 30]),
            rng.choice([0, 31.5, 32, 60]),
            rng.choice([32, 60]),
        ]
        repeated_id = rng.randrange(1, 140)
        annotations.append(entry(repeated_id, number % 20, rng.choice([3, 7]), box, iscrowd=int(rng.random() < 0.1)))
    dataset = dataset_of(tmp_path, annotations)
    assert dataset.dropped_annotations
    by_id = {a.id: a for a in dataset.annotations}
    drawn = sample_references(dataset, shots=3, seed=seed)
    got = {
        category: [(by_id[i].image_id, list(by_id[i].source_box_xywh)) for i in ids] for category, ids in drawn.items()
    }
    expected = published_sampler(tmp_path / "train.json", seed, 3, wanted={3, 7})
    assert got == expected and list(got) == list(expected)


@pytest.mark.parametrize(
    "box", [(9, 20, 50, 50), (20, 9, 50, 50), (41, 20, 50, 50), (20, 41, 50, 50), (20, 20, 31, 50), (20, 20, 50, 31)]
)
def test_small_and_border_boxes_are_never_drawn(tmp_path, box):
    dataset = dataset_of(tmp_path, [entry(1, 0, 7, box), entry(2, 1, 7, (10, 10, 32, 32)), entry(3, 2, 3)])
    assert sample_references(dataset, 1, 0)[7] == [2]
    with pytest.raises(InputError, match=r"2 references per category were asked for, but 'bird' has 1, 'boat' has 1"):
        sample_references(dataset, 2, 0)


def test_an_image_serves_a_category_once(tmp_path):
    dataset = dataset_of(tmp_path, [entry(1, 0, 7), entry(2, 0, 7), entry(3, 0, 3)])
    with pytest.raises(InputError, match="'boat' has 1"):
        sample_references(dataset, 2, 0, ["boat"])
    assert sample_references(dataset, 1, 0)[3] == [3]


def test_bad_requests(tmp_path):
    dataset = dataset_of(tmp_path, [entry(1, 0, 7)])
    with pytest.raises(InputError, match="shots=0"):
        sample_references(dataset, 0, 0)
    with pytest.raises(InputError, match="Did you mean 'boat'"):
        sample_references(dataset, 1, 0, ["boats"])


def test_same_seed_gives_the_same_bytes_and_references(tmp_path):
    for number in range(20):
        Image.new("RGB", (100, 100)).save(tmp_path / f"{number}.png")
    dataset = dataset_of(tmp_path, [entry(1 + i, i % 20, 7 if i % 2 else 3) for i in range(40)])
    files = []
    for name in ("a.json", "b.json"):
        drawn = sample_references(dataset, 3, seed=1)
        write_coco(sampled_dataset(dataset, drawn), tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
    references = sampled_references(dataset, drawn, tmp_path)
    assert references.counts() == {"bird": 3, "boat": 3}
    assert {r.annotation_id for r in references.instances} == {i for ids in drawn.values() for i in ids}


def test_invalid_annotations_where_there_is_no_valid_one(tmp_path):
    small = (20, 20, 9, 9)
    boats = [entry(i, i, 7, small) for i in (1, 2, 3)] + [entry(4, 3, 7, small), entry(5, 5, 7, small, iscrowd=1)]
    birds = [entry(11, 1, 3), entry(12, 2, 3, small)]
    dataset = dataset_of(tmp_path, boats + birds)
    with pytest.raises(InputError, match="'boat' has 0"):
        sample_references(dataset, 1, seed=0)
    drawn = sample_references(dataset, 1, seed=0, allow_invalid=True)
    assert drawn[3] == [11] and drawn[7][0] in (1, 2, 3, 4)
    with pytest.raises(InputError, match="'bird' has 1"):
        sample_references(dataset, 2, seed=0, allow_invalid=True)


def test_too_few_are_repeated_from_the_first(tmp_path):
    dataset = dataset_of(tmp_path, [entry(1, 0, 7), entry(2, 1, 7), entry(3, 2, 3)])
    drawn = sample_references(dataset, 5, seed=0, allow_duplicates=True)
    first, second = sample_references(dataset, 2, seed=0, categories=["boat"])[7]
    assert drawn == {7: [first, second, first, second, first], 3: [3] * 5}
    sampled = sampled_dataset(dataset, drawn)
    assert sorted(a.id for a in sampled.annotations) == list(range(1, 11))
    assert sorted(a.image_id for a in sampled.annotations if a.category_id == 3) == [2] * 5
    write_coco(sampled, tmp_path / "references.json")
    again = read_coco(tmp_path / "references.json")
    assert again.annotations == sampled.annotations and again.images == sampled.images


def test_categories_with_too_few_are_filled_up_on_request(tmp_path):
    valid = [entry(1, 0, 7), entry(2, 1, 7)]
    small_elsewhere = entry(3, 2, 7, box=(20, 20, 5, 5))
    on_the_same_image = entry(4, 0, 7, box=(0, 0, 40, 40))
    crowd = entry(5, 3, 7, iscrowd=1)
    dataset = dataset_of(tmp_path, [*valid, small_elsewhere, on_the_same_image, crowd])
    with pytest.raises(InputError, match="sampler=filled_up"):
        sample_references(dataset, shots=4, seed=33, categories=["boat"])
    strict = sample_references(dataset, shots=2, seed=33, categories=["boat"])[7]
    filled = sample_references(dataset, shots=4, seed=33, categories=["boat"], fill_up=True)[7]
    assert filled[:2] == strict and filled[2:] == [3, 4]
    with pytest.raises(InputError, match="'boat' has 4"):
        sample_references(dataset, shots=5, seed=33, categories=["boat"], fill_up=True)
