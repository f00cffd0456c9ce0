"""Render scenes and clips with exact masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.demo.scenes.arrangement import arrange
from tools.demo.scenes.backgrounds import random_background
from tools.demo.scenes.camera import Camera, blend
from tools.demo.scenes.categories import SceneCategory
from tools.demo.scenes.instances import Pose, draw_instance


@dataclass(frozen=True)
class Scene:
    """image (H, W, 3) uint8; masks (N, H, W) bool, the visible pixels; category_indices (N,) int64."""

    image: np.ndarray
    masks: np.ndarray
    category_indices: np.ndarray


def render_scene(
    rng: np.random.Generator,
    categories: Sequence[SceneCategory],
    size_hw: tuple[int, int] = (256, 256),
    num_objects: tuple[int, int] = (2, 6),
    object_scale: tuple[float, float] = (0.2, 0.5),
) -> Scene:
    """Render a scene with `num_objects` (lowest, highest count) objects of random ones of the categories.

    `object_scale` is the range of object diameters relative to the short side of the image.
    """
    arrangement = arrange(rng, categories, size_hw, num_objects, object_scale)
    image = random_background(rng, arrangement.items, size_hw)
    for layer in arrangement.layers:
        blend(image, layer)
    return Scene(
        image=Camera.random(rng).take(rng, image),
        masks=arrangement.masks,
        category_indices=np.array(arrangement.indices, dtype=np.int64),
    )


def _moved(pose: Pose, motion: np.ndarray, time: float) -> Pose:
    """The pose at `time` frames; motion (7,): velocity x, y, turn, growth, and sway amplitude, rate, phase."""
    sway = motion[4] * (math.sin(motion[5] * time + motion[6]) - math.sin(motion[6]))
    return Pose(
        x=pose.x + motion[0] * time + sway,
        y=pose.y + motion[1] * time - sway,
        radius=pose.radius * math.exp(motion[3] * math.sin(0.25 * time)),
        angle=pose.angle + motion[2] * time,
    )


def _random_motion(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """(7,), see `_moved`; some objects are fast enough to leave the image."""
    short = min(size_hw)
    speed, heading = rng.uniform(0.0, 0.03) * short, rng.uniform(0, 2 * math.pi)
    turn, growth = rng.uniform(-0.12, 0.12), rng.uniform(-0.25, 0.25)
    sway = rng.uniform(0, 0.06) * short
    rate, phase = rng.uniform(0.1, 0.5), rng.uniform(0, 2 * math.pi)
    return np.array([speed * math.cos(heading), speed * math.sin(heading), turn, growth, sway, rate, phase])


def render_clip(
    rng: np.random.Generator,
    categories: Sequence[SceneCategory],
    size_hw: tuple[int, int] = (256, 256),
    num_objects: tuple[int, int] = (2, 5),
    num_frames: int = 8,
) -> tuple[np.ndarray, np.ndarray]:
    """Render moving objects: frames (T, H, W, 3) uint8 and their visible masks (T, N, H, W) bool.

    All objects are visible in the first frame; later they may hide each other or leave the image (empty masks).
    """
    start = arrange(rng, categories, size_hw, num_objects, (0.2, 0.5))
    backdrop = random_background(rng, start.items, size_hw)
    motions = [_random_motion(rng, size_hw) for _ in start.items]
    camera = Camera.random(rng)
    frames = np.zeros((num_frames, *size_hw, 3), dtype=np.uint8)
    masks = np.zeros((num_frames, len(start.items), *size_hw), dtype=bool)
    for time in range(num_frames):
        image = backdrop.copy()
        for number, (item, pose, motion) in enumerate(zip(start.items, start.poses, motions, strict=True)):
            layer = draw_instance(item, _moved(pose, motion, time), size_hw)
            if layer is None:
                continue
            blend(image, layer)
            masks[time, :number, layer.rows, layer.columns] &= ~layer.mask
            masks[time, number, layer.rows, layer.columns] = layer.mask
        frames[time] = camera.take(rng, image)
    return frames, masks
