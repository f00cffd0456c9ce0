"""Connected regions of run-length encoded masks: filling small holes, dropping small islands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from no_time_to_train.ops.rle import Rle, decode_rle, rle_from_toggles


def remove_small_regions(rle: Rle, min_area: int) -> Rle:
    """Fill holes of fewer than ``min_area`` pixels, then drop such islands.

    SAM's automatic generator does so too.

    Regions hang together over edges and corners. Background at the border counts as a hole like any other. Where all
    islands are smaller, the largest one stays (of equal ones that of the leftmost column).

    Returns:
        The same object where nothing is small.
    """
    mask = decode_rle(rle)
    background = _runs(~mask)
    holes = background.areas < min_area
    if holes.any():
        rle = _with_runs_flipped(rle, background.select(holes))
        mask = decode_rle(rle)
    foreground = _runs(mask)
    islands = foreground.areas < min_area
    if islands.all() and len(islands):
        islands = foreground.regions != foreground.regions[foreground.areas.argmax()]
    return _with_runs_flipped(rle, foreground.select(islands)) if islands.any() else rle


class _Runs(NamedTuple):
    """Runs of True down the columns of a mask, column by column.

    Attributes:
        starts, ends: (R,) column-major positions of each run's first pixel, and of the one after its last.
        regions: (R,) number of the connected region that each run belongs to.
        areas: (R,) pixels of that region.
    """

    starts: np.ndarray
    ends: np.ndarray
    regions: np.ndarray
    areas: np.ndarray

    def select(self, chosen: np.ndarray) -> np.ndarray:
        """Return the starts and ends of the chosen runs, unsorted."""
        return np.concatenate([self.starts[chosen], self.ends[chosen]])


def _with_runs_flipped(rle: Rle, bounds: np.ndarray) -> Rle:
    """Flip all pixels of a mask between these starts and ends."""
    height, width = rle["size"]
    toggles = np.flatnonzero(np.diff(decode_rle(rle).reshape(-1, order="F"), prepend=False))
    return rle_from_toggles(np.concatenate([toggles, bounds]), (height, width))


def _runs(mask: np.ndarray) -> _Runs:
    columns = mask.T
    height = columns.shape[1]
    x, y = np.nonzero(np.diff(columns, axis=1, prepend=False, append=False))
    x, first, last = x[::2], y[::2], y[1::2] - 1
    # One number orders runs by column and row, with room for the rows before the first and after the last.
    pitch = height + 2
    first_keys, last_keys = x * pitch + first, x * pitch + last
    # Runs of the next column touch a run, by a corner at least, from the row before its first to that after its last.
    touched_from = np.searchsorted(last_keys, first_keys + pitch - 1)
    touched_to = np.searchsorted(first_keys, last_keys + pitch + 1, side="right")
    regions = _connect(len(x), touched_from, np.maximum(touched_to, touched_from))
    areas = np.bincount(regions, weights=last + 1 - first, minlength=len(x)).astype(np.int64)[regions]
    return _Runs(x * height + first, x * height + last + 1, regions, areas)


def _connect(count: int, touched_from: np.ndarray, touched_to: np.ndarray) -> np.ndarray:
    """(count,) lowest number in the connected region of each of ``count`` runs; run i touches a range of later ones."""
    sizes = touched_to - touched_from
    left = np.repeat(np.arange(count), sizes)
    right = np.arange(len(left)) + np.repeat(touched_from - (sizes.cumsum() - sizes), sizes)
    lowest = np.arange(count)
    while True:
        one, other = lowest[left], lowest[right]
        if np.array_equal(one, other):
            return lowest
        # Whole regions join at once: the root of the one takes the number of the other, then paths are cut short.
        np.minimum.at(lowest, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(shorter := lowest[lowest], lowest):
            lowest = shorter
