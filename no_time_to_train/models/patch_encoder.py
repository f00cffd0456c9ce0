"""A frozen vision transformer of any library as a feature encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from no_time_to_train.errors import InputError
from no_time_to_train.models.catalog import IMAGENET_MEAN, IMAGENET_STD
from no_time_to_train.models.precision import forward_precision


class PatchEncoder:
    """A frozen vision transformer that gives one feature vector per patch (a ``FeatureEncoder``).

    The features are the patch tokens after the final normalization; class and register tokens are dropped.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        model_id: str,
        patch_size: int,
        feature_dim: int,
        image_size: int,
        num_prefix_tokens: int = 1,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Wrap an already built network.

        Args:
            module: maps normalized images (B, 3, H, W) to an object whose ``last_hidden_state`` is (B, T, D), the T
                tokens being ``num_prefix_tokens`` others and then the patches in row order. It is frozen in place.
            model_id: identity of the weights; stored with whatever is made from the features.
            patch_size: side of a patch in pixels.
            feature_dim: D.
            image_size: side of the square input in pixels, a multiple of ``patch_size``.
            num_prefix_tokens: class and register tokens before the patches.
            mean, std: normalization of RGB values in 0..1.
            device: where the network runs.
            dtype: ``torch.float32``, or the format of autocast.

        Raises:
            InputError: ``image_size`` is not a multiple of ``patch_size``.
        """
        check_multiple("encoder.image_size", image_size, patch_size, model_id)
        self.module = module.to(device).eval().requires_grad_(False)
        self.model_id = model_id
        self.image_size = image_size
        self.patch_size = patch_size
        self.feature_dim = feature_dim
        self.num_prefix_tokens = num_prefix_tokens
        self.dtype = dtype
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(std, device=device).view(3, 1, 1)
        self.device = self._mean.device  # with its number: in other threads another GPU may be the current one

    def encode(self, images: Tensor) -> Tensor:
        """Return the features of every patch.

        Args:
            images: (B, 3, H, W) RGB float in 0..1, not normalized; H and W are multiples of the patch (both are
                ``image_size`` in the pipeline).

        Returns:
            (B, H / patch, W / patch, D) float32.

        Raises:
            InputError: another shape or type, or a side that is not a multiple of the patch.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise InputError(
                f"images must be (B, 3, H, W) float in 0..1, got {tuple(images.shape)} {str(images.dtype)[6:]}."
            )
        height, width = images.shape[-2:]
        check_multiple("image height", height, self.patch_size, self.model_id)
        check_multiple("image width", width, self.patch_size, self.model_id)
        normalized = (images.to(self.device, torch.float32) - self._mean) / self._std
        with forward_precision(self.device, self.dtype):
            tokens = self.module(normalized).last_hidden_state[:, self.num_prefix_tokens :]
        grid = (height // self.patch_size, width // self.patch_size)
        return tokens.float().unflatten(1, grid)


def check_multiple(what: str, size: int, patch_size: int, model_id: str) -> None:
    """Raise unless ``size`` is a multiple of the patch, naming the two nearest sizes that are."""
    if size < patch_size or size % patch_size:
        below = max(size // patch_size, 1) * patch_size
        raise InputError(
            f"{what}={size} is not a multiple of {model_id}'s patch {patch_size}. Use {below} or {below + patch_size}."
        )
