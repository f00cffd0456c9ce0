"""Trains `dinov2_demo`, a very small DINOv2 whose mask features tell apart categories it has never seen.

Every step draws fresh random categories. One square crop around an object of each category gives its prototype, the
way references are seen; objects in whole scenes are the queries, the way targets are seen. The cosine between the two
is trained to be high for the right category and a whole mask, and low for every other category, for background and
for masks that are wrong (two objects in one, object with background, half an object), since the cosine is the
detection score later on.

Usage: ``python -m tools.demo.dinov2.train --minutes 12 --out data/demo/dinov2_demo``
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from tools.demo.scenes import NOVEL_CATEGORIES, Scene, SceneCategory, render_scene, sample_category

IMAGE_SIZE = 224
PATCH_GRID = 16
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CONTEXT = 1.2
_WARMUP_STEPS = 30
_RIGHT_IOU, _WRONG_IOU = 0.85, 0.6


@dataclass(frozen=True)
class Size:
    """How much a run does besides its steps."""

    categories_per_step: int
    scenes_per_step: int
    render_workers: int
    test_categories: int
    test_scenes: int
    shots: tuple[int, ...]


_FULL = Size(
    categories_per_step=12,
    scenes_per_step=8,
    render_workers=1,
    test_categories=len(NOVEL_CATEGORIES),
    test_scenes=80,
    shots=(1, 3, 5, 10),
)
_SMOKE = Size(
    categories_per_step=2, scenes_per_step=1, render_workers=0, test_categories=2, test_scenes=1, shots=(1, 2)
)


def demo_config() -> Dinov2Config:
    """The architecture: small enough for two CPU cores and a repository."""
    return Dinov2Config(
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=3,
        mlp_ratio=4,
        patch_size=14,
        image_size=IMAGE_SIZE,
        attn_implementation="sdpa",
    )


# --------------------------------------------------------------------------------------------------------------------
# Batches
# --------------------------------------------------------------------------------------------------------------------


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


def _as_input(image: np.ndarray) -> Tensor:
    """An image (H, W, 3) uint8 squashed to the model's input, (3, 224, 224) float32 in [0, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(tensor, (IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", align_corners=False)[0].clamp(0, 1)


def patch_shares(masks: np.ndarray) -> Tensor:
    """The share of every patch that masks (N, H, W) bool cover, (N, 16, 16) float32."""
    return F.adaptive_avg_pool2d(torch.from_numpy(masks).float(), (PATCH_GRID, PATCH_GRID))


def _context_window(mask: np.ndarray) -> tuple[slice, slice]:
    """The square around an object (H, W) with some context, clipped at the border of the picture."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    half = max(rows[-1] - rows[0], columns[-1] - columns[0]) * _CONTEXT / 2
    centre_y, centre_x = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    return (
        slice(max(int(centre_y - half), 0), int(centre_y + half) + 1),
        slice(max(int(centre_x - half), 0), int(centre_x + half) + 1),
    )


def render_crop(rng: np.random.Generator, categories: Sequence[SceneCategory], wanted: int) -> tuple[Tensor, Tensor]:
    """A reference of category `wanted` among others: image (3, 224, 224) and mask on the patch grid (16, 16)."""
    others = [categories[int(i)] for i in rng.integers(len(categories), size=1)]
    while True:
        scene = render_scene(rng, [categories[wanted], *others], (160, 160), (1, 3), (0.4, 0.8))
        found = np.flatnonzero(scene.category_indices == 0)
        if len(found):
            window = _context_window(scene.masks[found[-1]])
            return _as_input(scene.image[window]), patch_shares(scene.masks[found[-1:]][:, *window])[0]


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


def _random_size(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width of a scene; the squashing to a square then deforms it a little, as it does later."""
    height, width = rng.integers(224, 321, 2)
    return int(height), int(width)


def _recoloured(rng: np.random.Generator, images: Tensor) -> Tensor:
    """Light changes of brightness, contrast and white balance of each image (B, 3, H, W)."""
    shape = (len(images), 3, 1, 1)
    gain = rng.uniform(0.9, 1.1, (len(images), 1, 1, 1)) * rng.uniform(0.95, 1.05, shape)
    shift = rng.uniform(-0.05, 0.05, (len(images), 1, 1, 1))
    return (images * torch.from_numpy(gain).float() + torch.from_numpy(shift).float()).clamp(0, 1)


