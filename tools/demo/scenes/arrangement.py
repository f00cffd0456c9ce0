"""Place random objects so that each stays visible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.demo.scenes.categories import SceneCategory
from tools.demo.scenes.instances import Layer, Pose, SceneInstance, draw_instance, random_instance

MIN_VISIBLE_FRACTION = 0.35
MIN_VISIBLE_PIXELS = 100
_PLACEMENT_ATTEMPTS = 12


def random_pose(rng: np.random.Generator, size_hw: tuple[int, int], object_scale: tuple[float, float]) -> Pose:
    """A random pose; one object in six may stick out of the image."""
    height, width = size_hw
    radius = rng.uniform(*object_scale) * min(size_hw) / 2
    margin = radius * (0.3 if rng.random() < 1 / 6 else 1.05)
    margin_y, margin_x = min(margin, height * 0.45), min(margin, width * 0.45)
    return Pose(
        x=float(rng.uniform(margin_x, width - margin_x)),
        y=float(rng.uniform(margin_y, height - margin_y)),
        radius=float(radius),
        angle=float(rng.uniform(0, 2 * math.pi)),
    )


def _crowded(pose: Pose, others: Sequence[Pose]) -> bool:
    """Whether an object would lie mostly over (or hide) another one: a quick test before anything is drawn."""
    return any(math.hypot(pose.x - other.x, pose.y - other.y) < 0.6 * (pose.radius + other.radius) for other in others)


def _covered_masks(masks: np.ndarray, layer: Layer) -> np.ndarray:
    """The visible masks (N, H, W) with the new layer on top: (N + 1, H, W)."""
    covered = np.concatenate([masks, np.zeros((1, *masks.shape[1:]), dtype=bool)])
    window = covered[:, layer.rows, layer.columns]
    window[:-1] &= ~layer.mask
    window[-1] = layer.mask
    return covered


def _all_visible(masks: np.ndarray, whole_areas: Sequence[int]) -> bool:
    """Whether every object (N, H, W) still shows enough of its whole area (N,)."""
    visible = masks.sum(axis=(1, 2))
    return all(
        area >= max(MIN_VISIBLE_PIXELS, MIN_VISIBLE_FRACTION * whole)
        for area, whole in zip(visible, whole_areas, strict=True)
    )


@dataclass
class Arrangement:
    """Objects from the hindmost to the foremost, and their visible masks (N, H, W)."""

    items: list[SceneInstance]
    indices: list[int]
    poses: list[Pose]
    layers: list[Layer]
    masks: np.ndarray

    def place(self, item: SceneInstance, index: int, pose: Pose, size_hw: tuple[int, int]) -> bool:
        """Add the object on top unless it or an object below would hardly be visible."""
        if _crowded(pose, self.poses):
            return False
        layer = draw_instance(item, pose, size_hw)
        if layer is None:
            return False
        masks = _covered_masks(self.masks, layer)
        if not _all_visible(masks, [other.whole_area for other in (*self.layers, layer)]):
            return False
        self.items.append(item)
        self.indices.append(index)
        self.poses.append(pose)
        self.layers.append(layer)
        self.masks = masks
        return True


def arrange(
    rng: np.random.Generator,
    categories: Sequence[SceneCategory],
    size_hw: tuple[int, int],
    num_objects: tuple[int, int],
    object_scale: tuple[float, float],
) -> Arrangement:
    """Place random objects; fewer than asked for where there is no room, but always one."""
    target = int(rng.integers(num_objects[0], num_objects[1] + 1))
    arrangement = Arrangement([], [], [], [], np.zeros((0, *size_hw), dtype=bool))
    attempts = 0
    while len(arrangement.items) < target and (attempts < _PLACEMENT_ATTEMPTS * target or not arrangement.items):
        attempts += 1
        index = int(rng.integers(len(categories)))
        item = random_instance(rng, categories[index])
        arrangement.place(item, index, random_pose(rng, size_hw, object_scale), size_hw)
    return arrangement
