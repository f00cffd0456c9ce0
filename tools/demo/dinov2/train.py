"""Train `dinov2_demo`, a very small DINOv2 whose mask features tell apart categories it has never seen.

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

from tools.demo.dinov2.data import IMAGE_SIZE, Batch, as_input, make_batch, patch_shares, random_size, render_crop
from tools.demo.dinov2.features import IMAGE_MEAN, IMAGE_STD, CosineLoss, batch_loss, masked_means, patch_features
from tools.demo.scenes import NOVEL_CATEGORIES, SceneCategory, render_scene

_WARMUP_STEPS = 30


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


def _learning_rate(peak: float, step: int, progress: float) -> float:
    """Linear warm-up over steps, then half a cosine over the progress in [0, 1]."""
    return peak * min(1.0, (step + 1) / _WARMUP_STEPS) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(model: Dinov2Model, *, size: Size, seed: int, steps: int, minutes: float, peak: float) -> int:
    """Train for `steps` or `minutes`, whichever is over first, and returns the number of steps made.

    The learning rate falls with the larger of the two progresses; a run that its steps end is reproducible.
    """
    loss_module = CosineLoss()
    parameters = [*model.parameters(), *loss_module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=0.03, betas=(0.9, 0.98))
    loader = DataLoader(_Steps(seed, size, steps), batch_size=None, num_workers=size.render_workers)
    start, smooth, step = time.monotonic(), float("nan"), -1
    model.train()
    for step, batch in enumerate(loader):
        progress = max(step / steps, (time.monotonic() - start) / 60 / minutes)
        if progress >= 1:
            return step
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(peak, step, progress)
        value = batch_loss(model, loss_module, batch)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
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
        scene = render_scene(rng, categories, random_size(rng), (2, 5), (0.25, 0.5))
        tokens = patch_features(model, as_input(scene.image)[None])
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
    """Write the model as a Hugging Face folder with float16 weights."""
    folder.mkdir(parents=True, exist_ok=True)
    half = Dinov2Model(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    processor = BitImageProcessor(
        size=size, do_center_crop=False, image_mean=list(IMAGE_MEAN), image_std=list(IMAGE_STD)
    )
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
