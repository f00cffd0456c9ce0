"""What stands for the encoder where nothing looks at features."""

from __future__ import annotations

import torch
from torch import Tensor


class NoEncoder:
    """Sees nothing: one patch with one feature, always 0. A memory bank of any encoder refuses it.

    Args:
        device: of the features.
    """

    model_id = "no encoder"
    image_size = 1
    patch_size = 1
    feature_dim = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def encode(self, images: Tensor) -> Tensor:
        """Return zeros, (B, 1, 1, 1)."""
        return torch.zeros(len(images), 1, 1, 1, device=self.device)
