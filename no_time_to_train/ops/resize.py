"""Resampling along one axis as a matrix, the exact one that ``torch.nn.functional.interpolate`` applies."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from no_time_to_train.ops.transfers import to_device


@lru_cache(maxsize=32)  # one of 256 -> 6000 takes 6 MB
def interpolation_matrix(
    in_size: int,
    out_size: int,
    *,
    mode: Literal["bilinear", "bicubic"] = "bilinear",
    antialias: bool = False,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return the matrix of ``interpolate(..., align_corners=False)`` on one axis.

    Resampling an image is ``rows @ image @ columns.T`` with two of these. The tensor is cached and shared: treat it as
    read-only.

    Args:
        in_size: samples before.
        out_size: samples after.
        mode: as in ``interpolate``.
        antialias: as in ``interpolate``; changes downsampling only (for bilinear).
        device: where the matrix is wanted; it is made on the CPU.

    Returns:
        (out_size, in_size) float32; every row sums to 1.
    """
    # The matrix's columns are the images of the unit vectors. (As in_size images of one column each, torch 2.15 gives
    # wrong numbers with antialias.)
    identity = torch.eye(in_size)[None, None]
    size = (out_size, in_size)
    matrix = interpolate(identity, size=size, mode=mode, align_corners=False, antialias=antialias)[0, 0]
    return to_device(matrix, device)
