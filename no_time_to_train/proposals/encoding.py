"""Images as both networks see them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.data.images import resize_for_model
from no_time_to_train.models.interfaces import FeatureEncoder, MaskModel
from no_time_to_train.ops.images import as_image_tensor
from no_time_to_train.ops.transfers import pinned
from no_time_to_train.proposals.interfaces import EncodedImage
from no_time_to_train.structures import TargetImage


def square_image(pixels: np.ndarray, mask_model: MaskModel) -> Tensor:
    """Squash (H, W, 3) uint8 to the mask model's square, (S, S, 3) uint8 on the CPU; pinned for a CUDA GPU.

    It takes longer than decoding a JPEG, so that beside a GPU it is better done by a thread.
    """
    return pinned(torch.from_numpy(resize_for_model(pixels, mask_model.image_size)), mask_model.device)


def encode_images(
    images: Sequence[np.ndarray],
    encoder: FeatureEncoder,
    mask_model: MaskModel,
    targets: Sequence[TargetImage] | None = None,
    squares: Sequence[Tensor] | None = None,
) -> list[EncodedImage]:
    """Encode images, at least one, with both networks as one batch.

    Args:
        images: (H, W, 3) uint8 each.
        encoder: sees the mask model's square made smaller, not the image itself (as published).
        mask_model: sees the whole image squashed to its square.
        targets: which images they are, where that is known.
        squares: of ``square_image``, where they are made already.
    """
    device = mask_model.device
    squares = squares or [square_image(image, mask_model) for image in images]
    large = torch.stack([as_image_tensor(square, device) for square in squares])
    size = (encoder.image_size, encoder.image_size)
    small = torch.nn.functional.interpolate(large, size=size, mode="bicubic", align_corners=False)
    features = encoder.encode(small.to(encoder.device)).to(device)
    embeddings = mask_model.encode_images(large)
    targets_or_none: Sequence[TargetImage | None] = targets or [None] * len(images)
    return [
        EncodedImage((image.shape[0], image.shape[1]), feature, embedding, pixels=image, target=target)
        for image, feature, embedding, target in zip(images, features, embeddings, targets_or_none, strict=True)
    ]
