"""Cross attention of SAM 2's two-way transformer in which the prompt tokens read from the factored image tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.models.sam2.compiled_passes import CompiledPasses, panels, token_panels
from no_time_to_train.models.sam2.factored_tokens import FactoredTokens, Scores, mix, of_prompts, parts, per_head_sum
from no_time_to_train.models.sam2.modules import Attention


@dataclass(frozen=True, eq=False)
class ReadTerms:
    """What the prompt tokens read of the image; B is 1 (shared by all prompts) or the number of prompts.

    Attributes:
        keys, values: (B, H, d, L); or ``panels`` and ``token_panels`` of them.
    """

    keys: Tensor
    values: Tensor


class TokenToImage:
    """Cross attention from the prompt tokens to the factored image tokens."""

    def __init__(
        self,
        attention: Attention,
        position: Tensor,
        constant: Tensor,
        dtype: torch.dtype,
        passes: CompiledPasses | None,
    ) -> None:
        self._attention = attention
        self._dtype = dtype
        self._passes = passes
        self._key_weight = split_heads(attention.k_proj.weight, attention.num_heads)
        self._value_weight = split_heads(attention.v_proj.weight, attention.num_heads)
        self._value_shift = self._value_weight @ constant + attention.v_proj.bias.view(attention.num_heads, -1)
        self._key_position = (self._key_weight @ position).to(dtype)
        self._position_panels = None if passes is None else panels(self._key_position.flatten(0, 1))

    def project_image(self, base: Tensor, *, is_first: bool = False) -> ReadTerms:
        """Project a (B, C, L) base to keys and values without constants.

        Those of the first layer hold the position code already: nothing has been scaled yet.
        """
        keys, values = (project(weight, base).to(self._dtype) for weight in (self._key_weight, self._value_weight))
        if is_first:
            keys = keys + self._key_position
        if self._passes is not None and len(base) == 1:
            return ReadTerms(panels(keys.flatten(1, 2)), token_panels(values))
        return ReadTerms(keys, values)

    def __call__(self, terms: ReadTerms, factored: FactoredTokens, tokens: Tensor) -> Tensor:
        """Return the (N, T, C) that (N, T, C) tokens read from the image."""
        heads = self._attention.num_heads
        queries = tokens_by_head(self._attention.q_proj(tokens), heads)
        queries = queries * queries.shape[-1] ** -0.5
        read, by_row = self._read(terms, factored, queries)
        by_channel = torch.bmm(by_row, factored.vectors).unflatten(1, queries.shape[1:3])
        read = read + (by_channel @ self._value_weight.transpose(1, 2) + self._value_shift[:, None])
        return self._attention.out_proj(read.transpose(1, 2).flatten(2))

    def _read(self, terms: ReadTerms, factored: FactoredTokens, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Read (N, H, T, d) of the base, and the (N, H * T, R) weights of the rows."""
        if self._passes is not None and self._position_panels is not None and factored.in_panels:
            mixing = mix(queries, self._key_weight, factored)
            keys, position, values = terms.keys, self._position_panels, terms.values
            return self._passes.read(queries, mixing, keys, position, values, factored.basis, factored.scale)
        scores = Scores(queries, self._key_weight, terms.keys, self._key_position, factored)
        (prompts, heads, count, _), (_, rows, length) = queries.shape, factored.basis.shape
        read, by_row = queries.new_empty(queries.shape), queries.new_empty(prompts, heads * count, rows)
        for part in parts(prompts, heads * count * length, terms.keys):
            weights = F.softmax(scores.of(part), dim=2)
            if factored.scale is not None:
                weights *= factored.scale[part, None].to(self._dtype)
                by_row[part] = torch.bmm(weights, factored.basis[part].transpose(1, 2))
            read[part] = per_head_sum(weights, of_prompts(terms.values, part))
        return read, by_row


def project(weight: Tensor, base: Tensor) -> Tensor:
    """Apply (H, d, C) weights to (B, C, L), which gives (B, H, d, L)."""
    return torch.matmul(weight.flatten(0, 1), base).unflatten(1, weight.shape[:2])


def split_heads(weight: Tensor, heads: int) -> Tensor:
    """Split the rows of (H * d, C) by head: (H, d, C)."""
    return weight.detach().unflatten(0, (heads, -1)).contiguous()


def tokens_by_head(tokens: Tensor, heads: int) -> Tensor:
    """Bring (N, T, H * d) to (N, H, T, d)."""
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)
