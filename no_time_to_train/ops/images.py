"""Images as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.ops.transfers import to_device


def as_image_tensor(image: np.ndarray | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Convert (H, W, 3) uint8 on the CPU to (3, H, W) float32 in 0..1 on a device, where it becomes float.

    Example:
        >>> as_image_tensor(np.full((2, 3, 3), 255, np.uint8)).shape
        torch.Size([3, 2, 3])
    """
    pixels = image if isinstance(image, Tensor) else torch.from_numpy(np.ascontiguousarray(image))
    return to_device(pixels, device).permute(2, 0, 1).float() / 255
