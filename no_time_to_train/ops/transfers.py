"""Copies between the host and a GPU for which nobody waits longer than needed.

A plain copy to a GPU waits until everything the GPU was given before is done, and then the GPU waits for the host.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Copy a tensor to a device; a copy to a CUDA GPU is not waited for.

    Example:
        >>> to_device(torch.ones(2), "cpu").tolist()
        [1.0, 1.0]
    """
    device = torch.device(device)
    return pinned(tensor, device).to(device, non_blocking=device.type == "cuda" and tensor.is_cpu)


def pinned(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Copy a tensor of the CPU to memory that a CUDA GPU reads by itself; for other devices it stays where it is.

    Example:
        >>> pinned(torch.ones(2), "cpu").tolist()
        [1.0, 1.0]
    """
    is_for_gpu = torch.device(device).type == "cuda" and tensor.device.type == "cpu"
    return tensor.pin_memory() if is_for_gpu else tensor


def to_host(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Copy tensors of one device to the CPU; a CUDA GPU is waited for once.

    Example:
        >>> [values.tolist() for values in to_host(torch.ones(2), torch.zeros(1))]
        [[1.0, 1.0], [0.0]]
    """
    on_gpu = [tensor.device for tensor in tensors if tensor.device.type == "cuda"]
    copies = tuple(tensor.to("cpu", non_blocking=bool(on_gpu)) for tensor in tensors)
    if on_gpu:
        torch.cuda.current_stream(on_gpu[0]).synchronize()
    return copies
