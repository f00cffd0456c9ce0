"""SAM 2's two-way transformer for many prompts of one image, with the image side never materialised per prompt.

The plain module carries a (C, L) copy of the image tokens for every prompt. Here they are kept in factored form (see
``factored_tokens``), which is closed under what a layer does:

* attention from the image adds ``softmax(scores)`` as rows of ``basis`` and the projected token values as ``vectors``;
  since each head's weights sum to one, constants are spread over the heads' vectors;
* layer norm multiplies ``scale`` and ``basis`` with one factor per token. Channel means are removed from ``base`` and
  ``vectors`` beforehand; the variance is a quadratic form in the factors;
* a linear map of K acts on ``base`` (once per image) and on ``vectors`` (a few rows per prompt).

So scores and values of every attention, and the first upscaling, cost products with R rows in place of C channels.
The result is exact up to rounding. Constants over a softmax axis drop out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.models.factored_tokens import (
    FactoredTokens,
    Scores,
    TokenRows,
    blocks,
    per_head,
    per_head_sum,
    scaled_sum,
)


@dataclass(frozen=True, eq=False)
class LayerTerms:
    """Projections of the image for one layer; B is 1 (shared by all prompts) or the number of prompts.

    Attributes:
        keys, values, queries: (B, H, d, L); ``queries`` is None for the final attention.
        power: (B, L) mean square of the centred base over channels, or None for the final attention.
        cross: for this layer and every earlier one, the centred base projected on that layer's output weights
            (B, H, d, L) and on its constant (B, L), both divided by C.
    """

    keys: Tensor
    values: Tensor
    queries: Tensor | None = None
    power: Tensor | None = None
    cross: tuple[tuple[Tensor, Tensor], ...] = ()


@dataclass(frozen=True, eq=False)
class ImageTerms:
    """What all prompts share of an image: one entry per layer, and the base after the last layer (B, C, L)."""

    layers: tuple[LayerTerms, ...]
    final_base: Tensor


class FoldedTransformer:
    """The same numbers as ``sam2``'s ``TwoWayTransformer`` for N prompts of one image.

    Args:
        transformer: the trained ``TwoWayTransformer``.
        position: (C, L) position code of the image tokens.
        dtype: arithmetic of the image side; tokens and statistics are float32.
    """

    def __init__(self, transformer: nn.Module, position: Tensor, dtype: torch.dtype) -> None:
        self.dtype = dtype
        transformer = copy.deepcopy(transformer).float().eval().requires_grad_(False)
        position = position.float()
        constant = torch.zeros_like(position[:, 0])
        outputs: list[tuple[Tensor, Tensor]] = []  # per layer so far: weights (H, d, C) and constant (C,)
        self._layers: list[_FoldedLayer] = []
        for block in transformer.layers:
            layer = _FoldedLayer(block, position, constant, outputs, dtype)
            self._layers.append(layer)
            constant = block.norm4.bias
            outputs = [(weight * block.norm4.weight, shift * block.norm4.weight) for weight, shift in layer.outputs]
        self._final = _TokenToImage(transformer.final_attn_token_to_image, position, constant, dtype)
        self._final_norm = transformer.norm_final_attn
        self.final_constant = constant

    def project_image(self, image: Tensor) -> ImageTerms:
        """(B, C, L) image tokens, dense prompt added -> what the prompts share; B is 1 or one per prompt."""
        base = image.float()
        layers = []
        for layer in self._layers:
            terms, base = layer.project_image(base)
            layers.append(terms)
        keys, values = self._final.project_image(base)
        return ImageTerms((*layers, LayerTerms(keys, values)), base)

    def __call__(self, image: ImageTerms, tokens: Tensor) -> tuple[Tensor, FactoredTokens]:
        """(N, T, C) float32 prompt tokens -> the processed tokens (N, T, C), and the processed image tokens."""
        queries, factored = tokens, FactoredTokens(None, ())
        for layer, terms in zip(self._layers, image.layers, strict=False):
            queries = layer.update_tokens(terms, factored, queries, tokens)
            factored = layer.update_image(terms, factored, queries, tokens)
        read = self._final(image.layers[-1], factored, queries + tokens)
        return self._final_norm(queries + read), factored


class _FoldedLayer:
    """One ``TwoWayAttentionBlock``."""

    def __init__(
        self,
        block: nn.Module,
        position: Tensor,
        constant: Tensor,
        earlier_outputs: list[tuple[Tensor, Tensor]],
        dtype: torch.dtype,
    ) -> None:
        self._block = block
        self._dtype = dtype
        self._token_to_image = _TokenToImage(block.cross_attn_token_to_image, position, constant, dtype)
        attention = block.cross_attn_image_to_token
        heads = attention.num_heads
        self._image_to_token = attention
        self._query_weight = _split_heads(attention.q_proj.weight, heads)
        shifted = position + constant[:, None]
        self._query_position = (self._query_weight @ shifted + attention.q_proj.bias.view(heads, -1, 1)).to(dtype)
        output_weight = _split_heads(attention.out_proj.weight.T, heads)
        output_shift = (constant + attention.out_proj.bias) / heads
        # Layer norm removes the channel mean, so it is removed from the weights once.
        self.outputs = [
            (_centred(weight), _centred(shift)) for weight, shift in [*earlier_outputs, (output_weight, output_shift)]
        ]

    def project_image(self, base: Tensor) -> tuple[LayerTerms, Tensor]:
        """(B, C, L) base of this layer -> its shared terms, and the base of the next layer."""
        keys, values = self._token_to_image.project_image(base)
        queries = _project(self._query_weight, base)
        if self._is_first:
            queries += self._query_position
        centred = base - base.mean(1, keepdim=True)
        channels = base.shape[1]
        cross = tuple(
            (_project(weight, centred).div_(channels).to(self._dtype), (shift @ centred) / channels)
            for weight, shift in self.outputs
        )
        terms = LayerTerms(keys, values, queries.to(self._dtype), centred.square().mean(1), cross)
        return terms, centred * self._block.norm4.weight[:, None]

    @property
    def _is_first(self) -> bool:
        return len(self.outputs) == 1

    def update_tokens(
        self, terms: LayerTerms, factored: FactoredTokens, queries: Tensor, query_position: Tensor
    ) -> Tensor:
        """Self-attention, reading from the image, and the MLP."""
        block = self._block
        if block.skip_first_layer_pe:
            queries = block.self_attn(queries, queries, queries)
        else:
            with_position = queries + query_position
            queries = queries + block.self_attn(with_position, with_position, queries)
        queries = block.norm1(queries)
        queries = block.norm2(queries + self._token_to_image(terms, factored, queries + query_position))
        return block.norm3(queries + block.mlp(queries))

    def update_image(
        self, terms: LayerTerms, factored: FactoredTokens, queries: Tensor, query_position: Tensor
    ) -> FactoredTokens:
        """The image attends to the prompt tokens, then layer norm."""
        attention = self._image_to_token
        heads = attention.num_heads
        keys = _tokens_by_head(attention.k_proj(queries + query_position), heads)
        keys = keys * keys.shape[-1] ** -0.5
        values = _tokens_by_head(attention.v_proj(queries), heads)
        weight, shift = self.outputs[-1]
        vectors = (values @ weight + shift).flatten(1, 2)
        (prompts, rows, _), length = vectors.shape, terms.power.shape[1]
        added = TokenRows(vectors.new_empty(prompts, rows, length, dtype=self._dtype), vectors, values)
        earlier = (TokenRows(rows.basis, _centred(rows.vectors), rows.values) for rows in factored.rows)
        centred = FactoredTokens(factored.scale, (*earlier, added))
        scores = Scores(keys, self._query_weight, terms.queries, self._query_position, factored)
        norm = _FactoredLayerNorm(terms, centred, self._block.norm4, self._dtype)
        scale = vectors.new_empty(prompts, length)
        for block in blocks(length, prompts * rows, vectors.device):
            weights = F.softmax(scores.of(block), dim=2)  # over the tokens; the image tokens stay innermost
            added.basis[:, :, block] = weights.flatten(1, 2)
            scale[:, block] = norm.scale(block)
        return FactoredTokens(
            scale,
            tuple(TokenRows(rows.basis, rows.vectors * self._block.norm4.weight, rows.values) for rows in centred.rows),
        )


class _FactoredLayerNorm:
    """Layer norm of centred ``scale * base + sum vectors^T @ basis``: one factor per image token.

    mean(x^2) = scale^2 power + sum_r basis_r (2 scale base.vectors_r + sum_s vectors_r.vectors_s basis_s) / C,
    where the pairs of two layers are visited once and counted twice.
    """

    def __init__(self, terms: LayerTerms, tokens: FactoredTokens, norm: nn.LayerNorm, dtype: torch.dtype) -> None:
        self._terms, self._tokens, self._eps, self._dtype = terms, tokens, norm.eps, dtype
        self._doubled_values = [(2 * rows.values).to(dtype) for rows in tokens.rows]
        self._grams = [
            [_gram(rows, other, dtype) * (1 if other is rows else 2) for other in tokens.rows[: layer + 1]]
            for layer, rows in enumerate(tokens.rows)
        ]

    def scale(self, block: slice) -> Tensor:
        """(N, P) float32 scale after the norm; multiplies the ``basis`` of the block in place."""
        power = self._terms.power[:, block]
        scale = None if self._tokens.scale is None else self._tokens.scale[:, block]
        mean_square = power if scale is None else scale.square() * power
        bases = [rows.basis[:, :, block] for rows in self._tokens.rows]
        for basis, values, grams, (projected, shift) in zip(
            bases, self._doubled_values, self._grams, self._terms.cross, strict=True
        ):
            constant = 2 * shift[:, block] if scale is None else 2 * shift[:, block] * scale
            mixed = scaled_sum(constant, per_head(values, projected[..., block]), scale).flatten(1, 2)
            for gram, other in zip(grams, bases, strict=False):
                mixed.baddbmm_(gram, other)
            mean_square = mean_square + mixed.mul_(basis).sum(1, dtype=torch.float32)
        factor = torch.rsqrt(mean_square + self._eps)
        for basis in bases:
            basis.mul_(factor[:, None].to(self._dtype))
        return factor if scale is None else scale * factor


class _TokenToImage:
    """Cross attention from the prompt tokens to the factored image tokens."""

    def __init__(self, attention: nn.Module, position: Tensor, constant: Tensor, dtype: torch.dtype) -> None:
        self._attention = attention
        self._dtype = dtype
        self._key_weight = _split_heads(attention.k_proj.weight, attention.num_heads)
        self._value_weight = _split_heads(attention.v_proj.weight, attention.num_heads)
        self._value_shift = self._value_weight @ constant + attention.v_proj.bias.view(attention.num_heads, -1)
        self._key_position = (self._key_weight @ position).to(dtype)

    def project_image(self, base: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, L) -> keys and values without constants, (B, H, d, L) each."""
        keys, values = _project(self._key_weight, base), _project(self._value_weight, base)
        return keys.to(self._dtype), values.to(self._dtype)

    def __call__(self, terms: LayerTerms, factored: FactoredTokens, tokens: Tensor) -> Tensor:
        """(N, T, C) tokens -> what they read from the image (N, T, C)."""
        heads = self._attention.num_heads
        queries = _tokens_by_head(self._attention.q_proj(tokens), heads)
        queries = queries * queries.shape[-1] ** -0.5
        keys = terms.keys if factored.rows else terms.keys + self._key_position
        scores = Scores(queries, self._key_weight, keys, self._key_position, factored)
        reads, log_sums = [], []
        prompts, _, count, depth = queries.shape
        for block in blocks(keys.shape[3], prompts * heads * count, tokens.device):
            block_scores = scores.of(block)
            weights = F.softmax(block_scores, dim=-1)
            log_sums.append(block_scores.amax(-1).float() - weights.amax(-1).float().log())
            reads.append(self._read(weights, terms.values, factored, block))
        read, *by_row = _join_blocks(reads, log_sums).split(
            [depth, *(r.vectors.shape[1] for r in factored.rows)], dim=3
        )
        for weights, rows in zip(by_row, factored.rows, strict=True):
            by_channel = torch.bmm(weights.flatten(1, 2), rows.vectors).unflatten(1, (heads, count))
            read = read + by_channel @ self._value_weight.transpose(1, 2)
        read = read + self._value_shift[:, None]
        return self._attention.out_proj(read.transpose(1, 2).flatten(2))

    def _read(self, weights: Tensor, values: Tensor, factored: FactoredTokens, block: slice) -> Tensor:
        """Attention weights (N, H, T, P) -> what they take of the base's values, and of every row of ``basis``.

        Returns:
            (N, H, T, d + all R) float32.
        """
        scale = None if factored.scale is None else factored.scale[:, block].to(self._dtype)
        read = per_head_sum(weights, scale, values[..., block])
        flat = weights.flatten(1, 2)
        by_row = (torch.bmm(flat, rows.basis[:, :, block].transpose(1, 2)).float() for rows in factored.rows)
        return torch.cat([read, *(part.unflatten(1, weights.shape[1:3]) for part in by_row)], dim=3)


