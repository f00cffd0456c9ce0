"""Procedural pictures of textured objects with exact masks, the data of the demonstration models.

A *category* fixes how an object looks (outline, texture, colours, an optional attached part); an *instance* is one
slightly deformed and recoloured copy of it, and a *scene* holds several instances in front of a background. Ten
categories are fixed as novel; `sample_category` draws from a large universe that leaves those ten out, so models
trained on sampled categories never see a novel one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

MIN_VISIBLE_FRACTION = 0.35
MIN_VISIBLE_PIXELS = 100
_PLACEMENT_ATTEMPTS = 12

Field = np.ndarray
"""(h, w) float32: positive inside a shape, roughly the distance to its outline in units of the object radius."""


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
    colours: tuple[str, str]
    border: bool = False
    companion: str | None = None
    companion_angle: float = 0.0
    companion_colour: str = "white"


@dataclass(frozen=True)
class Scene:
    """image (H, W, 3) uint8; masks (N, H, W) bool, the visible pixels; category_indices (N,) int64."""

    image: np.ndarray
    masks: np.ndarray
    category_indices: np.ndarray


@dataclass(frozen=True)
class _Instance:
    """One individual of a category: its colours (3, 3) float32 in [0, 1] and its deviations from the category."""

    category: SceneCategory
    colours: np.ndarray
    stretch: float
    bend: float
    bend_phase: float
    texture_phase: tuple[float, float]
    frequency_factor: float
    light_angle: float
    light_strength: float


@dataclass(frozen=True)
class _Pose:
    """Centre and radius in pixels, rotation in radians."""

    x: float
    y: float
    radius: float
    angle: float


@dataclass(frozen=True)
class _Layer:
    """An instance drawn in its own window: rows/columns in the picture, alpha (h, w), colour (h, w, 3).

    `whole_area` counts the pixels of the whole object, those outside the picture included.
    """

    rows: slice
    columns: slice
    alpha: np.ndarray
    colour: np.ndarray
    whole_area: int

    @property
    def mask(self) -> np.ndarray:
        """(h, w) bool."""
        return self.alpha >= 0.5


# --------------------------------------------------------------------------------------------------------------------
# Shapes: fields over the coordinates x, y (h, w) of an object with radius 1
# --------------------------------------------------------------------------------------------------------------------


def _folded_angle(x: np.ndarray, y: np.ndarray, count: int) -> np.ndarray:
    """Angle from the nearest of `count` evenly spread axes, within +-pi/count, (h, w)."""
    sector = 2 * math.pi / count
    return np.mod(np.arctan2(y, x) + sector / 2, sector) - sector / 2


def _ellipse(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    (exponent,) = params
    return 1 - (np.abs(x) ** exponent + np.abs(y) ** exponent) ** (1 / exponent)


def _rectangle(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    (half_height,) = params
    return np.minimum(0.9 - np.abs(x), half_height - np.abs(y))


def _polygon(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    count = int(params[0])
    angle = _folded_angle(x, y, count)
    return math.cos(math.pi / count) - np.hypot(x, y) * np.cos(angle)


def _star(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    count, inner = int(params[0]), params[1]
    angle = np.abs(_folded_angle(x, y, count))
    radius = np.hypot(x, y)
    edge_x, edge_y = inner * math.cos(math.pi / count) - 1, inner * math.sin(math.pi / count)
    return (edge_x * radius * np.sin(angle) - edge_y * (radius * np.cos(angle) - 1)) / math.hypot(edge_x, edge_y)


def _gear(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    count, inner, hole = int(params[0]), params[1], params[2]
    teeth = np.clip(0.5 + 2.5 * np.cos(count * np.arctan2(y, x)), 0, 1)
    radius = np.hypot(x, y)
    return np.minimum(inner + (1 - inner) * teeth - radius, radius - hole)


def _flower(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    count, inner = params
    return inner + (1 - inner) * np.abs(np.cos(count / 2 * np.arctan2(y, x))) - np.hypot(x, y)


def _blob(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    """A closed Fourier contour; `params` are (amplitude, phase) of the harmonics 2, 3, ..."""
    angle = np.arctan2(y, x)
    amplitudes, phases = params[0::2], params[1::2]
    contour = sum(a * np.cos(k * angle + p) for k, (a, p) in enumerate(zip(amplitudes, phases, strict=True), start=2))
    return (1 + contour) / (1 + sum(amplitudes)) - np.hypot(x, y)


def _ring(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    radius = np.hypot(x, y)
    return np.minimum(1 - radius, radius - params[0])


def _crescent(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    offset, bite = params
    return np.minimum(1 - np.hypot(x, y), np.hypot(x - offset, y) - bite)


def _half_disc(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    (cut,) = params
    return np.minimum(1 - np.hypot(x, y), cut - y)


def _cross(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    (width,) = params
    wide, high = np.abs(x), np.abs(y)
    return np.maximum(np.minimum(0.95 - wide, width - high), np.minimum(width - wide, 0.95 - high))


def _heart(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    (half,) = params
    circles = half / math.sqrt(2) - np.hypot(np.abs(x) - half / 2, y + half / 2)
    return np.maximum(circles, (half - np.abs(x) - np.abs(y)) / math.sqrt(2))


def _hourglass(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    (waist,) = params
    return np.minimum(0.85 - np.abs(y), waist + (0.75 - waist) * np.abs(y) - np.abs(x))


def _arrow(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    (width,) = params
    shaft = np.minimum(width - np.abs(y), np.minimum(x + 0.95, 0.2 - x))
    head = np.minimum(x + 0.05, (0.95 - x - np.abs(y) * 1.2) / 1.5)
    return np.maximum(shaft, head)


def _drop(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    """A disc with two tangents that meet in a tip at x = 0.95."""
    (radius,) = params
    centre, tip = radius - 0.95, 0.95
    sine = radius / (tip - centre)
    cosine = math.sqrt(1 - sine * sine)
    cone = np.minimum((tip - x) * sine - np.abs(y) * cosine, (x - centre) - np.abs(y) * sine / cosine * 0.2)
    return np.maximum(radius - np.hypot(x - centre, y), cone)


_LETTER_BARS: tuple[tuple[tuple[float, float, float, float], ...], ...] = (
    ((-0.7, -0.8, 0.7, -0.3), (-0.25, -0.8, 0.25, 0.85)),  # T
    ((-0.6, -0.85, -0.1, 0.85), (-0.6, 0.35, 0.6, 0.85)),  # L
    ((-0.7, -0.8, -0.28, 0.8), (0.28, -0.8, 0.7, 0.8), (-0.7, -0.22, 0.7, 0.22)),  # H
    ((-0.7, -0.8, -0.28, 0.75), (0.28, -0.8, 0.7, 0.75), (-0.7, 0.3, 0.7, 0.75)),  # U
    ((-0.55, -0.85, -0.1, 0.85), (-0.55, -0.85, 0.6, -0.45), (-0.55, -0.18, 0.45, 0.22)),  # F
    ((-0.7, -0.7, 0.2, -0.2), (-0.2, -0.2, 0.3, 0.3), (-0.2, 0.2, 0.75, 0.7)),  # Z
)


def _letter(x: np.ndarray, y: np.ndarray, params: tuple[float, ...]) -> Field:
    bars = [
        np.minimum(np.minimum(x - x0, x1 - x), np.minimum(y - y0, y1 - y))
        for x0, y0, x1, y1 in _LETTER_BARS[int(params[0])]
    ]
    return np.maximum.reduce(bars)


_SHAPES: dict[str, Callable[[np.ndarray, np.ndarray, tuple[float, ...]], Field]] = {
    "disc": _ellipse,
    "box": _rectangle,
    "polygon": _polygon,
    "star": _star,
    "gear": _gear,
    "flower": _flower,
    "blob": _blob,
    "ring": _ring,
    "crescent": _crescent,
    "dome": _half_disc,
    "cross": _cross,
    "heart": _heart,
    "hourglass": _hourglass,
    "arrow": _arrow,
    "drop": _drop,
    "letter": _letter,
}


def _neck(x: np.ndarray, y: np.ndarray, width: float, end: float) -> Field:
    """A bar from behind the main part outwards, so that no attached part ever floats free of it."""
    return np.minimum(np.minimum(x + 0.15, end - x), width - np.abs(y))


_COMPANIONS: dict[str, Callable[[np.ndarray, np.ndarray], Field]] = {
    "knob": lambda x, y: np.maximum(0.3 - np.hypot(x - 0.68, y), _neck(x, y, 0.16, 0.6)),
    "stem": lambda x, y: _neck(x, y, 0.2, 1.0),
    "foot": lambda x, y: np.maximum(np.minimum(np.minimum(x - 0.65, 0.95 - x), 0.5 - np.abs(y)), _neck(x, y, 0.2, 0.8)),
    "fin": lambda x, y: np.minimum(x + 0.1, (1.0 - x) * 0.5 - np.abs(y) * 0.8),
}


def _random_shape_params(rng: np.random.Generator, shape: str) -> tuple[float, ...]:
    """Parameters of a random member of a shape family."""
    draw = rng.uniform
    if shape == "blob":
        amplitudes = draw(0.02, 0.2, 4) / np.array([1.0, 1.0, 1.5, 2.0])
        return tuple(float(v) for pair in zip(amplitudes, draw(0, 2 * math.pi, 4), strict=True) for v in pair)
    ranges: dict[str, tuple[float, ...]] = {
        "disc": (draw(1.8, 3.5),),
        "box": (draw(0.45, 0.75),),
        "polygon": (float(rng.integers(3, 7)),),
        "star": (float(rng.integers(4, 9)), draw(0.45, 0.65)),
        "gear": (float(rng.integers(6, 13)), draw(0.68, 0.8), draw(-0.2, 0.3)),
        "flower": (float(rng.integers(4, 9)), draw(0.5, 0.75)),
        "ring": (draw(0.3, 0.55),),
        "crescent": (draw(0.5, 0.75), draw(0.55, 0.75)),
        "dome": (draw(0.0, 0.4),),
        "cross": (draw(0.28, 0.42),),
        "heart": (draw(0.68, 0.78),),
        "hourglass": (draw(0.15, 0.35),),
        "arrow": (draw(0.25, 0.4),),
        "drop": (draw(0.55, 0.7),),
        "letter": (float(rng.integers(len(_LETTER_BARS))),),
    }
    return tuple(float(v) for v in ranges[shape])


# --------------------------------------------------------------------------------------------------------------------
# Textures: how much of the second colour there is at x, y, (h, w) in [0, 1]
# --------------------------------------------------------------------------------------------------------------------


def _soft_step(wave: np.ndarray) -> np.ndarray:
    """Turns a wave into two flat tones with a narrow transition, (h, w) in [0, 1]."""
    return np.clip(0.5 + 2.5 * wave, 0, 1)


def _marble(x: np.ndarray, y: np.ndarray, frequency: float) -> np.ndarray:
    warped = frequency * 0.6 * x + 1.8 * np.sin(2.3 * y + 1.1) + 1.1 * np.sin(4.1 * x - 3.3 * y)
    return 0.5 + 0.5 * np.sin(warped)


_TEXTURES: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "plain": lambda x, y, f: np.zeros_like(x),
    "striped": lambda x, y, f: _soft_step(np.sin(f * x)),
    "checked": lambda x, y, f: _soft_step(np.sin(f * 0.8 * x) * np.sin(f * 0.8 * y)),
    "dotted": lambda x, y, f: _soft_step(np.cos(f * x) + np.cos(f * y) - 0.75),
    "shaded": lambda x, y, f: np.clip(0.5 + 0.6 * x, 0, 1),
    "marbled": _marble,
    "ringed": lambda x, y, f: _soft_step(np.sin(f * np.hypot(x, y))),
    "halved": lambda x, y, f: _soft_step(3 * x),
    "quartered": lambda x, y, f: _soft_step(6 * x * y),
    "wavy": lambda x, y, f: _soft_step(np.sin(f * y + 1.6 * np.sin(3.5 * x))),
}

# Textures whose place on the object is part of the look: moving them freely would change the category.
_ANCHORED_TEXTURES = frozenset({"plain", "shaded", "ringed", "halved", "quartered"})

_PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.15, 0.15),
    "orange": (0.95, 0.55, 0.12),
    "yellow": (0.95, 0.87, 0.25),
    "lime": (0.60, 0.85, 0.25),
    "green": (0.15, 0.55, 0.25),
    "teal": (0.10, 0.65, 0.65),
    "sky": (0.45, 0.75, 0.95),
    "blue": (0.15, 0.30, 0.80),
    "purple": (0.50, 0.20, 0.70),
    "pink": (0.95, 0.50, 0.70),
    "brown": (0.48, 0.30, 0.16),
    "white": (0.94, 0.94, 0.92),
    "grey": (0.55, 0.55, 0.57),
    "black": (0.12, 0.12, 0.14),
}
_COLOUR_NAMES = tuple(_PALETTE)


def _novel(name: str, shape: str, params: tuple[float, ...], texture: str, a: str, b: str, **more) -> SceneCategory:
    look = {"aspect": 1.0, "frequency": 9.0, "texture_angle": 0.0, **more}
    return SceneCategory(name=name, shape=shape, shape_params=params, texture=texture, colours=(a, b), **look)


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
    """A random pair of shape family and texture that no novel category has, whatever the colours."""
    while True:
        look = (str(rng.choice(tuple(_SHAPES))), str(rng.choice(tuple(_TEXTURES))))
        if look not in _NOVEL_LOOKS:
            return look


def sample_category(rng: np.random.Generator) -> SceneCategory:
    """Draws a category from the universe without the novel ones."""
    shape, texture = _shape_and_texture(rng)
    main, second, third = (str(name) for name in rng.choice(_COLOUR_NAMES, 3, replace=False))
    companion = str(rng.choice(tuple(_COMPANIONS))) if rng.random() < 0.25 else None
    return SceneCategory(
        name="_".join([main, second, texture, shape] + ([f"with_{companion}"] if companion else [])),
        shape=shape,
        shape_params=_random_shape_params(rng, shape),
        aspect=float(rng.uniform(0.65, 1.0)),
        texture=texture,
        frequency=float(rng.uniform(6.0, 13.0)),
        texture_angle=float(rng.uniform(0, math.pi)),
        colours=(main, second),
        border=bool(rng.random() < 0.2),
        companion=companion,
        companion_angle=float(rng.uniform(0, 2 * math.pi)),
        companion_colour=third,
    )


# --------------------------------------------------------------------------------------------------------------------
# Drawing one object
# --------------------------------------------------------------------------------------------------------------------


def _individual(rng: np.random.Generator, category: SceneCategory) -> _Instance:
    """A random individual of a category."""
    names = (*category.colours, category.companion_colour)
    base = np.array([_PALETTE[name] for name in names], dtype=np.float32)
    tint = rng.uniform(-0.06, 0.06, 3)
    own = rng.uniform(-0.03, 0.03, (3, 3))
    colours = np.clip(base * rng.uniform(0.85, 1.12) + tint + own, 0.02, 1).astype(np.float32)
    reach = 0.08 if category.texture in _ANCHORED_TEXTURES else 1.0
    phase = rng.uniform(-reach, reach, 2)
    return _Instance(
        category=category,
        colours=colours,
        stretch=float(rng.uniform(0.9, 1.0)),
        bend=float(rng.uniform(-0.08, 0.08)),
        bend_phase=float(rng.uniform(0, 2 * math.pi)),
        texture_phase=(float(phase[0]), float(phase[1])),
        frequency_factor=float(rng.uniform(0.88, 1.14)),
        light_angle=float(rng.uniform(0, 2 * math.pi)),
        light_strength=float(rng.uniform(0.05, 0.22)),
    )


def _rotate(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """x, y (h, w) in a frame turned by `angle`."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return x * cosine + y * sine, y * cosine - x * sine


