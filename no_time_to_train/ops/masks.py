"""Between the mask model's low-resolution logits and run-length encoded masks of the image's size.

Defined by the plain way: upsample the logits to the image with ``interpolate(mode="bilinear", antialias=True)``, take
what is > 0, encode. Done without the upsampled image: a mask's runs go down the columns, and along a column the
upsampled logit is linear between two rows of the grid. So only the columns are resampled across the width; where the
sign differs between two grid rows, the change is looked up among the few image rows between them. A 24-megapixel mask
costs 256 values per image column rather than 4000, and memory does not grow with the image's height.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from no_time_to_train.ops.resize import interpolation_matrix
from no_time_to_train.ops.rle import Rle, decode_rle, rle_from_toggles, rle_to_box_xyxy
from no_time_to_train.ops.transfers import to_device, to_host

_CPU = torch.device("cpu")
_VALUES_PER_CHUNK, _VALUES_PER_CHUNK_ON_GPU = 1 << 18, 1 << 25  # resampled at once: one mask in cache; 128 MB


def encode_mask_logits(
    logits: Tensor,
    image_size_hw: tuple[int, int],
    *,
    crop_xyxy: tuple[int, int, int, int] | None = None,
    antialias: bool = True,
) -> list[Rle]:
    """Upsample mask logits to the image, threshold at 0 and encode.

    Args:
        logits: (N, m, m) float over the whole (squashed) image, or over one crop of it; on any device.
        image_size_hw: (height, width) of the image.
        crop_xyxy: the whole-pixel box that the logits cover, inside the image; None: all of it. The masks are empty
            outside.
        antialias: as in ``interpolate``; matters only where the image, or the crop, is smaller than the grid.

    Returns:
        N masks of the image's size, equal to those of the upsampled logits pixel for pixel, except where an upsampled
        logit is 0 up to float rounding.
    """
    height, width = image_size_hw
    left, top, right, bottom = crop_xyxy or (0, 0, width, height)
    size_hw = (bottom - top, right - left)
    rles = []
    for num_masks, masks, x, y in _toggles_on_host(_chunks(logits, size_hw), size_hw, antialias):
        toggles = ((left + x) * height + top + y).numpy()
        ends = torch.bincount(masks, minlength=num_masks).cumsum(0).tolist()
        rles += [rle_from_toggles(part, image_size_hw) for part in np.split(toggles, ends[:-1])]
    return rles


def stability_scores(
    logits: Tensor, image_size_hw: tuple[int, int], offset: float, *, antialias: bool = True
) -> Tensor:
    """Score how little each mask changes with its threshold.

    This is SAM's ``stability_score``, without the upsampled image.

    Args:
        logits: (N, m, m) float over an image, or a crop, of ``image_size_hw``.
        image_size_hw: (height, width).
        offset: half the distance of the two thresholds, -offset and +offset.
        antialias: as in ``encode_mask_logits``.

    Returns:
        (N,) float32 in 0..1: pixels whose upsampled logit is above the high threshold by those above the low one, the
        IoU of the two masks. NaN where both are empty.
    """
    high, low = (_areas(logits, image_size_hw, threshold, antialias) for threshold in (offset, -offset))
    return high / low


def grid_stability_scores(logits: Tensor, offset: float = 1.0) -> Tensor:
    """Score how little each mask changes with its threshold, on the grid itself.

    Cheaper than :func:`stability_scores`: nothing is resampled.

    Args:
        logits: (N, m, m) float.
        offset: half the distance of the two thresholds, -offset and +offset; 1 as in SAM's mask generator.

    Returns:
        (N,) float32 in 0..1; 0 where the mask at the low threshold is empty.

    Example:
        >>> grid_stability_scores(torch.tensor([[[2.0, 0.5], [-0.5, -2.0]]])).item()
        0.3333333432674408
    """
    high, low = ((logits > threshold).flatten(1).sum(dim=1) for threshold in (offset, -offset))
    return high.float() / low.clamp(min=1)


def grid_logits(rles: Sequence[Rle], mask_size: int) -> Tensor:
    """Bring masks to the mask model's grid: each cell's covered share, less a half.

    Args:
        rles: N masks of one size.
        mask_size: side m of the grid.

    Returns:
        (N, m, m) float32 in -0.5..0.5, on the CPU. A mask too small to fill half of any cell keeps the cell it covers
        most, so that no mask but an empty one is empty on the grid.
    """
    logits = torch.full((len(rles), mask_size, mask_size), -0.5)
    for grid, rle in zip(logits, rles, strict=True):
        left, top, right, bottom = rle_to_box_xyxy(rle).astype(int).tolist()
        if right <= left:
            continue
        pixels = torch.from_numpy(decode_rle(rle)[top:bottom, left:right].astype(np.float32))
        rows, row_shares = _cell_shares(mask_size, rle["size"][0], top, bottom)
        columns, column_shares = _cell_shares(mask_size, rle["size"][1], left, right)
        coverage = row_shares @ pixels @ column_shares.T
        grid[rows, columns] += coverage
        if grid.max() <= 0:
            strongest = coverage.argmax()
            grid[rows, columns][strongest // coverage.shape[1], strongest % coverage.shape[1]] = coverage.max()
    return logits


def _cell_shares(num_cells: int, length: int, start: int, stop: int) -> tuple[slice, Tensor]:
    """Return the cells that pixels start..stop touch, and the share that each of these pixels covers.

    Args:
        num_cells: equal cells of an axis.
        length: of the axis in pixels.
        start: first pixel.
        stop: after the last pixel.

    Returns:
        The cells, and the (cells, pixels) shares.
    """
    cells = slice(start * num_cells // length, math.ceil(stop * num_cells / length))
    edges = torch.arange(cells.start, cells.stop + 1, dtype=torch.float64) * length / num_cells
    pixels = torch.arange(start, stop, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return cells, (overlap.clamp(min=0) * num_cells / length).float()


def _chunks(logits: Tensor, image_size_hw: tuple[int, int]) -> Sequence[Tensor]:
    """Yield float32 parts of the logits that fit the budget once resampled."""
    if not len(logits):
        return ()
    budget = _VALUES_PER_CHUNK if logits.is_cpu else _VALUES_PER_CHUNK_ON_GPU
    return logits.float().split(max(1, budget // (logits.shape[1] * image_size_hw[1])))


def _areas(logits: Tensor, image_size_hw: tuple[int, int], threshold: float, antialias: bool) -> Tensor:
    """(N,) int64: pixels of the upsampled logits above the threshold."""
    areas = [torch.zeros(0, dtype=torch.int64, device=logits.device)]
    for chunk in _chunks(logits, image_size_hw):
        masks, _, y = _toggles(chunk, image_size_hw, threshold, antialias)
        run_lengths = y[1::2] - y[::2]  # down every column, begin and end of a run alternate
        areas.append(torch.zeros(len(chunk), dtype=torch.int64, device=y.device).index_add_(0, masks[::2], run_lengths))
    return torch.cat(areas)


def _toggles_on_host(
    chunks: Sequence[Tensor], size_hw: tuple[int, int], antialias: bool
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Yield number of masks and ``_toggles`` of each chunk, on the CPU; a GPU's come all in one copy."""
    found = ((len(chunk), _toggles(chunk, size_hw, 0.0, antialias)) for chunk in chunks)
    if not chunks or chunks[0].device.type == "cpu":
        yield from ((num_masks, *toggles) for num_masks, toggles in found)
        return
    counts, toggles = zip(*found, strict=True)
    copies = iter(to_host(*itertools.chain.from_iterable(toggles)))
    yield from zip(counts, copies, copies, copies, strict=True)


