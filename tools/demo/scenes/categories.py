"""Choose how the objects of a category look: ten novel categories, and a universe that leaves them out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tools.demo.scenes.shapes import COMPANIONS, SHAPES, random_shape_params
from tools.demo.scenes.textures import COLOR_NAMES, TEXTURES


@dataclass(frozen=True)
class SceneCategory:
    """The look shared by all instances of a category; coordinates are in units of the object radius."""

    name: str
    shape: str
    shape_params: tuple[float, ...]
    aspect: float
    texture: str
    frequency: float
    texture_angle: float
    colors: tuple[str, str]
    border: bool = False
    companion: str | None = None
    companion_angle: float = 0.0
    companion_color: str = "white"


def _novel(name: str, shape: str, params: tuple[float, ...], texture: str, a: str, b: str, **more) -> SceneCategory:
    look = {"aspect": 1.0, "frequency": 9.0, "texture_angle": 0.0, **more}
    return SceneCategory(name=name, shape=shape, shape_params=params, texture=texture, colors=(a, b), **look)


NOVEL_CATEGORIES: tuple[SceneCategory, ...] = (
    _novel("striped_star", "star", (5.0, 0.52), "striped", "yellow", "red", texture_angle=0.4),
    _novel("dotted_mushroom", "dome", (0.15,), "dotted", "red", "white", companion="stem", companion_angle=math.pi / 2),
    _novel("checked_ring", "ring", (0.4,), "checked", "white", "black", frequency=11.0),
    _novel("teal_gear", "gear", (9.0, 0.74, 0.22), "plain", "teal", "teal", border=True),
    _novel("marbled_pebble", "blob", (0.15, 0.3, 0.08, 2.0, 0.03, 4.0), "marbled", "green", "white", aspect=0.8),
    _novel("shaded_heart", "heart", (0.74,), "shaded", "purple", "pink", texture_angle=math.pi / 2),
    _novel("ringed_moon", "crescent", (0.62, 0.62), "ringed", "blue", "sky", frequency=13.0),
    _novel("halved_cross", "cross", (0.36,), "halved", "orange", "blue"),
    _novel("wooden_letter", "letter", (0.0,), "wavy", "brown", "orange", frequency=11.0),
    _novel("dotted_flower", "flower", (6.0, 0.62), "dotted", "pink", "purple", frequency=7.5),
)

_NOVEL_LOOKS = frozenset((category.shape, category.texture) for category in NOVEL_CATEGORIES)


def _shape_and_texture(rng: np.random.Generator) -> tuple[str, str]:
    """A random pair of shape family and texture that no novel category has, whatever the colors."""
    while True:
        look = (str(rng.choice(tuple(SHAPES))), str(rng.choice(tuple(TEXTURES))))
        if look not in _NOVEL_LOOKS:
            return look


def sample_category(rng: np.random.Generator) -> SceneCategory:
    """Draw a category from the universe without the novel ones."""
    shape, texture = _shape_and_texture(rng)
    main, second, third = (str(name) for name in rng.choice(COLOR_NAMES, 3, replace=False))
    companion = str(rng.choice(tuple(COMPANIONS))) if rng.random() < 0.25 else None
    return SceneCategory(
        name="_".join([main, second, texture, shape] + ([f"with_{companion}"] if companion else [])),
        shape=shape,
        shape_params=random_shape_params(rng, shape),
        aspect=float(rng.uniform(0.65, 1.0)),
        texture=texture,
        frequency=float(rng.uniform(6.0, 13.0)),
        texture_angle=float(rng.uniform(0, math.pi)),
        colors=(main, second),
        border=bool(rng.random() < 0.2),
        companion=companion,
        companion_angle=float(rng.uniform(0, 2 * math.pi)),
        companion_color=third,
    )