def _object_fields(item: _Instance, x: np.ndarray, y: np.ndarray) -> tuple[Field, Field | None]:
    """The fields of the main part and of the attached part, if any, at object coordinates x, y (h, w)."""
    category = item.category
    main = _SHAPES[category.shape]
    if category.companion is None:
        return main(x, y / category.aspect, category.shape_params) * category.aspect, None
    attached = _COMPANIONS[category.companion](*_rotate(x, y, category.companion_angle))
    # The main part gives up some room, away from the attached part, so that both fit into the unit circle.
    shift_x, shift_y = 0.18 * math.cos(category.companion_angle), 0.18 * math.sin(category.companion_angle)
    inner_x, inner_y = (x + shift_x) / 0.8, (y + shift_y) / (0.8 * category.aspect)
    return main(inner_x, inner_y, category.shape_params) * (0.8 * category.aspect), attached


def _surface(item: _Instance, x: np.ndarray, y: np.ndarray, main: Field, attached: Field | None) -> np.ndarray:
    """The colours of an object without light, (h, w, 3) float32 in [0, 1]."""
    category = item.category
    u, v = _rotate(x, y, category.texture_angle)
    u, v = u + item.texture_phase[0], v + item.texture_phase[1]
    share = _TEXTURES[category.texture](u, v, category.frequency * item.frequency_factor)[..., None]
    first, second, third = item.colours
    colour = first + share * (second - first)
    if category.border:
        rim = np.clip((0.13 - main) * 12, 0, 1)[..., None]
        colour = colour + rim * (first * 0.45 - colour)
    if attached is not None:
        # The main part lies on top of the attached one.
        behind = np.clip(0.5 - main * 30, 0, 1)[..., None]
        colour = colour + behind * (third - colour)
    return colour


