"""Image tokens of many prompts of one image, kept in factored form.

For L image tokens of C channels, H heads, T prompt tokens and R = H * T rows per layer, a prompt's image tokens are::

    K = scale * base + sum over layers (vectors^T @ basis) + constant            (C, L)

``base`` is the same for every prompt; ``basis`` (R, L) are the attention weights of the image over the prompt's
tokens; ``vectors`` (R, C) is what each token and head adds. ``folded_transformer`` shows how a layer keeps this form.
Image tokens are visited in blocks, so that on a CPU the intermediate maps of a batch of prompts stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK_ELEMENTS = {"cpu": 1 << 18, "cuda": 1 << 28}
"""Most elements of the intermediate maps of a block: what a CPU core's cache holds, what keeps a GPU busy."""


@dataclass(frozen=True, eq=False)
class TokenRows:
    """What one layer adds to the image tokens of N prompts.

    Attributes:
        basis: (N, R, L) attention weights of the image over the prompt's tokens, times later layer norms' scales.
        vectors: (N, R, C) float32, what each token and head adds.
        values: (N, H, T, d) float32 token values that ``vectors`` come from.
    """

    basis: Tensor
    vectors: Tensor
    values: Tensor

    def __getitem__(self, prompts: Tensor) -> TokenRows:
        return TokenRows(self.basis[prompts], self.vectors[prompts], self.values[prompts])


@dataclass(frozen=True, eq=False)
class FactoredTokens:
    """Image tokens of N prompts: ``scale * base + sum over layers (vectors^T @ basis) + constant``.

    Attributes:
        scale: (N, L) float32; None before the first layer, where it is 1.
        rows: of every layer so far.
    """

    scale: Tensor | None
    rows: tuple[TokenRows, ...]

    def __getitem__(self, prompts: Tensor) -> FactoredTokens:
        scale = None if self.scale is None else self.scale[prompts]
        return FactoredTokens(scale, tuple(rows[prompts] for rows in self.rows))


class Scores:
    """Attention scores of prompt tokens against image tokens, block by block.

    Args:
        tokens: (N, H, T, d) float32 projected tokens, times 1 / sqrt(d).
        weight: (H, d, C) that projected the image.
        image: (B, H, d, L) projected base; where ``factored`` has no rows it holds ``position`` already.
        position: (H, d, L) projected position code and constants.
        factored: the image tokens.
    """

    def __init__(
        self, tokens: Tensor, weight: Tensor, image: Tensor, position: Tensor, factored: FactoredTokens
    ) -> None:
        self._tokens = tokens.to(image.dtype)
        self._image, self._position, self._factored = image, position, factored
        by_channel = (tokens @ weight).flatten(1, 2)
        self._mixings = [torch.bmm(by_channel, rows.vectors.transpose(1, 2)).to(image.dtype) for rows in factored.rows]

    def of(self, block: slice) -> Tensor:
        """(N, H, T, P) scores of a block of P image tokens."""
        shared = per_head(self._tokens, self._image[..., block])
        if self._factored.scale is None:
            return shared
        placed = per_head(self._tokens, self._position[None, ..., block])
        scores = scaled_sum(placed, shared, self._factored.scale[:, block])
        for mixing, rows in zip(self._mixings, self._factored.rows, strict=True):
            scores.flatten(1, 2).baddbmm_(mixing, rows.basis[:, :, block])
        return scores


def blocks(length: int, elements_per_token: int, device: torch.device, multiple_of: int = 1) -> Iterator[slice]:
    """Consecutive slices of ``length`` image tokens, each as long as the device's caches suggest."""
    limit = _BLOCK_ELEMENTS.get(device.type, _BLOCK_ELEMENTS["cpu"])
    size = max(1, limit // max(1, elements_per_token * multiple_of)) * multiple_of
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def scaled_sum(added: Tensor, shared: Tensor, scale: Tensor | None) -> Tensor:
    """``added + scale * shared`` as a new (N, H, T, L); ``added`` is such a tensor or (N or 1, L); scale (N, L)."""
    total = torch.empty(shared.shape, dtype=shared.dtype, device=shared.device)
    if added.ndim == 2:
        added = added[:, None, None].to(shared.dtype)
    if scale is None:
        return torch.add(shared, added, out=total)
    return torch.addcmul(added, shared, scale[:, None, None].to(shared.dtype), out=total)


def per_head(tokens: Tensor, image: Tensor) -> Tensor:
    """(N, H, T, d) @ (B, H, d, L) -> (N, H, T, L), a view; B is 1 or N. One product serves all prompts of an image."""
    images, heads, _, length = image.shape
    prompts, _, count, _ = tokens.shape
    rows = tokens.unflatten(0, (images, prompts // images)).transpose(1, 2).flatten(2, 3)
    product = (rows @ image).view(images, heads, prompts // images, count, length)
    return product.transpose(1, 2).flatten(0, 1)


def per_head_sum(weights: Tensor, scale: Tensor | None, image: Tensor) -> Tensor:
    """sum_l weights (N, H, T, L) * scale (N, L) * image (B, H, d, L) -> (N, H, T, d) float32."""
    images, heads, depth, length = image.shape
    prompts, _, count, _ = weights.shape
    shape = (images, heads, prompts // images, count, length)
    grouped = weights.unflatten(0, (images, prompts // images)).transpose(1, 2)
    if scale is not None:
        scaled = torch.empty(shape, dtype=weights.dtype, device=weights.device)
        grouped = torch.mul(grouped, scale.view(images, 1, prompts // images, 1, length), out=scaled)
    product = grouped.reshape(images, heads, prompts // images * count, length) @ image.transpose(2, 3)
    return product.view(images, heads, prompts // images, count, depth).transpose(1, 2).flatten(0, 1).float()
