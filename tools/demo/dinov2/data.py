"""Render batches: crops of fresh categories, and masks in scenes of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tools.demo.scenes import Scene, SceneCategory, render_scene, sample_category

IMAGE_SIZE = 224
PATCH_GRID = 16
_CONTEXT = 1.2


@dataclass(frozen=True)
class Batch:
    """One training step.

    Attributes:
        images: (K + S, 3, 224, 224) float32 in [0, 1]: a crop of each of the K categories, then S scenes.
        crop_masks: (K, 16, 16) float32, the share of each patch that the object covers.
        masks: (M, 16, 16) float32 masks in the scenes.
        scene_of_mask: (M,) int64 in [0, S).
        categories: (M,) int64 in [0, K); -1 for background.
        ious: (M,) float32, overlap of the mask with its object: 1 for clean masks, 0 for background.
    """

    images: Tensor
    crop_masks: Tensor
    masks: Tensor
    scene_of_mask: Tensor
    categories: Tensor
    ious: Tensor


def as_input(image: np.ndarray) -> Tensor:
    """An image (H, W, 3) uint8 squashed to the model's input, (3, 224, 224) float32 in [0, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(tensor, (IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", align_corners=False)[0].clamp(0, 1)


def patch_shares(masks: np.ndarray) -> Tensor:
    """The share of every patch that masks (N, H, W) bool cover, (N, 16, 16) float32."""
    return F.adaptive_avg_pool2d(torch.from_numpy(masks).float(), (PATCH_GRID, PATCH_GRID))


def _context_window(mask: np.ndarray) -> tuple[slice, slice]:
    """The square around an object (H, W) with some context, clipped at the border of the image."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    half = max(rows[-1] - rows[0], columns[-1] - columns[0]) * _CONTEXT / 2
    center_y, center_x = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    return (
        slice(max(int(center_y - half), 0), int(center_y + half) + 1),
        slice(max(int(center_x - half), 0), int(center_x + half) + 1),
    )


def render_crop(rng: np.random.Generator, categories: Sequence[SceneCategory], wanted: int) -> tuple[Tensor, Tensor]:
    """A reference of category `wanted` among others: image (3, 224, 224) and mask on the patch grid (16, 16)."""
    others = [categories[int(i)] for i in rng.integers(len(categories), size=1)]
    while True:
        scene = render_scene(rng, [categories[wanted], *others], (160, 160), (1, 3), (0.4, 0.8))
        found = np.flatnonzero(scene.category_indices == 0)
        if len(found):
            window = _context_window(scene.masks[found[-1]])
            return as_input(scene.image[window]), patch_shares(scene.masks[found[-1:]][:, *window])[0]


def _wrong_mask(rng: np.random.Generator, masks: np.ndarray, number: int) -> np.ndarray:
    """A spoilt version of mask `number` of masks (N, H, W): joined, fattened, moved or halved, (H, W) bool."""
    mask = masks[number]
    kind = rng.integers(4)
    if kind == 0 and len(masks) > 1:
        other = (number + int(rng.integers(1, len(masks)))) % len(masks)
        return mask | masks[other]
    reach = math.ceil(math.sqrt(mask.sum()) * rng.uniform(0.03, 0.35))
    steps = [(reach, 0), (-reach, 0), (0, reach), (0, -reach)]
    if kind == 1:
        return mask & np.roll(mask, steps[int(rng.integers(4))], (0, 1))
    if kind == 2:
        return np.roll(mask, steps[int(rng.integers(4))], (0, 1))
    return np.logical_or.reduce([mask, *(np.roll(mask, step, (0, 1)) for step in steps)])


def _background_mask(rng: np.random.Generator, masks: np.ndarray) -> np.ndarray:
    """A random rectangle without the objects (N, H, W), (H, W) bool."""
    height, width = masks.shape[1:]
    background = np.zeros((height, width), dtype=bool)
    top, left = int(rng.integers(0, height * 3 // 4)), int(rng.integers(0, width * 3 // 4))
    size_y, size_x = (int(v) for v in rng.uniform(0.15, 0.6, 2) * min(height, width))
    background[top : top + size_y, left : left + size_x] = True
    return background & ~masks.any(axis=0)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def _scene_masks(rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clean, spoilt and background masks of a scene (M, H, W), their categories (M,) and overlaps (M,)."""
    count = len(scene.masks)
    spoilt = [_wrong_mask(rng, scene.masks, number) for number in range(count)]
    overlaps = [_iou(mask, clean) for mask, clean in zip(spoilt, scene.masks, strict=True)]
    background = _background_mask(rng, scene.masks)
    masks = np.concatenate([scene.masks, np.stack([*spoilt, background])])
    categories = np.concatenate([scene.category_indices, scene.category_indices, [-1]])
    return masks, categories, np.array([1.0] * count + overlaps + [0.0], dtype=np.float32)


def random_size(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width of a scene; the squashing to a square then deforms it a little, as it does later."""
    height, width = rng.integers(224, 321, 2)
    return int(height), int(width)


def _recolored(rng: np.random.Generator, images: Tensor) -> Tensor:
    """Light changes of brightness, contrast and white balance of each image (B, 3, H, W)."""
    shape = (len(images), 3, 1, 1)
    gain = rng.uniform(0.9, 1.1, (len(images), 1, 1, 1)) * rng.uniform(0.95, 1.05, shape)
    shift = rng.uniform(-0.05, 0.05, (len(images), 1, 1, 1))
    return (images * torch.from_numpy(gain).float() + torch.from_numpy(shift).float()).clamp(0, 1)


def make_batch(rng: np.random.Generator, num_categories: int, num_scenes: int) -> Batch:
    """Draw fresh categories and renders a crop of each and scenes of them."""
    categories = [sample_category(rng) for _ in range(num_categories)]
    crops = [render_crop(rng, categories, number) for number in range(num_categories)]
    scenes = [render_scene(rng, categories, random_size(rng), (3, 6), (0.2, 0.5)) for _ in range(num_scenes)]
    described = [_scene_masks(rng, scene) for scene in scenes]
    images = torch.stack([image for image, _ in crops] + [as_input(scene.image) for scene in scenes])
    counts = torch.tensor([len(masks) for masks, _, _ in described])
    return Batch(
        images=_recolored(rng, images),
        crop_masks=torch.stack([mask for _, mask in crops]),
        masks=torch.cat([patch_shares(masks) for masks, _, _ in described]),
        scene_of_mask=torch.repeat_interleave(torch.arange(num_scenes), counts),
        categories=torch.from_numpy(np.concatenate([categories for _, categories, _ in described])),
        ious=torch.from_numpy(np.concatenate([ious for _, _, ious in described])),
    )
