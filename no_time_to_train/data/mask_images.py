"""Object masks from image files, told apart by what the file shows.

The rule for people: docs/how_to/mask_images.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.data.images import open_image
from no_time_to_train.errors import InputError

_VOID_INDEX = 255
"""Palette index that PASCAL VOC and others give to pixels that belong to nothing."""
_VOID_COLOR = (224 << 16) + (224 << 8) + 192
"""The color of that index in VOC's palette."""
_BLACK, _WHITE = 0, 0xFFFFFF
_NEAR = 32 / 255
"""How far from black and white the flat areas of a mask are that went through JPEG, as a share of the full scale."""
_NUM_EDGE_LEVELS = 8
"""At least this many levels in between tell such a mask from a label map."""
_NUM_LEVELS_OF_FEW = 16
_RULE = "docs/how_to/mask_images.md says what a mask image may be."


def read_instance_masks(path: Path) -> list[np.ndarray]:
    """Read the masks (H, W) bool in an image file.

    There is one per instance, by ascending value.

    Read are: two values (the brighter is the object), smooth masks from black to white, label maps of 8 or 16 bits,
    floats or palette indices (0 is the background), flat colors on black or white, and cut-outs with transparency.

    Raises:
        UnreadableImageError: no readable image.
        InputError: the file marks no object, or can be read in more than one way; the message says why.
    """
    with open_image(path) as image:
        image.load()
        try:
            masks = _masks(image)
        except InputError as error:
            raise InputError(f"{path} {error} {_RULE}") from error
    if not masks or not masks[0].any():
        raise InputError(f"{path} marks no object. {_RULE}")
    return masks


def _masks(image: Image.Image) -> list[np.ndarray]:
    if "A" in image.getbands():
        alpha = np.asarray(image.getchannel("A"))
        if alpha.min() < 255:
            return [alpha > 127]
        image = image.convert("L" if image.mode == "LA" else "RGB")
    if image.mode == "P":
        return _palette_masks(image)
    if len(image.getbands()) == 1:
        return _value_masks(np.asarray(image))
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.int64), -1, 0)
    if (red == green).all() and (green == blue).all():
        return _value_masks(red.astype(np.uint8))
    return _color_masks((red << 16) + (green << 8) + blue)


def _palette_masks(image: Image.Image) -> list[np.ndarray]:
    """Split by gray colors as a gray image; else every index but the background's and 255 is an instance."""
    indices = np.asarray(image)
    used = np.unique(indices)
    palette = np.zeros((256, 3), np.uint8)
    colors = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    palette[: len(colors)] = colors
    are_distinct = len(np.unique(palette[used], axis=0)) == len(used)
    if are_distinct and (palette[used] == palette[used, :1]).all():
        return _value_masks(palette[indices, 0])
    background = 0
    black = [int(index) for index in used if not palette[index].any() and index != _VOID_INDEX]
    if are_distinct and black and black != [0]:
        if 0 in used:
            raise InputError(
                f"has index 0, which is not black, and black under index {black[0]}: either may be the background. "
                "Save it as RGB, or give the background index 0."
            )
        [background] = black
    elif 0 not in used:
        raise InputError(f"has no background: no pixel is black or has index 0, but {_listed(used)}.")
    return [indices == value for value in used if value not in (background, _VOID_INDEX)]


