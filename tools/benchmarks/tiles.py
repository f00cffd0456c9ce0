"""Recall of small objects in a large synthetic image with tiles and without, and what they take.

``python -m tools.benchmarks.tiles --tiles none,auto``
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image

from no_time_to_train.benchmarks.sampling import sample_references, sampled_references
from no_time_to_train.build import build_segmenter, compose_config
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.ops.rle import Rle, encode_mask_crop, mask_ious
from no_time_to_train.structures import Detections
from tools.demo.scenes.backgrounds import random_background
from tools.demo.scenes.camera import blend
from tools.demo.scenes.categories import NOVEL_CATEGORIES
from tools.demo.scenes.instances import Pose, draw_instance, random_instance

_BACKGROUND_SCALE = 16
_GRAY_LEVELS = 255


@dataclass(frozen=True)
class Truth:
    """One object: the name of its category and its mask."""

    name: str
    mask: Rle


def draw_image(size_hw: tuple[int, int], num_objects: int, object_px: int, seed: int) -> tuple[np.ndarray, list[Truth]]:
    """Draw objects of one size, spread over a calm background; (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    chosen = [NOVEL_CATEGORIES[number % len(NOVEL_CATEGORIES)] for number in range(num_objects)]
    items = [random_instance(rng, category) for category in chosen]
    small = random_background(rng, items, (height // _BACKGROUND_SCALE, width // _BACKGROUND_SCALE))
    levels = (np.clip(small, 0, 1) * _GRAY_LEVELS).astype(np.uint8)
    image = np.array(Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC))
    columns = int(np.ceil(np.sqrt(num_objects * width / height)))
    cell_px = width // columns
    truths = []
    for number, item in enumerate(items):
        row, column = divmod(number, columns)
        x, y = ((place + rng.uniform(0.2, 0.8)) * cell_px for place in (column, row))
        layer = draw_instance(item, Pose(x, y, object_px / 2, float(rng.uniform(0, 2 * np.pi))), size_hw)
        assert layer is not None, "every cell lies in the image"
        patch = image[layer.rows, layer.columns].astype(np.float32) / _GRAY_LEVELS
        window = type(layer)(slice(None), slice(None), layer.alpha, layer.color, layer.whole_area)
        blend(patch, window)
        image[layer.rows, layer.columns] = (np.clip(patch, 0, 1) * _GRAY_LEVELS + 0.5).astype(np.uint8)
        mask = encode_mask_crop(layer.mask, layer.rows.start, layer.columns.start, size_hw)
        truths.append(Truth(item.category.name, mask))
    return image, truths


def recall(truths: list[Truth], found: Detections, iou: float = 0.5) -> tuple[float, float]:
    """Return the shares of objects that are found by some mask, and by one with the right label."""
    if not len(found):
        return 0.0, 0.0
    ious = mask_ious([truth.mask for truth in truths], found.rles)
    names = np.array(found.category_names)
    right = np.array([truth.name for truth in truths])[:, None] == names
    return float((ious >= iou).any(1).mean()), float(((ious >= iou) & right).any(1).mean())


def main() -> None:
    """Print one line for each value of ``tiles``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", default="none,auto", help="values to compare, separated by commas")
    parser.add_argument("--size", default="4000x6000", help="height x width in pixels")
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--object-px", type=int, default=40)
    parser.add_argument("--points", type=int, default=8, help="grid points on each axis, of the image and of each tile")
    parser.add_argument("--min-score", type=float, default=0.35)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    height, width = (int(side) for side in options.size.split("x"))
    image, truths = draw_image((height, width), options.objects, options.object_px, options.seed)
    train = read_coco(demo_data_folder() / "benchmark" / "annotations" / "train.json")
    references = sampled_references(train, sample_references(train, 5, 0), demo_data_folder() / "benchmark" / "train")
    for tiles in options.tiles.split(","):
        overrides = ["preset=demo", f"tiles={tiles}", f"proposals.points_per_side={options.points}"]
        segmenter = build_segmenter(compose_config(overrides))
        memory = segmenter.build_memory(references)
        before = _peak_mb()
        start, cpu_start = time.perf_counter(), time.process_time()
        found = segmenter.segment(image, memory)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        confident = found.scoring_at_least(options.min_score)
        of_mask, of_label = recall(truths, confident)
        print(
            f"tiles={tiles}: recall of masks {of_mask:.2f}, with the right label {of_label:.2f}, {len(confident)} "
            f"detections; {seconds:.0f} s ({cpu_seconds:.0f} s CPU); peak memory {before:.0f} MB before, "
            f"{_peak_mb():.0f} MB after",
            flush=True,
        )


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


if __name__ == "__main__":
    main()
