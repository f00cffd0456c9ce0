"""Training data of the demo SAM 2.1: pools of procedural scenes, augmented batches and simulated prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tools.demo.scenes import SceneCategory, render_clip, render_scene, sample_category

LOW_RES_STRIDE = 4


@dataclass(frozen=True)
class SceneMix:
    """What a pool holds: `count` scenes of `size` pixels, with object scales drawn from one of `scales`.

    `seed` is added to the run's, so that pools differ.
    """

    seed: int
    count: int
    size: int
    num_objects: tuple[int, int]
    scales: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ScenePool:
    """images (M, H, W, 3) uint8; ids (M, H, W) uint8: 0 background, n + 1 the visible pixels of object n."""

    images: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True)
class ClipPool:
    """frames (M, T, H, W, 3) uint8; ids (M, T, H, W) uint8 as in `ScenePool`."""

    frames: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True)
class PromptBatch:
    """P = B * K prompts, image-major.

    targets (P, h, w) float: the share of object in each low-resolution cell; coords (P, N, 2); labels (P, N);
    on_object (P,) bool: False for clicks on the background, which have no mask to predict.
    """

    targets: Tensor
    coords: Tensor
    labels: Tensor
    on_object: Tensor


def to_ids(masks: np.ndarray) -> np.ndarray:
    """(..., N, H, W) disjoint bool masks -> (..., H, W) uint8."""
    numbers = np.arange(1, masks.shape[-3] + 1, dtype=np.uint8)
    return (masks * numbers[:, None, None]).max(axis=-3)


def sample_categories(rng: np.random.Generator, count: int = 4) -> list[SceneCategory]:
    """Categories of one scene."""
    return [sample_category(rng) for _ in range(count)]


def render_pool(seed: int, mix: SceneMix, categories: Sequence[SceneCategory] | None = None) -> ScenePool:
    """Render the scenes of a mix; each scene has categories of its own unless `categories` are given."""
    rng = np.random.default_rng(seed + mix.seed)
    images = np.zeros((mix.count, mix.size, mix.size, 3), dtype=np.uint8)
    ids = np.zeros(images.shape[:3], dtype=np.uint8)
    for index in range(mix.count):
        scale = mix.scales[int(rng.integers(len(mix.scales)))]
        shown = categories or sample_categories(rng)
        scene = render_scene(rng, shown, (mix.size, mix.size), mix.num_objects, scale)
        images[index], ids[index] = scene.image, to_ids(scene.masks)
    return ScenePool(images, ids)


def render_clip_pool(
    seed: int, count: int, size: int, num_frames: int, categories: Sequence[SceneCategory] | None = None
) -> ClipPool:
    """Render short clips, keeping every second frame so that the motion is worth tracking."""
    rng = np.random.default_rng(seed)
    frames = np.zeros((count, num_frames, size, size, 3), dtype=np.uint8)
    ids = np.zeros(frames.shape[:4], dtype=np.uint8)
    for index in range(count):
        shown = categories or sample_categories(rng)
        clip, masks = render_clip(rng, shown, (size, size), (2, 4), 2 * num_frames - 1)
        frames[index], ids[index] = clip[::2], to_ids(masks[::2])
    return ClipPool(frames, ids)


def augment(rng: np.random.Generator, images: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One random flip, quarter turn and permutation of the colors for (..., H, W, 3) images and (..., H, W) ids."""
    row, column = images.ndim - 3, images.ndim - 2
    turns = int(rng.integers(4))
    images, ids = np.rot90(images, turns, (row, column)), np.rot90(ids, turns, (row, column))
    if rng.random() < 0.5:
        images, ids = np.flip(images, column), np.flip(ids, column)
    return images[..., rng.permutation(3)], ids


def draw_images(rng: np.random.Generator, pool: ScenePool, count: int) -> tuple[Tensor, np.ndarray]:
    """`count` augmented scenes: (B, 3, H, W) uint8 and ids (B, H, W)."""
    chosen = rng.integers(len(pool.images), size=count)
    pairs = [augment(rng, pool.images[i], pool.ids[i]) for i in chosen]
    images = torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2)
    return images, np.stack([ids for _, ids in pairs])


def low_res_targets(masks: np.ndarray) -> Tensor:
    """(P, H, W) bool -> (P, H/4, W/4) the covered share of each cell."""
    return F.avg_pool2d(torch.from_numpy(masks).float().unsqueeze(1), LOW_RES_STRIDE).squeeze(1)


def random_pixel(rng: np.random.Generator, mask: np.ndarray) -> tuple[int, int]:
    """A uniformly drawn (x, y) of a non-empty (H, W) mask."""
    flat = np.flatnonzero(mask)
    y, x = divmod(int(flat[rng.integers(len(flat))]), mask.shape[1])
    return x, y


def jittered_box(rng: np.random.Generator, mask: np.ndarray, jitter: float = 0.05) -> np.ndarray:
    """(2, 2) corners (x, y) of the mask's box, each moved by a few percent of the box's size."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    corners = np.array([[columns[0], rows[0]], [columns[-1], rows[-1]]], dtype=np.float32)
    size = corners[1] - corners[0] + 1
    return np.clip(corners + rng.normal(size=(2, 2)) * jitter * size, 0, mask.shape[0] - 1)


def draw_prompts(
    rng: np.random.Generator, ids: np.ndarray, per_image: int, use_boxes: bool, background_share: float
) -> PromptBatch:
    """Simulates `per_image` prompts for each of (B, H, W) id maps; all boxes, or all clicks."""
    masks, coords, on_object = [], [], []
    for id_map in ids:
        present, areas = np.unique(id_map, return_counts=True)
        objects = present[(present > 0) & (areas > id_map.size // 1000)]
        for _ in range(per_image):
            hit = len(objects) > 0 and (use_boxes or present[0] > 0 or rng.random() >= background_share)
            mask = id_map == (rng.choice(objects) if hit else 0)
            on_object.append(hit)
            masks.append(mask)
            coords.append(jittered_box(rng, mask) if use_boxes else np.array([random_pixel(rng, mask)]))
    points = torch.from_numpy(np.stack(coords)).float()
    labels = torch.tensor([2, 3] if use_boxes else [1]).expand(len(points), -1)
    return PromptBatch(low_res_targets(np.stack(masks)), points, labels, torch.tensor(on_object))


def add_correction(prompts: PromptBatch, logits: Tensor, generator: torch.Generator) -> PromptBatch:
    """Add a click in the wrong region of `logits` (P, h, w): foreground where missed, background where too much."""
    wanted = prompts.targets > 0.5
    wrong = ((logits > 0) != wanted).flatten(1).float() + 1e-6  # the constant keeps perfect masks drawable
    cell = torch.multinomial(wrong, 1, generator=generator)
    x, y = cell % logits.shape[2], torch.div(cell, logits.shape[2], rounding_mode="floor")
    click = torch.stack([x, y], dim=2).float() * LOW_RES_STRIDE + (LOW_RES_STRIDE - 1) / 2
    label = wanted.flatten(1).gather(1, cell).long()
    return PromptBatch(
        prompts.targets,
        torch.cat([prompts.coords, click], dim=1),
        torch.cat([prompts.labels, label], dim=1),
        prompts.on_object,
    )
