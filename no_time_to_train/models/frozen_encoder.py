"""Making a frozen image encoder's forward pass cheaper without changing its numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from no_time_to_train.models.cpu_linear import use_onednn_linear


def prepare_encoder(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Change a frozen encoder in place for forward passes in one number format.

    Linear and convolution weights are kept in that format: autocast, which multiplies them in it, would otherwise
    convert every one of them again for every image. Position codes of SAM 2's neck are made once.

    Args:
        module: a network in evaluation mode with loaded weights.
        device: where it will run.
        dtype: ``torch.float32``, or the format of the autocast that it will run under.
    """
    use_onednn_linear(module, device, dtype)
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            layer.to(dtype)
    neck = getattr(module, "neck", None)
    if neck is not None and hasattr(neck, "position_encoding"):
        neck.position_encoding = _SharedPositionCode(neck.position_encoding)


class _SharedPositionCode(nn.Module):
    """A position encoding that is computed once per size; the images of a batch share it without copies."""

    def __init__(self, encoding: nn.Module) -> None:
        super().__init__()
        self._encoding = encoding
        self._codes: dict[tuple[object, ...], Tensor] = {}

    def forward(self, features: Tensor) -> Tensor:
        key = (features.shape[-2:], features.dtype, features.device)
        if key not in self._codes:
            self._codes[key] = self._encoding(features[:1]).to(features.dtype)
        return self._codes[key].expand(len(features), -1, -1, -1)