def _light(item: _Instance, x: np.ndarray, y: np.ndarray, field: Field) -> np.ndarray:
    """Directional light and a darker rim, which lets objects of equal colour part from each other, (h, w, 1)."""
    slope = x * math.cos(item.light_angle) + y * math.sin(item.light_angle)
    rim = 0.78 + 0.22 * np.clip(field * 9, 0, 1)
    return ((1 + item.light_strength * slope) * rim)[..., None]


def _draw(item: _Instance, pose: _Pose, size_hw: tuple[int, int]) -> _Layer | None:
    """Draws an instance in its window of the picture; None if the window does not meet the picture."""
    height, width = size_hw
    reach = pose.radius * 1.12 + 2
    top, bottom = math.floor(pose.y - reach), math.ceil(pose.y + reach)
    left, right = math.floor(pose.x - reach), math.ceil(pose.x + reach)
    if bottom <= 0 or right <= 0 or top >= height or left >= width:
        return None
    grid_y = ((np.arange(top, bottom, dtype=np.float32) + 0.5 - pose.y) / pose.radius)[:, None]
    grid_x = ((np.arange(left, right, dtype=np.float32) + 0.5 - pose.x) / pose.radius)[None, :]
    x, y = _rotate(grid_x, grid_y, pose.angle)
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
    return _Layer(
        rows=slice(max(top, 0), min(bottom, height)),
        columns=slice(max(left, 0), min(right, width)),
        alpha=alpha[inside],
        colour=_surface(item, x, y, main, attached) * _light(item, x, y, field),
        whole_area=int(np.count_nonzero(alpha >= 0.5)),
    )