def make_batch(rng: np.random.Generator, num_categories: int, num_scenes: int) -> Batch:
    """Draws fresh categories and renders a crop of each and scenes of them."""
    categories = [sample_category(rng) for _ in range(num_categories)]
    crops = [render_crop(rng, categories, number) for number in range(num_categories)]
    scenes = [render_scene(rng, categories, _random_size(rng), (3, 6), (0.2, 0.5)) for _ in range(num_scenes)]
    described = [_scene_masks(rng, scene) for scene in scenes]
    images = torch.stack([image for image, _ in crops] + [_as_input(scene.image) for scene in scenes])
    counts = torch.tensor([len(masks) for masks, _, _ in described])
    return Batch(
        images=_recoloured(rng, images),
        crop_masks=torch.stack([mask for _, mask in crops]),
        masks=torch.cat([patch_shares(masks) for masks, _, _ in described]),
        scene_of_mask=torch.repeat_interleave(torch.arange(num_scenes), counts),
        categories=torch.from_numpy(np.concatenate([categories for _, categories, _ in described])),
        ious=torch.from_numpy(np.concatenate([ious for _, _, ious in described])),
    )


class _Steps(Dataset):
    """Batch number i depends on the seed and i alone, so any run with the same seed sees the same data."""

    def __init__(self, seed: int, size: Size, length: int) -> None:
        self._seed, self._size, self._length = seed, size, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, step: int) -> Batch:
        return make_batch(
            np.random.default_rng([self._seed, step]), self._size.categories_per_step, self._size.scenes_per_step
        )


# --------------------------------------------------------------------------------------------------------------------
# Features and loss
# --------------------------------------------------------------------------------------------------------------------


def patch_features(model: nn.Module, images: Tensor) -> Tensor:
    """Patch tokens of images (B, 3, 224, 224) in [0, 1], after the final layer norm: (B, 256, D)."""
    normalised = (images - torch.tensor(_MEAN).view(3, 1, 1)) / torch.tensor(_STD).view(3, 1, 1)
    return model(pixel_values=normalised).last_hidden_state[:, 1:]


def masked_means(tokens: Tensor, masks: Tensor) -> Tensor:
    """Means of tokens (N, 256, D) weighted by masks (N, 16, 16): (N, D)."""
    weights = masks.flatten(1)
    return (weights[:, None] @ tokens)[:, 0] / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)


