"""Object masks from image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.data.images import open_image
from no_time_to_train.errors import InputError

_VOID_INDEX = 255
"""Palette index that PASCAL VOC and others give to pixels that belong to nothing."""
_INDEX_MODES = frozenset({"P", "I", "I;16", "I;16B", "I;16L"})


def read_instance_masks(path: Path) -> list[np.ndarray]:
    """The masks (H, W) bool in an image file, one per instance.

    In palette and 16-bit files every value but 0 and 255 is one instance. Other files hold one: what is over 127
    (edges may be anti-aliased), or what is not 0 where there are just two values, or what is opaque in a cut-out with
    transparency.

    Raises:
        UnreadableImageError: no readable image.
        InputError: the file marks no object.
    """
    with open_image(path) as image:
        image.load()
        masks = _instances_by_index(image) if image.mode in _INDEX_MODES else [_foreground(image)]
    if not masks or not masks[0].any():
        raise InputError(f"{path} marks no object. A mask must be 0 outside of the object and 255 (white) on it.")
    return masks


def _instances_by_index(image: Image.Image) -> list[np.ndarray]:
    indices = np.asarray(image)
    return [indices == value for value in np.unique(indices) if value not in (0, _VOID_INDEX)]


def _foreground(image: Image.Image) -> np.ndarray:
    if "A" in image.getbands():
        alpha = np.asarray(image.getchannel("A"))
        if alpha.min() < 255:
            return alpha > 127
    values = np.asarray(image.convert("L"))
    levels = np.unique(values)
    if len(levels) == 2 and levels[0] == 0:
        return values > 0
    return values > 127