# --------------------------------------------------------------------------------------------------------------------
# Backgrounds and the camera
# --------------------------------------------------------------------------------------------------------------------


def _background_colour(rng: np.random.Generator, items: Sequence[_Instance]) -> np.ndarray:
    """The most distinct from the objects' colours among a few muted candidates, (3,) float32."""
    candidates = rng.uniform(0.12, 0.85, (8, 1)) + rng.uniform(-0.14, 0.14, (8, 3))
    used = np.concatenate([item.colours[:2] for item in items])
    nearest = np.abs(candidates[:, None] - used[None]).sum(axis=2).min(axis=1)
    return candidates[np.argmax(nearest)].astype(np.float32)


def _waves(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, count: int, low: float, high: float) -> np.ndarray:
    """A sum of `count` random plane waves over x (1, W), y (H, 1), about within +-1, (H, W)."""
    angle, frequency = rng.uniform(0, 2 * math.pi, count), rng.uniform(low, high, count)
    phase = rng.uniform(0, 2 * math.pi, count)
    total = np.zeros((y.shape[0], x.shape[1]), dtype=np.float32)
    for a, f, p in zip(angle, frequency, phase, strict=True):
        # sin(s + t) from the sines of rows and columns: no trigonometry over the whole picture.
        s, t = (f * math.cos(a)) * x + p, (f * math.sin(a)) * y
        total += np.sin(s) * np.cos(t) + np.cos(s) * np.sin(t)
    return total / math.sqrt(count * 2)


