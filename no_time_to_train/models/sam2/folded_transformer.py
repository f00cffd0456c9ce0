"""SAM 2's two-way transformer for many prompts of one image, with the image side never materialized per prompt.

The plain module carries a (C, L) copy of the image tokens for every prompt. Here they are kept in factored form,
``scale * (base + vectors^T @ basis) + constant`` (see ``factored_tokens``), which is closed under what a layer does:

* attention from the image adds ``softmax(scores) / scale`` as rows of ``basis`` and the projected token values as
  ``vectors``; since each head's weights sum to one, constants are spread over the heads' vectors;
* layer norm changes ``scale`` alone. Channel means are removed from ``base`` and ``vectors`` beforehand; the variance
  is a quadratic form in the factors;
* a linear map of K acts on ``base`` (once per image) and on ``vectors`` (a few rows per prompt).

So scores and values of every attention, and the first upscaling, cost products with R rows in place of C channels.
The result is exact up to rounding. Constants over a softmax axis drop out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.models.sam2.compiled_passes import PANEL, CompiledPasses, panels
from no_time_to_train.models.sam2.factored_tokens import (
    FactoredTokens,
    Scores,
    mix,
    of_prompts,
    parts,
    per_head,
)
from no_time_to_train.models.sam2.modules import AttentionBlock, TrainedNorm, Transformer
from no_time_to_train.models.sam2.token_to_image import (
    ReadTerms,
    TokenToImage,
    project,
    split_heads,
    tokens_by_head,
)


@dataclass(frozen=True, eq=False)
class LayerTerms(ReadTerms):
    """Projections of the image for one layer.

    Attributes:
        queries: (B, H, d, L), or ``panels`` of it.
        power: (B, L) mean square of the centered base over channels.
        cross: (B, layers * H, d, L) the centered base projected on the output weights of this layer and of every
            earlier one, times 2 / C; or ``panels`` of it.
        cross_shift: (B, layers, L) the centered base projected on the output constants, times 2 / C.
    """

    queries: Tensor
    power: Tensor
    cross: Tensor
    cross_shift: Tensor


@dataclass(frozen=True, eq=False)
class ImageTerms:
    """What all prompts share of an image.

    Attributes:
        layers: one entry per layer.
        final: of the attention after the last layer.
        final_base: (B, C, L) base after the last layer.
    """

    layers: tuple[LayerTerms, ...]
    final: ReadTerms
    final_base: Tensor


class FoldedTransformer:
    """``sam2``'s ``TwoWayTransformer`` for N prompts of one image, with equal numbers.

    Args:
        transformer: the trained ``TwoWayTransformer``.
        position: (C, L) position code of the image tokens.
        dtype: arithmetic of the image side; tokens and statistics are float32.
        passes: what works off the image side where it is shared by all prompts; None: torch.
    """

    def __init__(
        self, transformer: nn.Module, position: Tensor, dtype: torch.dtype, passes: CompiledPasses | None = None
    ) -> None:
        self.dtype = dtype
        self._passes = passes
        frozen = cast(Transformer, copy.deepcopy(transformer).float().eval().requires_grad_(False))
        position = position.float()
        constant = torch.zeros_like(position[:, 0])
        outputs: list[tuple[Tensor, Tensor]] = []  # per layer so far: weights (H, d, C) and constant (C,)
        self._layers: list[_FoldedLayer] = []
        for block in frozen.layers:
            layer = _FoldedLayer(block, position, constant, outputs, dtype, passes)
            self._layers.append(layer)
            constant = block.norm4.bias
            outputs = [(weight * block.norm4.weight, shift * block.norm4.weight) for weight, shift in layer.outputs]
        self._final = TokenToImage(frozen.final_attn_token_to_image, position, constant, dtype, passes)
        self._final_norm = frozen.norm_final_attn
        self.final_constant = constant

    def project_image(self, image: Tensor) -> ImageTerms:
        """Project the image tokens to what the prompts share.

        Args:
            image: (B, C, L) tokens, dense prompt added; B is 1 or the number of prompts.
        """
        base = image.float()
        layers: list[LayerTerms] = []
        for layer in self._layers:
            terms, base = layer.project_image(base)
            layers.append(terms)
        return ImageTerms(tuple(layers), self._final.project_image(base), base)

    def __call__(self, image: ImageTerms, tokens: Tensor, outputs: slice) -> tuple[Tensor, FactoredTokens]:
        """Process N prompts.

        Args:
            image: of this image.
            tokens: (N, T, C) float32 prompt tokens.
            outputs: the tokens that are wanted; the others need not read from the image a last time.

        Returns:
            The wanted tokens (N, T', C) and the image tokens.
        """
        factored = self._no_rows(image, tokens)
        queries = tokens
        for layer, terms in zip(self._layers, image.layers, strict=True):
            queries = layer.update_tokens(terms, factored, queries, tokens)
            factored = layer.update_image(terms, factored, queries, tokens)
        queries = queries[:, outputs]
        read = self._final(image.final, factored, queries + tokens[:, outputs])
        return self._final_norm(queries + read), factored

    def _no_rows(self, image: ImageTerms, tokens: Tensor) -> FactoredTokens:
        """Begin with what all prompts share."""
        (prompts, count, channels), length = tokens.shape, image.final_base.shape[2]
        heads, depth = self._layers[0].outputs[0][0].shape[:2]
        if self._passes is not None and len(image.final_base) == 1:
            basis = tokens.new_empty(prompts, length // PANEL, len(self._layers) * heads * count, PANEL)
        else:
            basis = tokens.new_empty(prompts, 0, length, dtype=self.dtype)
        return FactoredTokens(
            scale=None,
            basis=basis,
            vectors=tokens.new_empty(prompts, 0, channels),
            values=tokens.new_empty(prompts, 0, count, depth),
            row_sums=tokens.new_empty(prompts, 0, length),
        )


class _FoldedLayer:
    """One ``TwoWayAttentionBlock``."""

    def __init__(
        self,
        block: AttentionBlock,
        position: Tensor,
        constant: Tensor,
        earlier_outputs: list[tuple[Tensor, Tensor]],
        dtype: torch.dtype,
        passes: CompiledPasses | None,
    ) -> None:
        self._block = block
        self._dtype = dtype
        self._passes = passes
        self._token_to_image = TokenToImage(block.cross_attn_token_to_image, position, constant, dtype, passes)
        attention = block.cross_attn_image_to_token
        heads = attention.num_heads
        self._image_to_token = attention
        self._query_weight = split_heads(attention.q_proj.weight, heads)
        shifted = position + constant[:, None]
        self._query_position = (self._query_weight @ shifted + attention.q_proj.bias.view(heads, -1, 1)).to(dtype)
        self._position_panels = None if passes is None else panels(self._query_position.flatten(0, 1))
        output_weight = split_heads(attention.out_proj.weight.T, heads)
        output_shift = (constant + attention.out_proj.bias) / heads
        # Layer norm removes the channel mean, so it is removed from the weights once.
        self.outputs = [
            (_centered(weight), _centered(shift)) for weight, shift in [*earlier_outputs, (output_weight, output_shift)]
        ]

    def project_image(self, base: Tensor) -> tuple[LayerTerms, Tensor]:
        """Compute the shared terms of a (B, C, L) base, and the next layer's base."""
        read = self._token_to_image.project_image(base, is_first=self._is_first)
        queries = project(self._query_weight, base)
        if self._is_first:
            queries += self._query_position
        centered = base - base.mean(1, keepdim=True)
        weights, shifts = (torch.stack(each) * (2 / base.shape[1]) for each in zip(*self.outputs, strict=True))
        queries, cross = queries.to(self._dtype), project(weights.flatten(0, 1), centered).to(self._dtype)
        if self._passes is not None and len(base) == 1:
            queries, cross = panels(queries.flatten(1, 2)), panels(cross.flatten(1, 2))
        terms = LayerTerms(
            keys=read.keys,
            values=read.values,
            queries=queries,
            power=centered.square().mean(1),
            cross=cross,
            cross_shift=shifts @ centered,
        )
        return terms, centered * self._block.norm4.weight[:, None]

    @property
    def _is_first(self) -> bool:
        return len(self.outputs) == 1

    def update_tokens(
        self, terms: LayerTerms, factored: FactoredTokens, queries: Tensor, query_position: Tensor
    ) -> Tensor:
        """Apply self-attention, read from the image, and apply the MLP."""
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
        """Let the image attend to the prompt tokens, then apply the layer norm."""
        attention = self._image_to_token
        heads = attention.num_heads
        keys = tokens_by_head(attention.k_proj(queries + query_position), heads)
        keys = keys * keys.shape[-1] ** -0.5
        values = tokens_by_head(attention.v_proj(queries), heads)
        weight, shift = self.outputs[-1]
        vectors = torch.cat([_centered(factored.vectors), (values @ weight + shift).flatten(1, 2)], dim=1)
        # Attention adds to K itself, and so, over the scale so far, to what that scale multiplies.
        scale = factored.scale
        unscaled = vectors.new_ones(len(vectors), terms.power.shape[1]) if scale is None else 1 / scale
        updated = replace(
            factored,
            vectors=vectors,
            values=torch.cat([factored.values, values], dim=1),
            row_sums=torch.cat([factored.row_sums, heads * unscaled[:, None]], dim=1),
        )
        norm = _FactoredLayerNorm(terms, updated, self._block.norm4)
        if factored.in_panels:
            basis, scale = self._add_rows_compiled(terms, factored, keys, norm, updated.values)
        else:
            basis, scale = self._add_rows(terms, factored, keys, norm, unscaled)
        return replace(updated, basis=basis, scale=scale, vectors=vectors * self._block.norm4.weight)

    def _add_rows(
        self, terms: LayerTerms, factored: FactoredTokens, keys: Tensor, norm: _FactoredLayerNorm, unscaled: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the basis with rows of the image's attention, and the scale after the norm."""
        scores = Scores(keys, self._query_weight, terms.queries, self._query_position, factored)
        (prompts, heads, count, _), (_, earlier, length) = keys.shape, factored.basis.shape
        basis = factored.basis.new_empty(prompts, earlier + heads * count, length)
        scale = torch.empty_like(unscaled)
        for part in parts(prompts, basis.shape[1] * length, basis):
            weights = F.softmax(scores.of(part).unflatten(1, (heads, -1)), dim=2).flatten(1, 2)
            basis[part, :earlier] = factored.basis[part]
            torch.mul(weights, unscaled[part, None].to(self._dtype), out=basis[part, earlier:])
            scale[part] = norm(basis, part)
        return basis, scale

    def _add_rows_compiled(
        self, terms: LayerTerms, factored: FactoredTokens, keys: Tensor, norm: _FactoredLayerNorm, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Do the same in panels, in the place that the basis keeps for it."""
        assert self._passes is not None and self._position_panels is not None
        mixing = mix(keys, self._query_weight, factored)
        form = values, terms.cross, norm.gram, norm.power, self._block.norm4.eps
        basis, scale = factored.basis, factored.scale
        return basis, self._passes.update(keys, mixing, terms.queries, self._position_panels, *form, basis, scale)


class _FactoredLayerNorm:
    """Layer norm of ``scale * (base + vectors^T @ basis)`` without channel means: a new scale.

    mean(x^2) = scale^2 (power + sum_r basis_r (2 base.vectors_r + sum_s vectors_r.vectors_s basis_s) / C).
    The constant in a layer's vectors meets the sum of its rows, which is known.

    Attributes:
        gram: (N, R, R) products of the vectors, over C.
        power: (N, L) mean square of all that needs no row.
    """

    def __init__(self, terms: LayerTerms, tokens: FactoredTokens, norm: TrainedNorm) -> None:
        self._cross, self._scale, self._eps = terms.cross, tokens.scale, norm.eps
        vectors, dtype = tokens.vectors, tokens.basis.dtype
        self._values = tokens.values.to(dtype)
        self.gram = (torch.bmm(vectors, vectors.transpose(1, 2)) / vectors.shape[2]).to(dtype)
        self.power = terms.power + (terms.cross_shift * tokens.row_sums).sum(1)

    def __call__(self, all_basis: Tensor, prompts: slice) -> Tensor:
        """Return the (n, L) float32 scale after the norm, of a part of the prompts."""
        basis = all_basis[prompts]
        mixed = per_head(self._values[prompts], of_prompts(self._cross, prompts))
        mixed.baddbmm_(self.gram[prompts], basis)
        # A CPU adds bfloat16 up in float32 by itself; asked for float32, it copies the whole map first.
        dtype = None if mixed.device.type == "cpu" else torch.float32
        mean_square = self.power[prompts] + mixed.mul_(basis).sum(1, dtype=dtype)
        if self._scale is None:
            return torch.rsqrt(mean_square + self._eps)
        scale = self._scale[prompts]
        return scale * torch.rsqrt(scale.square() * mean_square + self._eps)


def _centered(vectors: Tensor) -> Tensor:
    """Remove the mean over channels, the last dimension."""
    return vectors - vectors.mean(-1, keepdim=True)
