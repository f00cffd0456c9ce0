"""The stages of segmenting one image, each twice: as the package does it, and in the plain way it replaces."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from no_time_to_train.config import MergingConfig
from no_time_to_train.matching import Prototypes, match
from no_time_to_train.merging import decay_scores
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.models.dino.encoder import load_dino
from no_time_to_train.models.frozen_encoder import prepare_encoder
from no_time_to_train.models.interfaces import ImageEmbedding, PromptBatch
from no_time_to_train.models.patch_encoder import PatchEncoder
from no_time_to_train.models.sam2.model import Sam2MaskModel, build_sam2, load_sam2
from no_time_to_train.ops.boxes import boxes_from_masks
from no_time_to_train.ops.masks import encode_mask_logits
from no_time_to_train.ops.nms import class_aware_nms
from no_time_to_train.ops.pooling import pool_mask_features
from no_time_to_train.ops.rle import decode_rle, encode_mask
from no_time_to_train.ops.transfers import to_device, to_host
from no_time_to_train.proposals.point_grid import point_grid_xy

MODEL_NAMES = {
    "large": ("sam2.1_large", "dinov2_large"),
    "base": ("sam2.1_base_plus", "dinov2_base"),
    "small": ("sam2.1_small", "dinov2_small"),
    "tiny": ("sam2.1_tiny", "dinov2_small"),
    "demo": ("sam2_demo", "dinov2_demo"),
}
_NO_MINIMUM = -1e9
"""Every mask is kept, so that random weights cost as much as trained ones at worst."""


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    Attributes:
        name: what is done.
        fast: the package's way.
        plain: the way it replaces, in float32; None where there is no other.
        compare: plain and fast result -> what is known of their difference.
        counted: the same products as ``fast`` where that one's cannot be counted.
    """

    name: str
    fast: Callable[[], Any]
    plain: Callable[[], Any] | None = None
    compare: Callable[[Any, Any], str] | None = None
    counted: Callable[[], Any] | None = None


class Models:
    """Both networks twice, with the same weights: as they come, in float32, and as the package runs them."""

    def __init__(self, name: str, device: torch.device, dtype: torch.dtype, plain_batch: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        sam_spec, dino_spec = (get_spec(part) for part in MODEL_NAMES[name])
        if name == "demo":
            sam, dino = load_sam2(sam_spec).module, load_dino(dino_spec).module
        else:
            from transformers import Dinov2Config, Dinov2Model

            sam = build_sam2(sam_spec)
            dino = Dinov2Model(Dinov2Config(**dino_spec.architecture))
        build_sam = partial(Sam2MaskModel, model_id=sam_spec.name, device=device)
        build_dino = partial(
            PatchEncoder,
            model_id=dino_spec.name,
            patch_size=dino.config.patch_size,
            feature_dim=dino.config.hidden_size,
            image_size=dino_spec.image_size,
            device=device,
        )
        self.device = device
        fast_sam, fast_dino = copy.deepcopy(sam), copy.deepcopy(dino)
        prepare_encoder(fast_sam.image_encoder, device, dtype)
        prepare_encoder(fast_dino, device, dtype)
        self.plain_sam = build_sam(sam, decoder="plain", prompts_per_batch=plain_batch)
        self.fast_sam = build_sam(fast_sam, decoder="auto", dtype=dtype)
        self.folded_sam = build_sam(fast_sam, decoder="folded", dtype=dtype)
        self.plain_dino, self.fast_dino = build_dino(dino), build_dino(fast_dino, dtype=dtype)

    def images(self, side: int, count: int = 1) -> Tensor:
        """(count, 3, side, side) noise in 0..1."""
        return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)).to(self.device)

    def embedding(self) -> ImageEmbedding:
        """The mask model's view of a noise image, from the float32 encoder: one input for both decoders."""
        return self.plain_sam.encode_images(self.images(self.plain_sam.image_size))[0]


