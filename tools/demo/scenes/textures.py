"""Texture objects: how much of the second color there is at x, y, (h, w) in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def _soft_step(wave: np.ndarray) -> np.ndarray:
    """Turn a wave into two flat tones with a narrow transition, (h, w) in [0, 1]."""
    return np.clip(0.5 + 2.5 * wave, 0, 1)


def _marble(x: np.ndarray, y: np.ndarray, frequency: float) -> np.ndarray:
    warped = frequency * 0.6 * x + 1.8 * np.sin(2.3 * y + 1.1) + 1.1 * np.sin(4.1 * x - 3.3 * y)
    return 0.5 + 0.5 * np.sin(warped)


TEXTURES: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
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
ANCHORED_TEXTURES = frozenset({"plain", "shaded", "ringed", "halved", "quartered"})

PALETTE: dict[str, tuple[float, float, float]] = {
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
    "gray": (0.55, 0.55, 0.57),
    "black": (0.12, 0.12, 0.14),
}
COLOR_NAMES = tuple(PALETTE)
