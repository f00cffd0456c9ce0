"""Image tokens of many prompts of one image, kept in factored form.

For L image tokens of C channels, H heads and T prompt tokens, a prompt's image tokens are, after some layers::

    K = scale * (base + vectors^T @ basis) + constant            (C, L)

``base`` is the same for every prompt. ``basis`` (R, L) has R = H * T rows per layer: the attention weights of the image
over the prompt's tokens, over the scale that the layer met. ``vectors`` (R, C) is what each token and head adds.
``folded_transformer`` shows how a layer keeps this form.

Prompts are worked off a few at a time, with all image tokens: their matrices are contiguous, and intermediate maps of
that size stay in a CPU's caches while the time to start an operation is still small beside the operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_BYTES_PER_CPU_THREAD = 1 << 21
_BYTES_ON_GPU = 1 << 29
"""The most memory for one intermediate map."""


@dataclass(frozen=True, eq=False)
class FactoredTokens:
    """Image tokens of N prompts: ``scale * (base + vectors^T @ basis) + constant``.

    Attributes:
        scale: (N, L) float32; None before the first layer, where it is 1 and there are no rows.
        basis: (N, R, L); or (N, L / 32, at least R, 32) for ``compiled_passes``.
        vectors: (N, R, C) float32.
        values: (N, R / T, T, d) float32 token values of every layer's heads, which ``vectors`` come from.
        row_sums: (N, layers, L) float32, a layer's rows of ``basis`` added up.
    """

    scale: Tensor | None
    basis: Tensor
    vectors: Tensor
    values: Tensor
    row_sums: Tensor

    @property
    def in_panels(self) -> bool:
        """Whether the basis is laid out for ``compiled_passes``."""
        return self.basis.dim() == 4

    def __getitem__(self, prompts: Tensor) -> FactoredTokens:
        return FactoredTokens(
            scale=None if self.scale is None else self.scale[prompts],
            basis=self.basis[prompts],
            vectors=self.vectors[prompts],
            values=self.values[prompts],
            row_sums=self.row_sums[prompts],
        )


class Scores:
    """Attention scores of prompt tokens against image tokens.

    Args:
        tokens: (N, H, T, d) float32 projected tokens, times 1 / sqrt(d).
        weight: (H, d, C) that projected the image.
        image: (B, H, d, L) projected base; where ``factored`` has no rows it holds ``position`` already.
        position: (H, d, L) projected position code and constants.
        factored: the image tokens of the N prompts.
    """

    def __init__(
        self, tokens: Tensor, weight: Tensor, image: Tensor, position: Tensor, factored: FactoredTokens
    ) -> None:
        self._tokens = tokens.to(image.dtype)
        self._image, self._position, self._factored = image, position[None], factored
        self._mixing = mix(tokens, weight, factored).to(image.dtype)

    def of(self, prompts: slice) -> Tensor:
        """Return new (n, H * T, L) scores of a part of the prompts."""
        tokens, factored = self._tokens[prompts], self._factored
        scores = per_head(tokens, of_prompts(self._image, prompts))
        if factored.scale is None:
            return scores
        scores.baddbmm_(self._mixing[prompts], factored.basis[prompts])
        placed = per_head(tokens, self._position)
        return torch.addcmul(placed, scores, factored.scale[prompts, None].to(scores.dtype), out=placed)


def mix(tokens: Tensor, weight: Tensor, factored: FactoredTokens) -> Tensor:
    """Return (N, H * T, R) float32 scores of the tokens against the rows of the basis."""
    return torch.bmm((tokens @ weight).flatten(1, 2), factored.vectors.transpose(1, 2))


def parts(length: int, elements: int, like: Tensor) -> Iterator[slice]:
    """Slice ``length`` items into parts that suit the device.

    Args:
        length: how many items there are.
        elements: of the intermediate map of one item.
        like: a tensor of the map's device and number format.
    """
    limit = torch.get_num_threads() * _BYTES_PER_CPU_THREAD if like.device.type == "cpu" else _BYTES_ON_GPU
    size = max(1, limit // max(1, elements * like.element_size()))
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def of_prompts(image: Tensor, prompts: slice) -> Tensor:
    """Select some of the prompts: (1, ...) is shared by all, of (N, ...) a part."""
    return image if image.shape[0] == 1 else image[prompts]


def per_head(tokens: Tensor, image: Tensor) -> Tensor:
    """Multiply (n, H, T, d) by (B, H, d, L) to a new (n, H * T, L).

    B is 1 or n. A shared image is not copied.
    """
    if len(image) == len(tokens):
        return (tokens @ image).flatten(1, 2)
    product = prompts_apart if image.device.type == "cpu" else prompts_together
    return product(tokens, image).flatten(1, 2)


def prompts_apart(tokens: Tensor, image: Tensor) -> Tensor:
    """Multiply (n, H, T, d) by (1, H, d, L), prompt by prompt.

    No product has to be rearranged to (n, H, T, L).
    """
    product = tokens.new_empty(*tokens.shape[:3], image.shape[3])
    for prompt, out in zip(tokens, product, strict=True):
        torch.bmm(prompt, image[0], out=out)
    return product


def prompts_together(tokens: Tensor, image: Tensor) -> Tensor:
    """Multiply (n, H, T, d) by (1, H, d, L) at once, for GPUs.

    A second pass puts the prompts in front: (n, H, T, L).
    """
    product = tokens.transpose(0, 1).flatten(1, 2) @ image[0]
    return product.unflatten(1, (len(tokens), -1)).transpose(0, 1).contiguous()


def per_head_sum(weights: Tensor, image: Tensor) -> Tensor:
    """Sum weights (n, H * T, L) times image (B, H, d, L) over L.

    Gives (n, H, T, d); B is 1 or n.
    """
    weights = weights.unflatten(1, (image.shape[1], -1))
    if len(image) == len(weights):
        return weights @ image.transpose(2, 3)
    product = weights.transpose(0, 1).flatten(1, 2) @ image[0].transpose(1, 2)
    return product.unflatten(1, (len(weights), -1)).transpose(0, 1)
