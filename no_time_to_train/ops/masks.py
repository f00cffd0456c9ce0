"""From the mask model's low-resolution logits to run-length encoded masks of the image's size.

Defined by the plain way: upsample the logits to the image with ``interpolate(mode="bilinear", antialias=True)``, take
what is > 0, encode. Done without the upsampled image: a mask's runs go down the columns, and along a column the
upsampled logit is linear between two rows of the grid. So only the columns are resampled across the width; where the
sign differs between two grid rows, the change is looked up among the few image rows between them. A 24-megapixel mask
costs 256 values per image column rather than 4000, and memory does not grow with the image's height.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from no_time_to_train.ops.resize import interpolation_matrix
from no_time_to_train.ops.rle import rle_from_toggles
from no_time_to_train.structures import Rle

_VALUES_PER_CHUNK = {"cpu": 1 << 18, "cuda": 1 << 25}  # resampled columns at once: one mask in cache; 128 MB


def encode_mask_logits(logits: Tensor, image_size_hw: tuple[int, int]) -> list[Rle]:
    """Upsample mask logits to the image, threshold at 0 and encode.

    Args:
        logits: (N, m, m) float over the whole (squashed) image, on any device.
        image_size_hw: (height, width) of the image.

    Returns:
        N masks of the image's size, equal to those of the upsampled logits pixel for pixel, except where an upsampled
        logit is 0 up to float rounding.
    """
    if not len(logits):
        return []
    budget = _VALUES_PER_CHUNK.get(logits.device.type, _VALUES_PER_CHUNK["cpu"])
    chunks = logits.split(max(1, budget // (logits.shape[1] * image_size_hw[1])))
    return [rle for chunk in chunks for rle in _encode_chunk(chunk.float(), image_size_hw)]


def _encode_chunk(logits: Tensor, image_size_hw: tuple[int, int]) -> list[Rle]:
    """All masks of a chunk at once, inside the smallest rectangle of the grid that holds their positive logits."""
    height, width = image_size_hw
    grid_rows, grid_columns = _extent(logits.amax(dim=(0, 2)) > 0), _extent(logits.amax(dim=(0, 1)) > 0)
    if grid_rows is None or grid_columns is None:
        nothing = rle_from_toggles(np.zeros(0, np.int64), image_size_hw)
        return [nothing.copy() for _ in logits]
    left, right = _samples_touching(grid_columns, logits.shape[2], width)
    if _is_two_tap(logits.shape[1], height):
        top = max(grid_rows[0] - 1, 0)  # with the rows next to the positive ones, for the sign changes between them
        columns = _resample(logits[:, top : grid_rows[1] + 2].mT.contiguous(), width, left, right)
        masks, x, y = _toggles_of_interpolated(columns, top, logits.shape[1], height)
    else:
        top, bottom = _samples_touching(grid_rows, logits.shape[1], height)
        columns = _resample(logits.mT.contiguous(), width, left, right)
        masks, x, y = _sign_changes(_resample(columns.mT, height, top, bottom).mT)
        y = y + top
    toggles = ((left + x) * height + y).cpu().numpy()
    ends = torch.bincount(masks, minlength=len(logits)).cumsum(0).tolist()
    return [rle_from_toggles(part, image_size_hw) for part in np.split(toggles, ends[:-1])]


def _toggles_of_interpolated(
    columns: Tensor, first_row: int, grid_height: int, image_height: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Where the sign changes down columns that are resampled across the width but not yet down the height.

    Args:
        columns: (N, W, r) values on the grid rows from ``first_row`` on; rows left out have no positive value.
        first_row: grid row of ``columns[..., 0]``.
        grid_height: rows of the whole grid, not more than ``image_height``.
        image_height: rows of the image.

    Returns:
        Mask, column and image row of every change, each (T,) int64, in this order of sorting.
    """
    masks, x, below = _sign_changes(columns)
    value_above = columns[masks, x, (below - 1).clamp(min=0)]
    value_below = columns[masks, x, below.clamp(max=columns.shape[2] - 1)]
    taps = _taps(grid_height, image_height).to(columns.device)
    starts, rows_per_cell = _cell_starts(grid_height, image_height)
    starts = starts.to(columns.device)
    cell_start, cell_end = starts[first_row + below, None], starts[first_row + below + 1, None]
    rows = cell_start + torch.arange(rows_per_cell, device=columns.device)
    in_image = rows.clamp(max=image_height - 1)
    values = value_above[:, None] * taps.first_weight[in_image] + value_below[:, None] * taps.last_weight[in_image]
    not_yet_changed = ((values > 0) == (value_above[:, None] > 0)) & (rows < cell_end)
    return masks, x, cell_start[:, 0] + not_yet_changed.sum(dim=1)


