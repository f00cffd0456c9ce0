"""Draw outlines as fields over the coordinates x, y (h, w) of an object with radius 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Field = np.ndarray
"""(h, w) float32: positive inside a shape, roughly the distance to its outline in units of the object radius."""


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
    center, tip = radius - 0.95, 0.95
    sine = radius / (tip - center)
    cosine = math.sqrt(1 - sine * sine)
    cone = np.minimum((tip - x) * sine - np.abs(y) * cosine, (x - center) - np.abs(y) * sine / cosine * 0.2)
    return np.maximum(radius - np.hypot(x - center, y), cone)


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


SHAPES: dict[str, Callable[[np.ndarray, np.ndarray, tuple[float, ...]], Field]] = {
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


COMPANIONS: dict[str, Callable[[np.ndarray, np.ndarray], Field]] = {
    "knob": lambda x, y: np.maximum(0.3 - np.hypot(x - 0.68, y), _neck(x, y, 0.16, 0.6)),
    "stem": lambda x, y: _neck(x, y, 0.2, 1.0),
    "foot": lambda x, y: np.maximum(np.minimum(np.minimum(x - 0.65, 0.95 - x), 0.5 - np.abs(y)), _neck(x, y, 0.2, 0.8)),
    "fin": lambda x, y: np.minimum(x + 0.1, (1.0 - x) * 0.5 - np.abs(y) * 0.8),
}


def random_shape_params(rng: np.random.Generator, shape: str) -> tuple[float, ...]:
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