def point_prompts(models: Models, num_points: int) -> PromptBatch:
    """The first ``num_points`` of the smallest square grid that has as many, one prompt each."""
    per_side = int(np.ceil(num_points**0.5))
    points = point_grid_xy(models.fast_sam.image_size, per_side)[:num_points, None].to(models.device)
    return PromptBatch(points, torch.ones(num_points, 1, dtype=torch.int32, device=models.device))


def encoder_stages(models: Models, batch_size: int = 1) -> list[Stage]:
    """Both image encoders; "plain" is float32."""
    large = models.images(models.fast_sam.image_size, batch_size)
    small = models.images(models.fast_dino.image_size, batch_size)
    return [
        Stage(
            "SAM encoder", lambda: models.fast_sam.encode_images(large), lambda: models.plain_sam.encode_images(large)
        ),
        Stage("DINO encoder", lambda: models.fast_dino.encode(small), lambda: models.plain_dino.encode(small)),
    ]


def decoder_stage(models: Models, num_points: int) -> Stage:
    """All points to masks; "plain" is sam2's own decoder in float32."""
    decode = _decoding(models, num_points)
    return Stage(
        f"decoder, {num_points} points",
        lambda: decode(models.fast_sam),
        lambda: decode(models.plain_sam),
        _compare_logits,
        lambda: decode(models.folded_sam),  # compiled products are not seen by torch
    )


def chosen_decoder_stage(models: Models, num_points: int) -> Stage:
    """All points to masks by the decoder that is chosen here; "plain" is the folded one in torch."""
    decode = _decoding(models, num_points)
    return Stage(
        f"auto, {num_points} points",
        lambda: decode(models.fast_sam),
        lambda: decode(models.folded_sam),
        _compare_logits,
    )


def _decoding(models: Models, num_points: int) -> Callable[[Sam2MaskModel], Tensor]:
    embedding, prompts = models.embedding(), point_prompts(models, num_points)
    return lambda sam: sam.predict_best(embedding, prompts, min_predicted_iou=_NO_MINIMUM).logits


class BlobProposals:
    """Round masks at random places, labeled at random: random networks give noise no image would.

    Attributes:
        logits: (N, m, m).
        predicted_ious: (N,).
        features: (h, w, D) feature map.
        prototypes: one for each of C categories.
        image_size_hw: of the image.
    """

    def __init__(self, models: Models, num_masks: int, num_categories: int, image_size_hw: tuple[int, int]) -> None:
        generator = torch.Generator().manual_seed(0)
        side = models.fast_sam.mask_size
        encoder = models.fast_dino
        patches = encoder.image_size // encoder.patch_size
        centers = torch.rand(num_masks, 2, generator=generator) * side
        radii = side * (0.03 + 0.2 * torch.rand(num_masks, generator=generator) ** 2)
        axis = torch.arange(side) + 0.5
        down, across = (axis - centers[:, :1]) ** 2, (axis - centers[:, 1:]) ** 2
        device = models.device
        self.logits = (radii[:, None, None] - (down[:, :, None] + across[:, None]).sqrt()).to(device)
        self.predicted_ious = torch.rand(num_masks, generator=generator).to(device)
        self.features = torch.randn(patches, patches, encoder.feature_dim, generator=generator).to(device)
        vectors = torch.randn(num_categories, encoder.feature_dim, generator=generator)
        self.prototypes = Prototypes(vectors, torch.arange(num_categories), num_categories).to(device)
        self.image_size_hw = image_size_hw


