"""The parts of SAM 2's mask decoder that are read one by one, with their types.

``sam2`` carries no types, and ``torch`` gives those of a module's parts as "a tensor or a module". These protocols say
once what they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn


class TrainedLayer(Protocol):
    """A convolution or linear layer with a bias."""

    weight: Tensor
    bias: Tensor

    def __call__(self, values: Tensor, /) -> Tensor:
        """Apply the layer."""


class TrainedNorm(Protocol):
    """A layer norm."""

    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, values: Tensor, /) -> Tensor:
        """Normalize over the channels."""


class Attention(Protocol):
    """``sam2``'s ``Attention``."""

    num_heads: int
    q_proj: TrainedLayer
    k_proj: TrainedLayer
    v_proj: TrainedLayer
    out_proj: TrainedLayer

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, /) -> Tensor:
        """Attend from the queries to the keys."""


class AttentionBlock(Protocol):
    """``sam2``'s ``TwoWayAttentionBlock``."""

    self_attn: Attention
    cross_attn_token_to_image: Attention
    cross_attn_image_to_token: Attention
    norm1: TrainedNorm
    norm2: TrainedNorm
    norm3: TrainedNorm
    norm4: TrainedNorm
    mlp: nn.Module
    skip_first_layer_pe: bool


class Transformer(Protocol):
    """``sam2``'s ``TwoWayTransformer``."""

    layers: Iterable[AttentionBlock]
    final_attn_token_to_image: Attention
    norm_final_attn: TrainedNorm


UpscalingLayers = tuple[TrainedLayer, TrainedNorm, nn.Module, TrainedLayer, nn.Module]
"""Transposed convolution, layer norm, activation, transposed convolution, activation."""
