"""SAM 2's mask upscaling on factored image tokens: only the wanted masks, in cache-sized blocks of tokens.

A transposed convolution with kernel 2 and stride 2 is one matrix product per pixel whose outputs are the 2 x 2 new
pixels. So each image token carries its new pixels and their channels along, channels innermost for the layer norm, and
nothing is rearranged before the final logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.models.sam2.compiled_passes import CompiledPasses, panels
from no_time_to_train.models.sam2.factored_tokens import FactoredTokens, of_prompts, parts
from no_time_to_train.models.sam2.modules import TrainedLayer, UpscalingLayers


@dataclass(frozen=True, eq=False)
class UpscalingTerms:
    """What all prompts share of an image with L = h * w tokens of C channels.

    Attributes:
        base: (B, L, 4 * C/4) first convolution of the tokens' base; B is 1 or the number of prompts.
        stride_8: (L, 4 * C/4) stride-8 features, and what the first convolution makes of constants.
        stride_4: (L, 4, 4 * C/8) stride-4 features plus the second convolution's bias.
        size_hw: (h, w).

    For ``compiled_passes`` the three are ``panels`` of (B, 4 * C/4, L), (4 * C/4, L) and (16 * C/8, L).
    """

    base: Tensor
    stride_8: Tensor
    stride_4: Tensor
    size_hw: tuple[int, int]

    def __getitem__(self, prompts: Tensor) -> UpscalingTerms:
        """Select the terms of the listed prompts."""
        if len(self.base) == 1:
            return self
        return replace(self, base=self.base[prompts])


class MaskUpscaling:
    """``output_upscaling`` of the mask decoder and the product with the hyper-network vectors.

    Args:
        layers: transposed convolution, LayerNorm2d, activation, transposed convolution, activation.
        constant: (C,) constant of the image tokens after the transformer.
        dtype: arithmetic of the image side.
        passes: what works off the image side where it is shared by all prompts; None: torch.
    """

    def __init__(
        self, layers: nn.Sequential, constant: Tensor, dtype: torch.dtype, passes: CompiledPasses | None = None
    ) -> None:
        first, norm, self._first_activation, second, self._second_activation = cast(UpscalingLayers, tuple(layers))
        self._dtype = dtype
        self._passes = passes
        self._norm_weight, self._norm_bias = norm.weight.detach().to(dtype), norm.bias.detach().to(dtype)
        self._norm_eps = norm.eps
        weight = _weight_per_pixel(first)
        # The layer norm removes each new pixel's channel mean, so it is removed from all that adds up to it.
        self._first = _without_channel_mean(weight).flatten(0, 1)
        self._first_shift = (weight @ constant + first.bias.detach().float())[..., None]
        self._second = _weight_per_pixel(second).flatten(0, 1).to(dtype)
        self._second_shift = second.bias.detach().float().repeat(4)[:, None]

    def project_image(self, base: Tensor, high_res_features: tuple[Tensor, Tensor]) -> UpscalingTerms:
        """Compute the shared terms of an image.

        Args:
            base: (B, C, L) after the transformer.
            high_res_features: of stride 4 and of stride 8.
        """
        stride_4, stride_8 = (features[0].float() for features in high_res_features)
        height, width = stride_8.shape[1] // 2, stride_8.shape[2] // 2
        by_pixel = stride_8.reshape(-1, height, 2, width, 2).permute(2, 4, 0, 1, 3).flatten(3).flatten(0, 1)
        stride_8 = _without_channel_mean(by_pixel + self._first_shift).flatten(0, 1)
        by_pixel = stride_4.reshape(-1, height, 2, 2, width, 2, 2).permute(2, 5, 3, 6, 0, 1, 4)
        stride_4 = by_pixel.reshape(4, -1, height * width) + self._second_shift
        if self._passes is not None and len(base) == 1:
            by_token = panels(self._first @ base), panels(stride_8), panels(stride_4.flatten(0, 1))
            return UpscalingTerms(*by_token, size_hw=(height, width))
        return UpscalingTerms(
            base=(self._first @ base).transpose(1, 2).to(self._dtype).contiguous(),
            stride_8=stride_8.T.to(self._dtype).contiguous(),
            stride_4=stride_4.permute(2, 0, 1).to(self._dtype).contiguous(),
            size_hw=(height, width),
        )

    def __call__(self, terms: UpscalingTerms, tokens: FactoredTokens, hyper_vectors: Tensor) -> Tensor:
        """Compute mask logits.

        Args:
            terms: of the image.
            tokens: of N prompts, after the transformer.
            hyper_vectors: (N, M, C/8), one for every mask that is wanted.

        Returns:
            (N, M, 4h, 4w) float32.
        """
        (height, width), (prompts, masks, _) = terms.size_hw, hyper_vectors.shape
        if self._passes is not None and tokens.in_panels:
            return self._upscale_compiled(self._passes, terms, tokens, hyper_vectors)
        logits = hyper_vectors.new_empty(prompts, masks, height * width, 16)
        first = (tokens.vectors @ self._first.T).to(self._dtype)
        hyper_vectors = hyper_vectors.to(self._dtype).transpose(1, 2)
        per_token = 4 * len(self._second)
        for block in parts(height * width, per_token, terms.base):
            for part in parts(prompts, (block.stop - block.start) * per_token, terms.base):
                stride_8 = self._upscale_first(terms, tokens, first, part, block)
                stride_4 = self._upscale_second(terms, stride_8, block)
                logits[part, :, block] = (stride_4 @ hyper_vectors[part]).unflatten(1, (-1, 16)).permute(0, 3, 1, 2)
        return _by_row(logits, height, width)

    def _upscale_compiled(
        self, passes: CompiledPasses, terms: UpscalingTerms, tokens: FactoredTokens, hyper_vectors: Tensor
    ) -> Tensor:
        assert tokens.scale is not None, "the transformer has layers"
        first = self._first @ tokens.vectors.transpose(1, 2)
        image = terms.base, terms.stride_8, terms.stride_4
        norm = self._norm_weight, self._norm_bias, self._norm_eps
        width = terms.size_hw[1]
        return passes.upscale(first, tokens.basis, tokens.scale, *image, norm, self._second, hyper_vectors, width)

    def _upscale_first(
        self, terms: UpscalingTerms, tokens: FactoredTokens, first: Tensor, part: slice, block: slice
    ) -> Tensor:
        """(n, P * 4, C/4) after the layer norm and activation, of n prompts and P image tokens."""
        assert tokens.scale is not None, "the transformer has layers"
        scale = tokens.scale[part, block].to(self._dtype)
        stride_8 = torch.addcmul(terms.stride_8[block], of_prompts(terms.base, part)[:, block], scale[..., None])
        stride_8.baddbmm_((tokens.basis[part, :, block] * scale[:, None]).transpose(1, 2), first[part])
        channels = len(self._norm_weight)
        stride_8 = stride_8.view(len(stride_8), -1, channels)
        normed = F.layer_norm(stride_8, (channels,), self._norm_weight, self._norm_bias, self._norm_eps)
        return self._first_activation(normed)

    def _upscale_second(self, terms: UpscalingTerms, stride_8: Tensor, block: slice) -> Tensor:
        """(n, P * 4, C/4) -> (n, P * 16, C/8) after the second activation, 4 x 4 pixels per token."""
        count = len(stride_8)
        features = terms.stride_4[block].flatten(0, 1).expand(count, -1, -1)
        upscaled = torch.baddbmm(features, stride_8, self._second.T.expand(count, -1, -1))
        return self._second_activation(upscaled).view(count, -1, len(self._second) // 4)


def _by_row(logits: Tensor, height: int, width: int) -> Tensor:
    """(N, M, h * w, 16) pixels by image token, stride-8 pixel and stride-4 pixel -> (N, M, 4h, 4w)."""
    # Two neighbors of a row travel as one number: copies of single ones are several times slower.
    pairs = torch.arange(height * width * 8, device=logits.device).view(height, width, 2, 2, 2)
    order = pairs.permute(0, 2, 4, 1, 3).flatten()
    prompts, masks = logits.shape[:2]
    flat = logits.view(torch.int64).flatten(2).flatten(0, 1)
    return flat.index_select(1, order).view(logits.dtype).view(prompts, masks, 4 * height, 4 * width)


def _weight_per_pixel(convolution: TrainedLayer) -> Tensor:
    """Kernel-2, stride-2 transposed convolution (in, out, 2, 2) -> (4, out, in) float32, one map per new pixel."""
    return convolution.weight.detach().float().permute(2, 3, 1, 0).flatten(0, 1)


def _without_channel_mean(values: Tensor) -> Tensor:
    """(4, channels, ...) -> the same less the mean over channels."""
    return values - values.mean(1, keepdim=True)