def _value_masks(values: np.ndarray) -> list[np.ndarray]:
    """Split one channel: two values, a smooth mask, or a label map."""
    if values.dtype.kind == "f":
        return _float_masks(values)
    whole = values.astype(np.int64)
    levels = np.unique(whole)
    full_scale = 65535 if levels[-1] > 255 else 255
    if len(levels) == 1:
        is_full = values.dtype == bool or levels[0] == full_scale
        return [whole > 0] if is_full else []
    if len(levels) == 2:
        return [whole == levels[1]]
    if _is_smooth(whole, levels, full_scale):
        return [whole > full_scale // 2]
    return _label_masks(whole, levels, full_scale)


def _float_masks(values: np.ndarray) -> list[np.ndarray]:
    """Split whole numbers as an integer image; shares of 0..1 are a smooth mask."""
    if not np.isfinite(values).all():
        raise InputError("has pixels that are no finite numbers.")
    levels = np.unique(values)
    if (np.abs(levels) < 2**31).all() and (levels == levels.round()).all():
        return _value_masks(values.astype(np.int64) if levels[-1] != 1 else values == 1)
    if len(levels) == 2:
        return [values == levels[1]]
    scaled = np.clip(values * 255, -1, 256).round().astype(np.int64)
    if levels[0] < 0 or levels[-1] > 1 or not _is_smooth(scaled, np.unique(scaled), 255):
        raise InputError(f"has fractions as pixels ({levels[0]:g} to {levels[-1]:g}) that are no mask from 0 to 1.")
    return [values > 0.5]


def _is_smooth(values: np.ndarray, levels: np.ndarray, full_scale: int) -> bool:
    """Return whether all flat areas are about black or white, and what is in between is edges."""
    near = _NEAR * full_scale
    if levels[0] < 0 or levels[0] > near or levels[-1] < full_scale - near or levels[-1] > full_scale:
        return False
    is_between = (values > near) & (values < full_scale - near)
    between = levels[(levels > near) & (levels < full_scale - near)]
    flat = _flat_values(values)
    if is_between.mean() > 0.5 or np.isin(between, flat).any():
        return False
    is_exact = np.isin(flat, levels[[0, -1]]).all()
    has_edges = bool((levels[1:-1] > near).any())
    return bool(is_exact and has_edges) or len(between) >= _NUM_EDGE_LEVELS


def _label_masks(values: np.ndarray, levels: np.ndarray, full_scale: int) -> list[np.ndarray]:
    """Split by value: all but 0 are instances; 255 or 65535 is none where the others are 1, 2, 3 ..."""
    if len(levels) > _NUM_LEVELS_OF_FEW and not _has_flat_areas(values):
        raise InputError(
            f"has {len(levels)} values and no flat areas: it is an ordinary image or a heat map, not a mask."
        )
    if levels[0] != 0:
        raise InputError(f"has the values {_listed(levels)} but no 0, so that it is unclear what is background.")
    ids = levels[1:]
    if ids[-1] == full_scale and len(ids) < full_scale:
        if (ids[:-1] != np.arange(1, len(ids))).any():
            raise InputError(
                f"has the values {_listed(levels)}, where {full_scale} may be one more object or mean 'nothing'. "
                "Number the objects 1, 2, 3 ..."
            )
        ids = ids[:-1]
    return [values == value for value in ids]


def _color_masks(colors: np.ndarray) -> list[np.ndarray]:
    """Split by color: every flat color but the background's and VOC's void is an instance."""
    levels = np.unique(colors)
    flat = _flat_values(colors)
    if len(levels) > _NUM_LEVELS_OF_FEW and len(levels) > 2 * len(flat):
        raise InputError(
            f"has {len(levels)} colors, {len(flat)} of them in flat areas: it is an ordinary image, or its edges are "
            "smoothed. Save one flat color per object."
        )
    if _BLACK not in levels and _WHITE not in levels:
        raise InputError(f"has {len(levels)} colors but neither black nor white, so that the background is unclear.")
    background = _BLACK if _BLACK in levels else _WHITE
    return [colors == color for color in levels if color not in (background, _VOID_COLOR)]


def _flat_values(values: np.ndarray) -> np.ndarray:
    """Return the values that fill 3 x 3 pixels somewhere."""
    centers = values[1:-1, 1:-1]
    is_flat = np.ones(centers.shape, bool)
    height, width = values.shape
    for top in range(3):
        for left in range(3):
            is_flat &= values[top : height - 2 + top, left : width - 2 + left] == centers
    return np.unique(centers[is_flat])


def _has_flat_areas(values: np.ndarray) -> bool:
    return bool((values[:, 1:] == values[:, :-1]).mean() > 0.5)


def _listed(levels: np.ndarray) -> str:
    shown = ", ".join(str(int(level)) for level in levels[:5])
    return shown + (f" ... {int(levels[-1])}" if len(levels) > 5 else "")