def _patchwork(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """Rectangular patches of random tones that fill the picture, (H, W) about within +-1."""
    height, width = size_hw
    rows, columns = rng.integers(2, 6, 2)
    tones = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    row_of = np.minimum(np.arange(height) * rows // height, rows - 1)
    column_of = np.minimum((np.arange(width) + int(rng.integers(0, width))) % width * columns // width, columns - 1)
    return tones[row_of[:, None], column_of[None, :]]


def _background(rng: np.random.Generator, items: Sequence[_Instance], size_hw: tuple[int, int]) -> np.ndarray:
    """A calm backdrop, (H, W, 3) float32."""
    height, width = size_hw
    base = _background_colour(rng, items)
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


def _blend(image: np.ndarray, layer: _Layer) -> None:
    """Draws a layer over the image (H, W, 3) in place."""
    window = image[layer.rows, layer.columns]
    window += layer.alpha[..., None] * (layer.colour - window)


@dataclass(frozen=True)
class _Camera:
    """What happens to the whole picture: the directions of uneven light, a blur weight and the noise level."""

    light_x: float
    light_y: float
    blur: float
    noise: float

    @staticmethod
    def random(rng: np.random.Generator) -> _Camera:
        light_x, light_y, blur, noise = rng.uniform((-0.12, -0.12, 0.0, 0.004), (0.12, 0.12, 0.18, 0.025))
        return _Camera(float(light_x), float(light_y), float(blur), float(noise))

    def take(self, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        """Turns the drawing (H, W, 3) float32 into a photograph (H, W, 3) uint8."""
        height, width = image.shape[:2]
        if self.blur > 0:
            image[1:-1] += self.blur * (image[:-2] + image[2:] - 2 * image[1:-1])
            image[:, 1:-1] += self.blur * (image[:, :-2] + image[:, 2:] - 2 * image[:, 1:-1])
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        image *= (1 + self.light_x * x + self.light_y * y)[..., None]
        grain = rng.standard_normal((height, width), dtype=np.float32)
        image += self.noise * grain[..., None]
        return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


# --------------------------------------------------------------------------------------------------------------------
# Scenes and clips
# --------------------------------------------------------------------------------------------------------------------


def _random_pose(rng: np.random.Generator, size_hw: tuple[int, int], object_scale: tuple[float, float]) -> _Pose:
    """A random pose; one object in six may stick out of the picture."""
    height, width = size_hw
    radius = rng.uniform(*object_scale) * min(size_hw) / 2
    margin = radius * (0.3 if rng.random() < 1 / 6 else 1.05)
    margin_y, margin_x = min(margin, height * 0.45), min(margin, width * 0.45)
    return _Pose(
        x=float(rng.uniform(margin_x, width - margin_x)),
        y=float(rng.uniform(margin_y, height - margin_y)),
        radius=float(radius),
        angle=float(rng.uniform(0, 2 * math.pi)),
    )


def _crowded(pose: _Pose, others: Sequence[_Pose]) -> bool:
    """Whether an object would lie mostly over (or hide) another one: a quick test before anything is drawn."""
    return any(math.hypot(pose.x - other.x, pose.y - other.y) < 0.6 * (pose.radius + other.radius) for other in others)


def _covered_masks(masks: np.ndarray, layer: _Layer) -> np.ndarray:
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
class _Arrangement:
    """Objects from the hindmost to the foremost, and their visible masks (N, H, W)."""

    items: list[_Instance]
    indices: list[int]
    poses: list[_Pose]
    layers: list[_Layer]
    masks: np.ndarray

    def place(self, item: _Instance, index: int, pose: _Pose, size_hw: tuple[int, int]) -> bool:
        """Adds the object on top unless it or an object below would hardly be visible."""
        if _crowded(pose, self.poses):
            return False
        layer = _draw(item, pose, size_hw)
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


def _arrange(
    rng: np.random.Generator,
    categories: Sequence[SceneCategory],
    size_hw: tuple[int, int],
    num_objects: tuple[int, int],
    object_scale: tuple[float, float],
) -> _Arrangement:
    """Places random objects; fewer than asked for where there is no room, but always one."""
    target = int(rng.integers(num_objects[0], num_objects[1] + 1))
    arrangement = _Arrangement([], [], [], [], np.zeros((0, *size_hw), dtype=bool))
    attempts = 0
    while len(arrangement.items) < target and (attempts < _PLACEMENT_ATTEMPTS * target or not arrangement.items):
        attempts += 1
        index = int(rng.integers(len(categories)))
        item = _individual(rng, categories[index])
        arrangement.place(item, index, _random_pose(rng, size_hw, object_scale), size_hw)
    return arrangement


def render_scene(
    rng: np.random.Generator,
    categories: Sequence[SceneCategory],
    size_hw: tuple[int, int] = (256, 256),
    num_objects: tuple[int, int] = (2, 6),
    object_scale: tuple[float, float] = (0.2, 0.5),
) -> Scene:
    """Renders a scene with `num_objects` (lowest, highest count) objects of random ones of the categories.

    `object_scale` is the range of object diameters relative to the short side of the picture.
    """
    arrangement = _arrange(rng, categories, size_hw, num_objects, object_scale)
    image = _background(rng, arrangement.items, size_hw)
    for layer in arrangement.layers:
        _blend(image, layer)
    return Scene(
        image=_Camera.random(rng).take(rng, image),
        masks=arrangement.masks,
        category_indices=np.array(arrangement.indices, dtype=np.int64),
    )


def _moved(pose: _Pose, motion: np.ndarray, time: float) -> _Pose:
    """The pose at `time` frames; motion (7,): velocity x, y, turn, growth, and sway amplitude, rate, phase."""
    sway = motion[4] * (math.sin(motion[5] * time + motion[6]) - math.sin(motion[6]))
    return _Pose(
        x=pose.x + motion[0] * time + sway,
        y=pose.y + motion[1] * time - sway,
        radius=pose.radius * math.exp(motion[3] * math.sin(0.25 * time)),
        angle=pose.angle + motion[2] * time,
    )


def _random_motion(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """(7,), see `_moved`; some objects are fast enough to leave the picture."""
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
    """Renders moving objects: frames (T, H, W, 3) uint8 and their visible masks (T, N, H, W) bool.

    All objects are visible in the first frame; later they may hide each other or leave the picture (empty masks).
    """
    start = _arrange(rng, categories, size_hw, num_objects, (0.2, 0.5))
    backdrop = _background(rng, start.items, size_hw)
    motions = [_random_motion(rng, size_hw) for _ in start.items]
    camera = _Camera.random(rng)
    frames = np.zeros((num_frames, *size_hw, 3), dtype=np.uint8)
    masks = np.zeros((num_frames, len(start.items), *size_hw), dtype=bool)
    for time in range(num_frames):
        image = backdrop.copy()
        for number, (item, pose, motion) in enumerate(zip(start.items, start.poses, motions, strict=True)):
            layer = _draw(item, _moved(pose, motion, time), size_hw)
            if layer is None:
                continue
            _blend(image, layer)
            masks[time, :number, layer.rows, layer.columns] &= ~layer.mask
            masks[time, number, layer.rows, layer.columns] = layer.mask
        frames[time] = camera.take(rng, image)
    return frames, masks