def mask_stages(proposals: BlobProposals) -> list[Stage]:
    """Pooling, matching, NMS + merging (on the CPU, with the copy to it) and encoding, for all proposals."""
    mask_features = pool_mask_features(proposals.logits > 0, proposals.features)
    matches = match(mask_features, proposals.prototypes)
    of_labels = matches.scores, matches.category_indices, matches.normalized_features

    def survivors() -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Positions, and scores, labels and features of what NMS leaves, on the CPU."""
        boxes, predicted_ious = boxes_from_masks(proposals.logits > 0), proposals.predicted_ious
        boxes, predicted_ious, scores, labels, features = to_host(boxes, predicted_ious, *of_labels)
        settings = MergingConfig()
        kept = class_aware_nms(boxes, predicted_ious, labels, settings.nms_iou_threshold)[: settings.max_masks]
        kept = kept[scores[kept] > 0]
        return kept, (scores[kept], labels[kept], features[kept])

    on_host, _ = survivors()
    kept = to_device(on_host, proposals.logits.device)
    rles = encode_mask_logits(proposals.logits[kept], proposals.image_size_hw)

    def merge() -> Tensor:
        _, (scores, labels, features) = survivors()
        return decay_scores(scores, labels, rles, features, MergingConfig())

    def merge_plain() -> Tensor:
        _, ranked = survivors()
        on_device = (to_device(of_masks, kept.device) for of_masks in ranked)
        return to_host(_decay_scores_of_full_masks(*on_device, _full_size_masks(proposals, kept)))[0]

    return [
        Stage(
            "pooling",
            lambda: pool_mask_features(proposals.logits > 0, proposals.features),
            lambda: _pool_upsampled(proposals),
            _compare_numbers,
        ),
        Stage(
            f"matching, {proposals.prototypes.num_categories} categories",
            lambda: match(mask_features, proposals.prototypes),
        ),
        Stage(f"NMS + merging, {len(kept)} of {len(proposals.logits)} masks", merge, merge_plain, _compare_numbers),
        Stage(
            f"RLE, {len(kept)} masks of {proposals.image_size_hw[1]} x {proposals.image_size_hw[0]}",
            lambda: encode_mask_logits(proposals.logits[kept], proposals.image_size_hw),
            lambda: [encode_mask(mask.cpu().numpy()) for mask in _full_size_masks(proposals, kept) > 0],
            _compare_rles,
        ),
    ]


def _pool_upsampled(proposals: BlobProposals) -> Tensor:
    """Features upsampled to the masks' grid and averaged pixel by pixel."""
    size = proposals.logits.shape[1:]
    features = interpolate(proposals.features.permute(2, 0, 1)[None], size=size, mode="bilinear", align_corners=False)
    masks = (proposals.logits > 0).flatten(1).float()
    return masks @ features[0].flatten(1).T / masks.sum(1, keepdim=True).clamp(min=1)


def _full_size_masks(proposals: BlobProposals, kept: Tensor) -> Tensor:
    """(K, H, W) float32 logits of the image's size."""
    logits = proposals.logits[kept][:, None]
    return interpolate(logits, size=proposals.image_size_hw, mode="bilinear", align_corners=False, antialias=True)[:, 0]


def _decay_scores_of_full_masks(scores: Tensor, labels: Tensor, features: Tensor, logits: Tensor) -> Tensor:
    """Equation 6 of the paper on dense masks."""
    masks = (logits > 0).flatten(1).float()
    ios = (masks @ masks.T) / masks.sum(1, keepdim=True).clamp(min=1)
    same_label = labels[:, None] == labels
    overlap = (ios * same_label).tril(-1) * (features @ features.T).clamp(0, 1)
    return scores * (1 - overlap.amax(1)).clamp(min=0) ** MergingConfig().exponent


def _compare_logits(plain: Tensor, fast: Tensor) -> str:
    if plain.shape != fast.shape:
        return "other masks"
    same = sum(int(((p > 0) == (f > 0)).sum()) for p, f in zip(plain.split(64), fast.split(64), strict=True))
    difference = max(float((p - f).abs().max()) for p, f in zip(plain.split(64), fast.split(64), strict=True))
    return f"logits {difference:.1e}, {same / plain.numel():.3%} equal pixels"


def _compare_numbers(plain: Tensor, fast: Tensor) -> str:
    return f"{float((plain - fast).abs().max()):.1e}"


def _compare_rles(plain: list[Any], fast: list[Any]) -> str:
    same = np.mean([np.mean(decode_rle(p) == decode_rle(f)) for p, f in zip(plain, fast, strict=True)])
    return f"{same:.4%} equal pixels"


def unit_vectors(count: int, dim: int) -> Tensor:
    """(count, dim) random directions."""
    return normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(0)), dim=1)
