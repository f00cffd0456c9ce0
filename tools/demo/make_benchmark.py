"""Writes the demonstration benchmark: images of ten novel categories with COCO annotations, for train and test.

    python -m tools.demo.make_benchmark --out data/demo/benchmark
    python -m tools.demo.make_benchmark --out data/choosing/1 --choosing 1

The second command writes a benchmark of ten other categories, to choose settings on: the committed test images are for
reporting only. Each number after ``--choosing`` gives other categories and other images.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from tools.demo.scenes import NOVEL_CATEGORIES, Scene, SceneCategory, render_scene, sample_category

SEED = 2507
NUM_TRAIN, NUM_TEST = 110, 80
REFERENCES_PER_CATEGORY = 20
_SIZES = (256, 288, 320, 352)
_OBJECT_SCALE = (0.25, 0.48)
_REFERENCE_SIDE, _REFERENCE_MARGIN = 32, 10
_CATEGORIES_PER_TRAIN_IMAGE = 5
_JPEG_QUALITY = 90


def _random_size(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width: half of the images are square, none is very long."""
    first = int(rng.integers(len(_SIZES)))
    second = first if rng.random() < 0.5 else min(max(first + int(rng.choice((-1, 1))), 0), len(_SIZES) - 1)
    return _SIZES[first], _SIZES[second]


def box_xywh(mask: np.ndarray) -> list[int]:
    """The box around the pixels of a mask (H, W) bool; it ends behind its last pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


def is_valid_reference(box: Sequence[int], size_hw: tuple[int, int]) -> bool:
    """Whether an object is large enough and far enough from the border to serve as a reference."""
    x, y, width, height = box
    large = min(width, height) >= _REFERENCE_SIDE
    margins = (x, y, size_hw[1] - x - width, size_hw[0] - y - height)
    return large and min(margins) >= _REFERENCE_MARGIN


def _reference_categories(scene: Scene) -> set[int]:
    """Indices of the categories of which a scene shows a valid reference."""
    return {
        int(index)
        for mask, index in zip(scene.masks, scene.category_indices, strict=True)
        if is_valid_reference(box_xywh(mask), mask.shape)
    }


def choosing_categories(number: int) -> tuple[SceneCategory, ...]:
    """Draw ten categories that are not the novel ones, no two of the same outline."""
    rng = np.random.default_rng([SEED, 1, number])
    chosen: dict[str, SceneCategory] = {}
    while len(chosen) < len(NOVEL_CATEGORIES):
        category = sample_category(rng)
        chosen.setdefault(category.shape, category)
    return tuple(chosen.values())


def _test_scenes(rng: np.random.Generator, categories: Sequence[SceneCategory], count: int) -> Iterator[Scene]:
    for _ in range(count):
        yield render_scene(rng, categories, _random_size(rng), (2, 5), _OBJECT_SCALE)


def _train_scenes(rng: np.random.Generator, categories: Sequence[SceneCategory], count: int) -> Iterator[Scene]:
    """Scenes of the categories with the fewest references so far, which keeps all of them about equally frequent."""
    references: Counter[int] = Counter()
    for _ in range(count):
        tie_breaks = rng.random(len(categories))
        rarest = sorted(range(len(categories)), key=lambda i: (references[i], tie_breaks[i]))
        chosen = rarest[:_CATEGORIES_PER_TRAIN_IMAGE]
        drawn = render_scene(rng, [categories[i] for i in chosen], _random_size(rng), (2, 5), _OBJECT_SCALE)
        scene = Scene(drawn.image, drawn.masks, np.array(chosen)[drawn.category_indices])
        references.update(_reference_categories(scene))
        yield scene


def _annotation(annotation_id: int, image_id: int, category_index: int, mask: np.ndarray) -> dict[str, Any]:
    """The COCO annotation of one object with its visible mask (H, W) bool."""
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_index + 1,
        "segmentation": {"size": [int(v) for v in rle["size"]], "counts": rle["counts"].decode("ascii")},
        "area": int(mask.sum()),
        "bbox": box_xywh(mask),
        "iscrowd": 0,
    }


def write_split(scenes: Iterator[Scene], categories: Sequence[SceneCategory], name: str, out: Path) -> dict[str, Any]:
    """Writes images and annotations of one split and returns its COCO dict."""
    (out / name).mkdir(parents=True, exist_ok=True)
    (out / "annotations").mkdir(exist_ok=True)
    named = [{"id": number, "name": category.name} for number, category in enumerate(categories, start=1)]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, scene in enumerate(scenes, start=1):
        height, width = scene.image.shape[:2]
        file_name = f"{image_id:04d}.jpg"
        Image.fromarray(scene.image).save(out / name / file_name, quality=_JPEG_QUALITY)
        images.append({"id": image_id, "file_name": file_name, "width": width, "height": height})
        for mask, index in zip(scene.masks, scene.category_indices, strict=True):
            annotations.append(_annotation(len(annotations) + 1, image_id, int(index), mask))
    dataset = {"images": images, "annotations": annotations, "categories": named}
    (out / "annotations" / f"{name}.json").write_text(json.dumps(dataset, separators=(",", ":")) + "\n")
    return dataset


def count_references(dataset: dict[str, Any]) -> Counter[int]:
    """For each category id, the number of images with a valid reference of it."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in dataset["images"]}
    found = {
        (annotation["category_id"], annotation["image_id"])
        for annotation in dataset["annotations"]
        if is_valid_reference(annotation["bbox"], sizes[annotation["image_id"]])
    }
    return Counter(category_id for category_id, _ in found)


def write_benchmark(out: Path, num_train: int, num_test: int, choosing: int | None = None) -> dict[str, Any]:
    """Writes both splits and returns the COCO dict of train.

    Args:
        out: folder for the benchmark.
        num_train: images to draw references from.
        num_test: images to label.
        choosing: None: the committed benchmark; a number: the benchmark of other categories with this number.
    """
    categories = NOVEL_CATEGORIES if choosing is None else choosing_categories(choosing)
    seed = [SEED] if choosing is None else [SEED, 2, choosing]
    train_rng, test_rng = (np.random.default_rng([*seed, split]) for split in range(2))
    train = write_split(_train_scenes(train_rng, categories, num_train), categories, "train", out)
    write_split(_test_scenes(test_rng, categories, num_test), categories, "test", out)
    return train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the benchmark")
    parser.add_argument("--choosing", type=int, help="number of a benchmark of other categories, to choose settings on")
    arguments = parser.parse_args()
    references = count_references(write_benchmark(arguments.out, NUM_TRAIN, NUM_TEST, arguments.choosing))
    fewest = min(references[number] for number in range(1, len(NOVEL_CATEGORIES) + 1))
    print(f"images with a valid reference per category: at least {fewest}")
    if fewest < REFERENCES_PER_CATEGORY:
        raise SystemExit(f"every category needs {REFERENCES_PER_CATEGORY}")


if __name__ == "__main__":
    main()
