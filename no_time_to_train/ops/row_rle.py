"""Run lengths along the rows of a mask, as CVAT keeps masks: the first run is of False."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from no_time_to_train.errors import InputError


def encode_rows(mask: np.ndarray) -> list[int]:
    """Return the run lengths of a mask (H, W) bool, row by row.

    Example:
        >>> import numpy as np
        >>> encode_rows(np.array([[False, True], [True, True]]))
        [1, 3]
    """
    values = np.asarray(mask, bool).ravel()
    changes = np.flatnonzero(np.diff(values, prepend=False))
    return np.diff(changes, prepend=0, append=len(values)).tolist()


def decode_rows(lengths: Sequence[int], size_hw: tuple[int, int]) -> np.ndarray:
    """Return the mask (H, W) bool of run lengths.

    Raises:
        InputError: they do not add up to the number of pixels.
    """
    runs = np.asarray(lengths, np.int64)
    height, width = size_hw
    if (runs < 0).any() or runs.sum() != height * width:
        raise InputError(
            f"the runs of a mask of {width}x{height} must add up to {height * width}, got {runs.sum()}: "
            "the mask is of another size, or the file was cut off"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size_hw)