def _toggles(
    logits: Tensor, image_size_hw: tuple[int, int], threshold: float, antialias: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Where the upsampled logits cross the threshold down the columns, for all masks of a chunk at once.

    Inside the smallest rectangle of the grid that holds the logits above the threshold.

    Returns:
        Mask, column and row (0..height, before which the change is) of every change, each (T,) int64, in this order of
        sorting.
    """
    height, width = image_size_hw
    grid_rows, grid_columns = (_extent(logits.amax(dim=(0, axis)) > threshold) for axis in (2, 1))
    if grid_rows is None or grid_columns is None:
        nothing = torch.zeros(0, dtype=torch.int64, device=logits.device)
        return nothing, nothing, nothing
    left, right = _samples_touching(grid_columns, logits.shape[2], width, antialias)
    if _is_two_tap(logits.shape[1], height):
        top = max(grid_rows[0] - 1, 0)  # with the rows next to those above, for the changes between them
        columns = _resample(logits[:, top : grid_rows[1] + 2].mT.contiguous(), width, left, right, antialias)
        masks, x, y = _toggles_of_interpolated(columns, top, logits.shape[1], height, threshold, antialias)
    else:
        top, bottom = _samples_touching(grid_rows, logits.shape[1], height, antialias)
        columns = _resample(logits.mT.contiguous(), width, left, right, antialias)
        masks, x, y = _crossings(_resample(columns.mT, height, top, bottom, antialias).mT, threshold)
        y = y + top
    return masks, left + x, y


def _toggles_of_interpolated(
    columns: Tensor, first_row: int, grid_height: int, image_height: int, threshold: float, antialias: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Where the threshold is crossed down columns that are resampled across the width but not yet down the height.

    Args:
        columns: (N, W, r) values on the grid rows from ``first_row`` on; rows left out have no value above the
            threshold.
        first_row: grid row of ``columns[..., 0]``.
        grid_height: rows of the whole grid, not more than ``image_height``.
        image_height: rows of the image.
        threshold: values above it are inside.
        antialias: whose weights, to the last bit, the rows are made with.

    Returns:
        Mask, column and image row of every change, each (T,) int64, in this order of sorting.
    """
    masks, x, below = _crossings(columns, threshold)
    value_above = columns[masks, x, (below - 1).clamp(min=0)]
    value_below = columns[masks, x, below.clamp(max=columns.shape[2] - 1)]
    taps = _taps(grid_height, image_height, antialias, columns.device)
    starts, rows_per_cell = _cell_starts(grid_height, image_height, columns.device)
    cell_start, cell_end = starts[first_row + below, None], starts[first_row + below + 1, None]
    rows = cell_start + torch.arange(rows_per_cell, device=columns.device)
    in_image = rows.clamp(max=image_height - 1)
    values = value_above[:, None] * taps.first_weight[in_image] + value_below[:, None] * taps.last_weight[in_image]
    not_yet_changed = ((values > threshold) == (value_above[:, None] > threshold)) & (rows < cell_end)
    return masks, x, cell_start[:, 0] + not_yet_changed.sum(dim=1)


@lru_cache(maxsize=256)
def _cell_starts(grid_height: int, image_height: int, device: torch.device) -> tuple[Tensor, int]:
    """Which image rows lie between two grid rows, and the most there are between any two.

    Between grid rows g - 1 and g they are ``starts[g]`` .. ``starts[g + 1]``: none above the first grid row (g = 0) and
    below the last (g = grid_height), as the outermost image rows count to the cells inside.
    """
    first = _taps(grid_height, image_height, antialias=False).first
    inner = torch.searchsorted(first, torch.arange(grid_height - 1))
    starts = torch.cat([torch.tensor([0]), inner, torch.tensor([image_height, image_height])])
    return to_device(starts, device), int(starts.diff().max())


def _crossings(columns: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """(N, W, r) -> mask, column and row (0..r) before which "> threshold" changes; outside the rows nothing is."""
    if columns.device.type == "cpu":  # NumPy compares and searches ten times as fast as torch here
        flags = np.diff(columns.numpy() > threshold, prepend=False, append=False)
        masks, x, row = (torch.from_numpy(index) for index in np.unravel_index(np.flatnonzero(flags), flags.shape))
    else:
        inside = pad(columns > threshold, (1, 1))
        masks, x, row = (inside[..., 1:] ^ inside[..., :-1]).nonzero(as_tuple=True)
    return masks, x, row


class _Taps(NamedTuple):
    """The input samples each output sample is made of: the first and last index, and their weights, each (out,)."""

    first: Tensor
    last: Tensor
    first_weight: Tensor
    last_weight: Tensor

    def to(self, device: torch.device) -> _Taps:
        return _Taps(*(to_device(tensor, device) for tensor in self))


def _is_two_tap(in_size: int, out_size: int) -> bool:
    """Upsampling makes every sample from two neighbors."""
    return out_size >= in_size > 1


@lru_cache(maxsize=256)
def _taps(in_size: int, out_size: int, antialias: bool, device: torch.device = _CPU) -> _Taps:
    matrix = interpolation_matrix(in_size, out_size, antialias=antialias)
    used = (matrix != 0).to(torch.uint8)
    first, last = used.argmax(dim=1), in_size - 1 - used.flip(1).argmax(dim=1)
    if _is_two_tap(in_size, out_size):  # a sample that coincides with an input still gets its second, weight 0
        first = first.clamp(max=in_size - 2)
        last = first + 1
    samples = torch.arange(out_size)
    return _Taps(first, last, matrix[samples, first], matrix[samples, last]).to(device)


def _samples_touching(extent: tuple[int, int], in_size: int, out_size: int, antialias: bool) -> tuple[int, int]:
    """Range of the output samples that use any of the inputs ``extent`` (first, last)."""
    taps = _taps(in_size, out_size, antialias)
    start = torch.searchsorted(taps.last, extent[0])
    stop = torch.searchsorted(taps.first, extent[1], right=True)
    return int(start), int(stop)


def _resample(values: Tensor, out_size: int, start: int, stop: int, antialias: bool) -> Tensor:
    """Resample the second axis of (N, in, k) to ``out_size``: samples ``start`` .. ``stop``."""
    in_size = values.shape[1]
    if not _is_two_tap(in_size, out_size):
        matrix = interpolation_matrix(in_size, out_size, antialias=antialias, device=values.device)
        return matrix[start:stop] @ values
    taps = _Taps(*(tensor[start:stop] for tensor in _taps(in_size, out_size, antialias, values.device)))
    first = values.index_select(1, taps.first).mul_(taps.first_weight[:, None])
    return first.addcmul_(values.index_select(1, taps.last), taps.last_weight[:, None])


def _extent(occupied: Tensor) -> tuple[int, int] | None:
    """First and last True of (size,), None if there is none; all of a GPU's, since looking would wait for it."""
    if not occupied.is_cpu:
        return 0, len(occupied) - 1
    positions = occupied.nonzero()
    return (int(positions[0]), int(positions[-1])) if len(positions) else None