@lru_cache(maxsize=256)
def _cell_starts(grid_height: int, image_height: int) -> tuple[Tensor, int]:
    """Which image rows lie between two grid rows, and the most there are between any two.

    Between grid rows g - 1 and g they are ``starts[g]`` .. ``starts[g + 1]``: none above the first grid row (g = 0) and
    below the last (g = grid_height), as the outermost image rows count to the cells inside.
    """
    first = _taps(grid_height, image_height).first
    inner = torch.searchsorted(first, torch.arange(grid_height - 1))
    starts = torch.cat([torch.tensor([0]), inner, torch.tensor([image_height, image_height])])
    return starts, int(starts.diff().max())


def _sign_changes(columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, W, r) -> mask, column and row (0..r) before which "> 0" changes; outside the rows nothing is positive."""
    if columns.device.type == "cpu":  # NumPy compares and searches ten times as fast as torch here
        flags = np.diff(columns.numpy() > 0, prepend=False, append=False)
        masks, x, row = (torch.from_numpy(index) for index in np.unravel_index(np.flatnonzero(flags), flags.shape))
    else:
        inside = pad(columns > 0, (1, 1))
        masks, x, row = (inside[..., 1:] ^ inside[..., :-1]).nonzero(as_tuple=True)
    return masks, x, row


class _Taps(NamedTuple):
    """The input samples each output sample is made of: the first and last index, and their weights, each (out,)."""

    first: Tensor
    last: Tensor
    first_weight: Tensor
    last_weight: Tensor

    def to(self, device: torch.device) -> _Taps:
        return _Taps(*(tensor.to(device) for tensor in self))


def _is_two_tap(in_size: int, out_size: int) -> bool:
    """Upsampling makes every sample from two neighbours."""
    return out_size >= in_size > 1


@lru_cache(maxsize=256)
def _taps(in_size: int, out_size: int) -> _Taps:
    matrix = interpolation_matrix(in_size, out_size, antialias=True)
    used = (matrix != 0).to(torch.uint8)
    first, last = used.argmax(dim=1), in_size - 1 - used.flip(1).argmax(dim=1)
    if _is_two_tap(in_size, out_size):  # a sample that coincides with an input still gets its second, weight 0
        first = first.clamp(max=in_size - 2)
        last = first + 1
    samples = torch.arange(out_size)
    return _Taps(first, last, matrix[samples, first], matrix[samples, last])


def _samples_touching(extent: tuple[int, int], in_size: int, out_size: int) -> tuple[int, int]:
    """Range of the output samples that use any of the inputs ``extent`` (first, last)."""
    taps = _taps(in_size, out_size)
    start = torch.searchsorted(taps.last, extent[0])
    stop = torch.searchsorted(taps.first, extent[1], right=True)
    return int(start), int(stop)


def _resample(values: Tensor, out_size: int, start: int, stop: int) -> Tensor:
    """Samples ``start`` .. ``stop`` of the second axis of (N, in, k), resampled to ``out_size``."""
    in_size = values.shape[1]
    if not _is_two_tap(in_size, out_size):
        return interpolation_matrix(in_size, out_size, antialias=True)[start:stop].to(values.device) @ values
    taps = _Taps(*(tensor[start:stop] for tensor in _taps(in_size, out_size))).to(values.device)
    first = values.index_select(1, taps.first).mul_(taps.first_weight[:, None])
    return first.addcmul_(values.index_select(1, taps.last), taps.last_weight[:, None])


def _extent(occupied: Tensor) -> tuple[int, int] | None:
    """First and last True of (size,), None if there is none."""
    positions = occupied.nonzero()
    return (int(positions[0]), int(positions[-1])) if len(positions) else None
