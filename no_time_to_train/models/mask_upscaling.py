"""SAM 2's mask upscaling on factored image tokens: only the wanted masks, in cache-sized blocks of pixels.

A transposed convolution with kernel 2 and stride 2 is one matrix product per pixel whose outputs are the 2 x 2 new
pixels. So channels stay in front, image tokens stay innermost, and nothing is rearranged before the final logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from no_time_to_train.models.factored_tokens import FactoredTokens, blocks


@dataclass(frozen=True, eq=False)
class UpscalingTerms:
    """What all prompts share of an image with L = h * w tokens of C channels.

    Attributes:
        base: (B, 4 * C/4, L) first convolution of the tokens' base; B is 1 or the number of prompts.
        stride_8: (4 * C/4, L) stride-8 features, and what the first convolution makes of constants.
        stride_4: (4, 4 * C/8, L) stride-4 features plus the second convolution's bias.
        size_hw: (h, w).
    """

    base: Tensor
    stride_8: Tensor
    stride_4: Tensor
    size_hw: tuple[int, int]

    def __getitem__(self, prompts: Tensor) -> UpscalingTerms:
        """The terms of the listed prompts."""
        if len(self.base) == 1:
            return self
        return replace(self, base=self.base[prompts])


class MaskUpscaling:
    """``output_upscaling`` of the mask decoder and the product with the hyper-network vectors.

    Args:
        layers: transposed convolution, LayerNorm2d, activation, transposed convolution, activation.
        constant: (C,) constant of the image tokens after the transformer.
        dtype: arithmetic of the image side.
    """

    def __init__(self, layers: nn.Sequential, constant: Tensor, dtype: torch.dtype) -> None:
        first, norm, self._first_activation, second, self._second_activation = layers
        self._dtype = dtype
        self._norm_eps = norm.eps
        self._norm_weight = norm.weight.detach().to(dtype)[:, None]
        self._norm_bias = norm.bias.detach().to(dtype)[:, None]
        weight = _weight_per_pixel(first)
        # The layer norm removes each new pixel's channel mean, so it is removed from all that adds up to it.
        self._first = _without_channel_mean(weight).flatten(0, 1)
        self._first_shift = (weight @ constant + first.bias.detach().float())[..., None]
        self._second = _weight_per_pixel(second).flatten(0, 1).to(dtype)
        self._second_shift = second.bias.detach().float().repeat(4)[:, None]

    def project_image(self, base: Tensor, high_res_features: tuple[Tensor, Tensor]) -> UpscalingTerms:
        """(B, C, L) base after the transformer and the (stride-4, stride-8) features -> the shared terms."""
        stride_4, stride_8 = (features[0].float() for features in high_res_features)
        height, width = stride_8.shape[1] // 2, stride_8.shape[2] // 2
        by_pixel = stride_8.reshape(-1, height, 2, width, 2).permute(2, 4, 0, 1, 3).flatten(3).flatten(0, 1)
        stride_8 = _without_channel_mean(by_pixel + self._first_shift).flatten(0, 1)
        by_pixel = stride_4.reshape(-1, height, 2, 2, width, 2, 2).permute(2, 5, 3, 6, 0, 1, 4)
        stride_4 = by_pixel.reshape(4, -1, height * width) + self._second_shift
        return UpscalingTerms(
            base=(self._first @ base).to(self._dtype),
            stride_8=stride_8.to(self._dtype),
            stride_4=stride_4.to(self._dtype),
            size_hw=(height, width),
        )

    def __call__(self, terms: UpscalingTerms, tokens: FactoredTokens, hyper_vectors: Tensor) -> Tensor:
        """Mask logits.

        Args:
            terms: of the image.
            tokens: of N prompts, after the transformer.
            hyper_vectors: (N, M, C/8), one for every mask that is wanted.

        Returns:
            (N, M, 4h, 4w) float32.
        """
        (height, width), (prompts, masks, _) = terms.size_hw, hyper_vectors.shape
        logits = hyper_vectors.new_empty(prompts, masks, height, 2, 2, width, 2, 2)
        if not prompts:
            return logits.view(prompts, masks, 4 * height, 4 * width)
        first = [(rows.vectors @ self._first.T).transpose(1, 2).to(self._dtype) for rows in tokens.rows]
        scale = tokens.scale[:, None].to(self._dtype)
        hyper_vectors = hyper_vectors.to(self._dtype)
        widest = prompts * 4 * self._second.shape[0]
        for block in blocks(height * width, widest, logits.device, multiple_of=width):
            stride_8 = torch.addcmul(terms.stride_8[:, block], terms.base[:, :, block], scale[:, :, block])
            for rows_of_layer, weight in zip(tokens.rows, first, strict=True):
                stride_8.baddbmm_(weight, rows_of_layer.basis[:, :, block])
            stride_8 = self._normalise(stride_8.unflatten(1, (4, -1)))
            stride_4 = self._upscale_second(terms, stride_8, block)
            products = (hyper_vectors[:, None] @ stride_4).view(prompts, 2, 2, 2, 2, masks, -1, width)
            logits[:, :, block.start // width : block.stop // width] = products.permute(0, 5, 6, 1, 3, 7, 2, 4)
        return logits.view(prompts, masks, 4 * height, 4 * width)

    def _normalise(self, stride_8: Tensor) -> Tensor:
        """LayerNorm2d of (N, 4, C/4, P) values without channel mean, in place, and the first activation."""
        mean_square = stride_8.square().mean(2, keepdim=True, dtype=torch.float32)
        stride_8.mul_(torch.rsqrt(mean_square + self._norm_eps).to(self._dtype))
        return self._first_activation(stride_8.mul_(self._norm_weight).add_(self._norm_bias))

    def _upscale_second(self, terms: UpscalingTerms, stride_8: Tensor, block: slice) -> Tensor:
        """(N, 4, C/4, P) -> (N, 16, C/8, P) after the second activation, 4 x 4 pixels per token."""
        upscaled = torch.matmul(self._second.expand(*stride_8.shape[:2], -1, -1), stride_8)
        upscaled += terms.stride_4[:, :, block]
        return self._second_activation(upscaled).unflatten(2, (4, -1)).flatten(1, 2)


def _weight_per_pixel(convolution: nn.ConvTranspose2d) -> Tensor:
    """Kernel-2, stride-2 transposed convolution (in, out, 2, 2) -> (4, out, in) float32, one map per new pixel."""
    return convolution.weight.detach().float().permute(2, 3, 1, 0).flatten(0, 1)


def _without_channel_mean(values: Tensor) -> Tensor:
    """(4, channels, ...) -> the same less the mean over channels."""
    return values - values.mean(1, keepdim=True)
