"""SAM 2's two-way transformer for many prompts of one image, with the image side never materialised per prompt.

The plain module carries a (L, C) copy of the image tokens for every prompt. Here the image tokens of a prompt are
kept in factored form (L image tokens, C channels, H heads, T prompt tokens, R = H * T rows per layer)::

    K = scale * base + vectors^T @ basis + constant            (C, L)

``base`` is the same for every prompt; ``basis`` (R, L) are the attention weights of the image over the prompt's
tokens; ``vectors`` (R, C) is what each token and head adds. The form is closed under what a layer does:

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
        scale: (N, L) float32.
        rows: of every layer so far.
    """

    scale: Tensor
    rows: tuple[TokenRows, ...]

    def __getitem__(self, prompts: Tensor) -> FactoredTokens:
        return FactoredTokens(self.scale[prompts], tuple(rows[prompts] for rows in self.rows))


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
        queries, factored = tokens, None
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
        self, terms: LayerTerms, factored: FactoredTokens | None, queries: Tensor, query_position: Tensor
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
        self, terms: LayerTerms, factored: FactoredTokens | None, queries: Tensor, query_position: Tensor
    ) -> FactoredTokens:
        """The image attends to the prompt tokens, then layer norm."""
        attention = self._image_to_token
        heads = attention.num_heads
        keys = _tokens_by_head(attention.k_proj(queries + query_position), heads)
        keys = keys * keys.shape[-1] ** -0.5
        values = _tokens_by_head(attention.v_proj(queries), heads)
        scores = _scores(keys, self._query_weight, terms.queries, self._query_position, factored)
        weights = F.softmax(scores, dim=2)  # over the tokens; the image tokens stay innermost
        weight, shift = self.outputs[-1]
        added = TokenRows(weights.flatten(1, 2), (values @ weight + shift).flatten(1, 2), values)
        if factored is None:
            return self._normalise(terms, None, (added,))
        earlier = (TokenRows(rows.basis, _centred(rows.vectors), rows.values) for rows in factored.rows)
        return self._normalise(terms, factored.scale, (*earlier, added))

    def _normalise(self, terms: LayerTerms, scale: Tensor | None, all_rows: tuple[TokenRows, ...]) -> FactoredTokens:
        """Layer norm of ``scale * base + sum vectors^T @ basis``, all centred: one factor per image token.

        mean(x^2) = scale^2 power + sum_r basis_r (2 scale base.vectors_r + sum_s vectors_r.vectors_s basis_s) / C,
        where the pairs of two layers are visited once and counted twice. ``basis`` is scaled in place.
        """
        norm = self._block.norm4
        mean_square = terms.power if scale is None else scale.square() * terms.power
        for layer, (rows, (projected, shift)) in enumerate(zip(all_rows, terms.cross, strict=True)):
            doubled = _per_head((2 * rows.values).to(self._dtype), projected)
            shift = 2 * shift if scale is None else 2 * shift * scale
            mixed = _scaled_sum(shift, doubled, scale).flatten(1, 2)
            for other in all_rows[: layer + 1]:
                gram = torch.bmm(rows.vectors, other.vectors.transpose(1, 2)) / rows.vectors.shape[2]
                mixed.baddbmm_((gram if other is rows else 2 * gram).to(self._dtype), other.basis)
            mean_square = mean_square + mixed.mul_(rows.basis).sum(1, dtype=torch.float32)
        factor = torch.rsqrt(mean_square + norm.eps)
        lowered = factor[:, None].to(self._dtype)
        scaled = (TokenRows(rows.basis.mul_(lowered), rows.vectors * norm.weight, rows.values) for rows in all_rows)
        return FactoredTokens(factor if scale is None else scale * factor, tuple(scaled))


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

    def __call__(self, terms: LayerTerms, factored: FactoredTokens | None, tokens: Tensor) -> Tensor:
        """(N, T, C) tokens -> what they read from the image (N, T, C)."""
        heads = self._attention.num_heads
        queries = _tokens_by_head(self._attention.q_proj(tokens), heads)
        queries = queries * queries.shape[-1] ** -0.5
        keys = terms.keys if factored is not None else terms.keys + self._key_position
        scores = _scores(queries, self._key_weight, keys, self._key_position, factored)
        weights = F.softmax(scores, dim=-1)
        if factored is None:
            read = _per_head_sum(weights, None, terms.values)
        else:
            read = _per_head_sum(weights, factored.scale.to(self._dtype), terms.values)
            by_channel = sum(
                torch.bmm(torch.bmm(weights.flatten(1, 2), rows.basis.transpose(1, 2)).float(), rows.vectors)
                for rows in factored.rows
            )
            read = read + by_channel.unflatten(1, weights.shape[1:3]) @ self._value_weight.transpose(1, 2)
        read = read + self._value_shift[:, None]
        return self._attention.out_proj(read.transpose(1, 2).flatten(2))


def _scores(tokens: Tensor, weight: Tensor, image: Tensor, position: Tensor, factored: FactoredTokens | None) -> Tensor:
    """Scores of prompt tokens (N, H, T, d) against the image tokens -> (N, H, T, L).

    ``image`` (B, H, d, L) is the projected base; it holds ``position`` (H, d, L) already where ``factored`` is None.
    """
    lowered = tokens.to(image.dtype)
    shared = _per_head(lowered, image)
    if factored is None:
        return shared
    placed = _per_head(lowered, position[None])
    scores = _scaled_sum(placed, shared, factored.scale)
    by_channel = (tokens @ weight).flatten(1, 2)
    for rows in factored.rows:
        mixing = torch.bmm(by_channel, rows.vectors.transpose(1, 2)).to(image.dtype)
        scores.flatten(1, 2).baddbmm_(mixing, rows.basis)
    return scores


def _scaled_sum(added: Tensor, shared: Tensor, scale: Tensor | None) -> Tensor:
    """``added + scale * shared`` as a new (N, H, T, L); ``added`` is such a tensor or (N or 1, L); scale (N, L)."""
    total = torch.empty(shared.shape, dtype=shared.dtype, device=shared.device)
    if added.ndim == 2:
        added = added[:, None, None].to(shared.dtype)
    if scale is None:
        return torch.add(shared, added, out=total)
    return torch.addcmul(added, shared, scale[:, None, None].to(shared.dtype), out=total)


def _per_head(tokens: Tensor, image: Tensor) -> Tensor:
    """(N, H, T, d) @ (B, H, d, L) -> (N, H, T, L), a view; B is 1 or N. One product serves all prompts of an image."""
    images, heads, _, length = image.shape
    prompts, _, count, _ = tokens.shape
    rows = tokens.unflatten(0, (images, prompts // images)).transpose(1, 2).flatten(2, 3)
    product = (rows @ image).view(images, heads, prompts // images, count, length)
    return product.transpose(1, 2).flatten(0, 1)


def _per_head_sum(weights: Tensor, scale: Tensor | None, image: Tensor) -> Tensor:
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
