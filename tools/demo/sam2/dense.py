"""Auxiliary dense supervision of the image encoder, dropped after the training.

A handful of prompts per image says little about most of its pixels. Beside them, every cell of the maps learns
to name its object: the position code of the center of the object's box, and the box's size. Two cells then belong
together where their codes agree, which is what the mask decoder has to find out from one prompted point.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

FREQUENCIES = (0.25, 0.5, 1.0)  # as in the prompt encoder's position code, over coordinates in [-1, 1]
CODE_SIZE = 4 * len(FREQUENCIES) + 3
STRIDES = (4, 8, 16)


def object_code(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool -> (CODE_SIZE,): sines and cosines of the box's center, log size of the box, 1 (for an object)."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    low = np.array([columns[0], rows[0]]) / mask.shape[0]
    high = (np.array([columns[-1], rows[-1]]) + 1) / mask.shape[0]
    phases = 2 * math.pi * np.outer(FREQUENCIES, low + high - 1).ravel()
    return np.concatenate([np.sin(phases), np.cos(phases), np.log(high - low) + 1, [1.0]]).astype(np.float32)


def code_maps(ids: np.ndarray) -> Tensor:
    """(B, H, W) ids -> (B, CODE_SIZE, H/4, W/4), zero on the background."""
    cells = ids[:, STRIDES[0] // 2 :: STRIDES[0], STRIDES[0] // 2 :: STRIDES[0]]
    maps = np.zeros((*cells.shape, CODE_SIZE), dtype=np.float32)
    for index, id_map in enumerate(ids):
        for number in np.unique(id_map):
            if number > 0:
                maps[index][cells[index] == number] = object_code(id_map == number)
    return torch.from_numpy(maps).permute(0, 3, 1, 2)


class DenseHeads(nn.Module):
    """One linear read-out per level of the feature pyramid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(width, CODE_SIZE, 1) for _ in STRIDES)
        for head in self.heads:
            nn.init.zeros_(head.weight)  # a random read-out would first have to be unlearned

    def forward(self, pyramid: list[Tensor], ids: np.ndarray) -> Tensor:
        """Mean squared error of the codes, for features [(B, width, H/s, W/s) for s in STRIDES]."""
        codes = code_maps(ids)
        losses = []
        for head, features, stride in zip(self.heads, pyramid, STRIDES, strict=True):
            step = stride // STRIDES[0]
            wanted = codes[:, :, step // 2 :: step, step // 2 :: step]
            losses.append((head(features) - wanted).square().sum(dim=1).mean())
        return torch.stack(losses).sum()
