"""Paint calm backgrounds that differ from the objects before them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tools.demo.scenes.instances import SceneInstance


def _background_color(rng: np.random.Generator, items: Sequence[SceneInstance]) -> np.ndarray:
    """The most distinct from the objects' colors among a few muted candidates, (3,) float32."""
    candidates = rng.uniform(0.12, 0.85, (8, 1)) + rng.uniform(-0.14, 0.14, (8, 3))
    used = np.concatenate([item.colors[:2] for item in items])
    nearest = np.abs(candidates[:, None] - used[None]).sum(axis=2).min(axis=1)
    return candidates[np.argmax(nearest)].astype(np.float32)


def _waves(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, count: int, low: float, high: float) -> np.ndarray:
    """A sum of `count` random plane waves over x (1, W), y (H, 1), about within +-1, (H, W)."""
    angle, frequency = rng.uniform(0, 2 * math.pi, count), rng.uniform(low, high, count)
    phase = rng.uniform(0, 2 * math.pi, count)
    total = np.zeros((y.shape[0], x.shape[1]), dtype=np.float32)
    for a, f, p in zip(angle, frequency, phase, strict=True):
        # sin(s + t) from the sines of rows and columns: no trigonometry over the whole image.
        s, t = (f * math.cos(a)) * x + p, (f * math.sin(a)) * y
        total += np.sin(s) * np.cos(t) + np.cos(s) * np.sin(t)
    return total / math.sqrt(count * 2)


def _patchwork(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """Rectangular patches of random tones that fill the image, (H, W) about within +-1."""
    height, width = size_hw
    rows, columns = rng.integers(2, 6, 2)
    tones = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    row_of = np.minimum(np.arange(height) * rows // height, rows - 1)
    column_of = np.minimum((np.arange(width) + int(rng.integers(0, width))) % width * columns // width, columns - 1)
    return tones[row_of[:, None], column_of[None, :]]


def random_background(rng: np.random.Generator, items: Sequence[SceneInstance], size_hw: tuple[int, int]) -> np.ndarray:
    """A calm backdrop, (H, W, 3) float32."""
    height, width = size_hw
    base = _background_color(rng, items)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    kind = rng.integers(4)
    if kind == 0:
        angle = rng.uniform(0, 2 * math.pi)
        tone = x * math.cos(angle) + y * math.sin(angle)
    elif kind == 1:
        tone = _waves(rng, x, y, 5, 2.0, 14.0)
    elif kind == 2:
        tone = _waves(rng, x, y, 1, 15.0, 60.0) * rng.uniform(0.4, 1.2)
    else:
        tone = _patchwork(rng, size_hw)
    direction = rng.uniform(0.3, 1.0) * 0.09 + rng.uniform(-0.03, 0.03, 3)
    return base + tone[..., None] * direction.astype(np.float32)