def _join_blocks(reads: list[Tensor], log_sums: list[Tensor]) -> Tensor:
    """Softmax averages over blocks (N, H, T, X), and the log of each one's sum (N, H, T) -> average over all."""
    if len(reads) == 1:
        return reads[0]
    shares = torch.stack(log_sums).softmax(dim=0)[..., None]
    return (torch.stack(reads) * shares).sum(dim=0)


def _gram(rows: TokenRows, other: TokenRows, dtype: torch.dtype) -> Tensor:
    """(N, R, R') inner products of the vectors, over C."""
    return (torch.bmm(rows.vectors, other.vectors.transpose(1, 2)) / rows.vectors.shape[2]).to(dtype)


def _project(weight: Tensor, base: Tensor) -> Tensor:
    """(H, d, C) weights on (B, C, L) -> (B, H, d, L)."""
    return torch.matmul(weight.flatten(0, 1), base).unflatten(1, weight.shape[:2])


def _split_heads(weight: Tensor, heads: int) -> Tensor:
    """(H * d, C) -> (H, d, C)."""
    return weight.detach().unflatten(0, (heads, -1)).contiguous()


def _tokens_by_head(tokens: Tensor, heads: int) -> Tensor:
    """(N, T, H * d) -> (N, H, T, d)."""
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)


def _centred(vectors: Tensor) -> Tensor:
    """Removes the mean over channels, the last dimension."""
    return vectors - vectors.mean(-1, keepdim=True)
