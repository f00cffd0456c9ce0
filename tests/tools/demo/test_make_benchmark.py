import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from no_time_to_train.files.paths import demo_data_folder
from tools.demo.make_benchmark import (
    box_xywh,
    choosing_categories,
    count_references,
    is_valid_reference,
    write_benchmark,
)
from tools.demo.scenes import NOVEL_CATEGORIES


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark")
    write_benchmark(out, num_train=6, num_test=2)
    return out


@pytest.mark.parametrize(("split", "count"), [("train", 6), ("test", 2)])
def test_annotations_agree_with_pictures_and_masks(benchmark, split, count):
    dataset = json.loads((benchmark / "annotations" / f"{split}.json").read_text())
    assert [image["id"] for image in dataset["images"]] == list(range(1, count + 1))
    assert [item["id"] for item in dataset["annotations"]] == list(range(1, len(dataset["annotations"]) + 1))
    assert [item["name"] for item in dataset["categories"]] == [category.name for category in NOVEL_CATEGORIES]
    sizes = {image["id"]: (image["height"], image["width"]) for image in dataset["images"]}
    for image in dataset["images"]:
        assert Image.open(benchmark / split / image["file_name"]).size == (image["width"], image["height"])
    for item in dataset["annotations"]:
        mask = coco_mask.decode(item["segmentation"]).astype(bool)
        assert mask.shape == sizes[item["image_id"]]
        assert (item["area"], item["bbox"], item["iscrowd"]) == (mask.sum(), box_xywh(mask), 0)
        assert 1 <= item["category_id"] <= len(NOVEL_CATEGORIES)


def test_the_same_files_come_out_again(benchmark, tmp_path):
    write_benchmark(tmp_path, num_train=6, num_test=2)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) == 6 + 2 + 2
    for path in written:
        assert (tmp_path / path).read_bytes() == (benchmark / path).read_bytes()


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_committed_benchmark_comes_out_again(benchmark, split):
    committed = demo_data_folder() / "benchmark"
    new, old = (json.loads((root / "annotations" / f"{split}.json").read_text()) for root in (benchmark, committed))
    count = len(new["images"])
    assert new["images"] == old["images"][:count]
    assert new["annotations"] == [item for item in old["annotations"] if item["image_id"] <= count]
    for image in new["images"]:
        pixels = [np.asarray(Image.open(root / split / image["file_name"]), int) for root in (benchmark, committed)]
        # Files are equal to the byte where the JPEG library and the sines are; elsewhere a few last bits differ.
        assert np.abs(pixels[0] - pixels[1]).max() <= 4


def test_a_benchmark_to_choose_on_has_other_categories(tmp_path):
    new = {(category.shape, category.texture) for number in (1, 2) for category in choosing_categories(number)}
    assert not new & {(category.shape, category.texture) for category in NOVEL_CATEGORIES}
    assert choosing_categories(1) != choosing_categories(2) and len(choosing_categories(1)) == len(NOVEL_CATEGORIES)
    dataset = write_benchmark(tmp_path, num_train=2, num_test=1, choosing=1)
    assert [item["name"] for item in dataset["categories"]] == [category.name for category in choosing_categories(1)]


def test_box_ends_behind_the_last_pixel():
    mask = np.zeros((10, 12), dtype=bool)
    mask[2:5, 3:9] = True
    assert box_xywh(mask) == [3, 2, 6, 3]


@pytest.mark.parametrize(
    ("box", "valid"),
    [([10, 10, 32, 32], True), ([9, 10, 40, 40], False), ([10, 10, 31, 40], False), ([59, 10, 32, 32], False)],
)
def test_valid_references_are_large_and_inside(box, valid):
    assert is_valid_reference(box, (100, 100)) is valid


def test_references_are_counted_once_per_image():
    box = [20, 20, 40, 40]
    dataset = {
        "images": [{"id": 1, "height": 100, "width": 100}],
        "annotations": [{"image_id": 1, "category_id": 4, "bbox": box} for _ in range(2)],
    }
    assert count_references(dataset) == {4: 1}
