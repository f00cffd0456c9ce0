"""Images as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.ops.transfers import to_device


def as_image_tensor(image: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Convert (H, W, 3) uint8 to (3, H, W) float32 in 0..1.

    Example:
        >>> as_image_tensor(np.full((2, 3, 3), 255, np.uint8)).shape
        torch.Size([3, 2, 3])
    """
    return to_device(torch.from_numpy(np.ascontiguousarray(image)), device).permute(2, 0, 1).float() / 255