class CosineLoss(nn.Module):
    """Which category, and whether the mask is an object at all, both from the cosine to the categories' prototypes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.bias = nn.Parameter(torch.tensor(-5.0))

    def forward(self, cosines: Tensor, categories: Tensor, ious: Tensor) -> Tensor:
        """cosines (M, K), categories (M,), ious (M,) as in `Batch`."""
        right, wrong = ious > _RIGHT_IOU, ious < _WRONG_IOU
        weights = torch.where(ious[right] == 1, 1.0, 0.5)
        logits = self.scale * cosines + self.bias
        own = F.one_hot(categories[right], cosines.shape[1]).bool()
        which = (weights * F.cross_entropy(16 * cosines[right], categories[right], reduction="none")).mean()
        accepted = (weights * F.softplus(-logits[right][own])).mean()
        other_category = F.softplus(logits[right][~own]).mean()
        # A wrong mask matters by the category it scores highest for.
        bad_mask = F.softplus(logits[wrong].amax(dim=1)).mean()
        return which + accepted + other_category + bad_mask


def batch_loss(model: nn.Module, loss: CosineLoss, batch: Batch) -> Tensor:
    """The loss of one step, a scalar."""
    tokens = patch_features(model, batch.images)
    num_crops = len(batch.crop_masks)
    prototypes = masked_means(tokens[:num_crops], batch.crop_masks)
    queries = masked_means(tokens[num_crops:][batch.scene_of_mask], batch.masks)
    cosines = F.normalize(queries, dim=1) @ F.normalize(prototypes, dim=1).T
    return loss(cosines, batch.categories, batch.ious)


# --------------------------------------------------------------------------------------------------------------------
# Training and evaluation
# --------------------------------------------------------------------------------------------------------------------


def _learning_rate(peak: float, step: int, progress: float) -> float:
    """Linear warm-up over steps, then half a cosine over the progress in [0, 1]."""
    return peak * min(1.0, (step + 1) / _WARMUP_STEPS) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(model: Dinov2Model, *, size: Size, seed: int, steps: int, minutes: float, peak: float) -> int:
    """Trains for `steps` or `minutes`, whichever is over first, and returns the number of steps made.

    The learning rate falls with the larger of the two progresses; a run that its steps end is reproducible.
    """
    loss_module = CosineLoss()
    parameters = [*model.parameters(), *loss_module.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=peak, weight_decay=0.03, betas=(0.9, 0.98))
    loader = DataLoader(_Steps(seed, size, steps), batch_size=None, num_workers=size.render_workers)
    start, smooth, step = time.monotonic(), float("nan"), -1
    model.train()
    for step, batch in enumerate(loader):
        progress = max(step / steps, (time.monotonic() - start) / 60 / minutes)
        if progress >= 1:
            return step
        for group in optimiser.param_groups:
            group["lr"] = _learning_rate(peak, step, progress)
        value = batch_loss(model, loss_module, batch)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        smooth = value.item() if math.isnan(smooth) else 0.95 * smooth + 0.05 * value.item()
        if step % 20 == 0:
            seconds = time.monotonic() - start
            print(f"step {step}  progress {progress:.3f}  loss {smooth:.4f}  {seconds:.0f} s", flush=True)
    return step + 1


@torch.inference_mode()
def accuracy(
    model: Dinov2Model, categories: Sequence[SceneCategory], *, shots: Sequence[int], num_scenes: int, seed: int
) -> dict[int, float]:
    """How often the nearest class mean of k crops is the right one for clean masks in scenes, for each k."""
    model.eval()
    rng = np.random.default_rng(seed)
    queries, labels = [], []
    for _ in range(num_scenes):
        scene = render_scene(rng, categories, _random_size(rng), (2, 5), (0.25, 0.5))
        tokens = patch_features(model, _as_input(scene.image)[None])
        queries.append(masked_means(tokens.expand(len(scene.masks), -1, -1), patch_shares(scene.masks)))
        labels.append(torch.from_numpy(scene.category_indices))
    query, label = F.normalize(torch.cat(queries), dim=1), torch.cat(labels)
    references = torch.stack([_references(model, rng, categories, k, max(shots)) for k in range(len(categories))])
    result = {}
    for k in shots:
        # All disjoint sets of k references are tried: few shots depend much on which ones.
        groups = references[:, : max(shots) // k * k].unflatten(1, (-1, k)).mean(dim=2)
        guesses = torch.einsum("md,kgd->gmk", query, F.normalize(groups, dim=2)).argmax(dim=2)
        result[k] = (guesses == label).float().mean().item()
    return result


def _references(
    model: Dinov2Model, rng: np.random.Generator, categories: Sequence[SceneCategory], wanted: int, count: int
) -> Tensor:
    """Features of `count` crops of one category, (count, D)."""
    crops = [render_crop(rng, categories, wanted) for _ in range(count)]
    tokens = patch_features(model, torch.stack([image for image, _ in crops]))
    return masked_means(tokens, torch.stack([mask for _, mask in crops]))


def save(model: Dinov2Model, folder: Path) -> None:
    """Writes the model as a Hugging Face folder with float16 weights."""
    folder.mkdir(parents=True, exist_ok=True)
    half = Dinov2Model(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    processor = BitImageProcessor(size=size, do_center_crop=False, image_mean=list(_MEAN), image_std=list(_STD))
    processor.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--minutes", type=float, default=12.0, help="stop after this time")
    parser.add_argument("--steps", type=int, default=100_000, help="stop after this many steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--smoke", action="store_true", help="three tiny steps, to see that everything works")
    options = parser.parse_args(arguments)
    size, steps = (_SMOKE, 3) if options.smoke else (_FULL, options.steps)
    torch.manual_seed(options.seed)
    model = Dinov2Model(demo_config())
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    made = train(model, size=size, seed=options.seed, steps=steps, minutes=options.minutes, peak=options.learning_rate)
    save(model, options.out)
    reloaded = Dinov2Model.from_pretrained(options.out, dtype=torch.float32)
    novel = NOVEL_CATEGORIES[: size.test_categories]
    reached = accuracy(reloaded, novel, shots=size.shots, num_scenes=size.test_scenes, seed=options.seed + 1)
    table = "  ".join(f"{k}-shot {value:.1%}" for k, value in reached.items())
    print(f"{made} steps; accuracy on {len(novel)} novel categories: {table}", flush=True)


if __name__ == "__main__":
    main()
