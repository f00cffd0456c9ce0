"""Draw one object: an instance of a category at a pose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tools.demo.scenes.categories import SceneCategory
from tools.demo.scenes.shapes import COMPANIONS, SHAPES, Field
from tools.demo.scenes.textures import ANCHORED_TEXTURES, PALETTE, TEXTURES


@dataclass(frozen=True)
class SceneInstance:
    """One individual of a category: its colors (3, 3) float32 in [0, 1] and its deviations from the category."""

    category: SceneCategory
    colors: np.ndarray
    stretch: float
    bend: float
    bend_phase: float
    texture_phase: tuple[float, float]
    frequency_factor: float
    light_angle: float
    light_strength: float


@dataclass(frozen=True)
class Pose:
    """Center and radius in pixels, rotation in radians."""

    x: float
    y: float
    radius: float
    angle: float


@dataclass(frozen=True)
class Layer:
    """An instance drawn in its own window: rows/columns in the image, alpha (h, w), color (h, w, 3).

    `whole_area` counts the pixels of the whole object, those outside the image included.
    """

    rows: slice
    columns: slice
    alpha: np.ndarray
    color: np.ndarray
    whole_area: int

    @property
    def mask(self) -> np.ndarray:
        """(h, w) bool."""
        return self.alpha >= 0.5


def random_instance(rng: np.random.Generator, category: SceneCategory) -> SceneInstance:
    """A random individual of a category."""
    names = (*category.colors, category.companion_color)
    base = np.array([PALETTE[name] for name in names], dtype=np.float32)
    tint = rng.uniform(-0.06, 0.06, 3)
    own = rng.uniform(-0.03, 0.03, (3, 3))
    colors = np.clip(base * rng.uniform(0.85, 1.12) + tint + own, 0.02, 1).astype(np.float32)
    reach = 0.08 if category.texture in ANCHORED_TEXTURES else 1.0
    phase = rng.uniform(-reach, reach, 2)
    return SceneInstance(
        category=category,
        colors=colors,
        stretch=float(rng.uniform(0.9, 1.0)),
        bend=float(rng.uniform(-0.08, 0.08)),
        bend_phase=float(rng.uniform(0, 2 * math.pi)),
        texture_phase=(float(phase[0]), float(phase[1])),
        frequency_factor=float(rng.uniform(0.88, 1.14)),
        light_angle=float(rng.uniform(0, 2 * math.pi)),
        light_strength=float(rng.uniform(0.05, 0.22)),
    )


def rotate(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """x, y (h, w) in a frame turned by `angle`."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return x * cosine + y * sine, y * cosine - x * sine


def _object_fields(item: SceneInstance, x: np.ndarray, y: np.ndarray) -> tuple[Field, Field | None]:
    """The fields of the main part and of the attached part, if any, at object coordinates x, y (h, w)."""
    category = item.category
    main = SHAPES[category.shape]
    if category.companion is None:
        return main(x, y / category.aspect, category.shape_params) * category.aspect, None
    attached = COMPANIONS[category.companion](*rotate(x, y, category.companion_angle))
    # The main part gives up some room, away from the attached part, so that both fit into the unit circle.
    shift_x, shift_y = 0.18 * math.cos(category.companion_angle), 0.18 * math.sin(category.companion_angle)
    inner_x, inner_y = (x + shift_x) / 0.8, (y + shift_y) / (0.8 * category.aspect)
    return main(inner_x, inner_y, category.shape_params) * (0.8 * category.aspect), attached


def _surface(item: SceneInstance, x: np.ndarray, y: np.ndarray, main: Field, attached: Field | None) -> np.ndarray:
    """The colors of an object without light, (h, w, 3) float32 in [0, 1]."""
    category = item.category
    u, v = rotate(x, y, category.texture_angle)
    u, v = u + item.texture_phase[0], v + item.texture_phase[1]
    share = TEXTURES[category.texture](u, v, category.frequency * item.frequency_factor)[..., None]
    first, second, third = item.colors
    color = first + share * (second - first)
    if category.border:
        rim = np.clip((0.13 - main) * 12, 0, 1)[..., None]
        color = color + rim * (first * 0.45 - color)
    if attached is not None:
        # The main part lies on top of the attached one.
        behind = np.clip(0.5 - main * 30, 0, 1)[..., None]
        color = color + behind * (third - color)
    return color


def _light(item: SceneInstance, x: np.ndarray, y: np.ndarray, field: Field) -> np.ndarray:
    """Directional light and a darker rim, which lets objects of equal color part from each other, (h, w, 1)."""
    slope = x * math.cos(item.light_angle) + y * math.sin(item.light_angle)
    rim = 0.78 + 0.22 * np.clip(field * 9, 0, 1)
    return ((1 + item.light_strength * slope) * rim)[..., None]


def draw_instance(item: SceneInstance, pose: Pose, size_hw: tuple[int, int]) -> Layer | None:
    """Draw an instance in its window of the image; None if the window does not meet the image."""
    height, width = size_hw
    reach = pose.radius * 1.12 + 2
    top, bottom = math.floor(pose.y - reach), math.ceil(pose.y + reach)
    left, right = math.floor(pose.x - reach), math.ceil(pose.x + reach)
    if bottom <= 0 or right <= 0 or top >= height or left >= width:
        return None
    grid_y = ((np.arange(top, bottom, dtype=np.float32) + 0.5 - pose.y) / pose.radius)[:, None]
    grid_x = ((np.arange(left, right, dtype=np.float32) + 0.5 - pose.x) / pose.radius)[None, :]
    x, y = rotate(grid_x, grid_y, pose.angle)
    y = y / item.stretch
    x = x + item.bend * np.sin(2.5 * y + item.bend_phase)
    main, attached = _object_fields(item, x, y)
    field = main if attached is None else np.maximum(main, attached)
    alpha = np.clip(0.5 + field * pose.radius, 0, 1)
    inside = (
        slice(max(top, 0) - top, min(bottom, height) - top),
        slice(max(left, 0) - left, min(right, width) - left),
    )
    x, y, main, field = x[inside], y[inside], main[inside], field[inside]
    attached = None if attached is None else attached[inside]
    return Layer(
        rows=slice(max(top, 0), min(bottom, height)),
        columns=slice(max(left, 0), min(right, width)),
        alpha=alpha[inside],
        color=_surface(item, x, y, main, attached) * _light(item, x, y, field),
        whole_area=int(np.count_nonzero(alpha >= 0.5)),
    )
