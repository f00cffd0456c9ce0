"""Train `sam2_demo`, a tiny SAM 2.1 for demonstrations and tests, on procedural scenes, on a CPU.

    python -m tools.demo.sam2.train --seed 0

The network is the `sam2` package's own, in the small configuration of data/demo/sam2_demo/sam2_demo.yaml. Image stages
come first (small images, then full size), the memory modules follow on short clips with the image part frozen.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tools.demo.sam2.data import (
    PromptBatch,
    SceneMix,
    ScenePool,
    add_correction,
    draw_images,
    draw_prompts,
    render_pool,
)
from tools.demo.sam2.dense import DenseHeads
from tools.demo.sam2.evaluation import evaluate, novel_pool
from tools.demo.sam2.losses import prompt_losses
from tools.demo.sam2.memory import MemoryStage, train_memory
from tools.demo.sam2.model import (
    build_model,
    decode,
    encode_images,
    init_decoder,
    init_scales,
    load_weights,
    normalize_images,
    repeat_features,
    save_weights,
    set_working_size,
)

DEMO_DIR = Path(__file__).resolve().parents[3] / "data" / "demo" / "sam2_demo"
CONFIG_NAME = "sam2_demo.yaml"
WEIGHTS_NAME = "model.safetensors"
WEIGHT_DECAY = 0.02
CLIP_NORM = 1.0
DENSE_WEIGHT = 1.0


@dataclass(frozen=True)
class ImageStage:
    """`steps` steps of `images` images with `prompts` prompts each, from scenes of `mix`.

    Without prompts, only the image encoder is trained (by the dense loss): cheap steps for the slowest thing to learn.
    `share_all` is described in `prompt_losses`; `eval_scale` is the object scale of the evaluation scenes.
    """

    mix: SceneMix
    steps: int
    images: int
    prompts: int
    share_all: float
    eval_scale: tuple[float, float]


@dataclass(frozen=True)
class Round:
    """Image stages under one learning-rate cycle, from the averaged weights of the round before.

    The cosine spans `span` steps; a round with fewer steps ends before the rate is down, for the next to go on.
    `average` is the highest decay of the moving average of the weights. With `frozen_encoder` only the prompt encoder
    and the mask decoder learn: images are cheap then, and many prompts share one.
    """

    stages: tuple[ImageStage, ...]
    peak_rate: float
    span: int
    average: float
    iou_weight: float
    frozen_encoder: bool = False


@dataclass(frozen=True)
class Schedule:
    """All that decides how long the training takes."""

    rounds: tuple[Round, ...]
    memory_stage: MemoryStage
    warmup: int
    eval_every: int
    eval_scenes: int
    grid_scenes: int


LARGE, TYPICAL = (0.35, 0.8), (0.2, 0.5)
SMALL_IMAGES = SceneMix(100, 2500, 128, (1, 5), (LARGE, LARGE, TYPICAL))
FULL_IMAGES = SceneMix(101, 2200, 256, (2, 6), (TYPICAL, TYPICAL, (0.2, 0.8)))
MORE_IMAGES = replace(FULL_IMAGES, seed=2457)
THIRD_IMAGES = replace(FULL_IMAGES, count=2202)
FULL_SCHEDULE = Schedule(
    rounds=(
        Round(
            (
                ImageStage(SMALL_IMAGES, steps=500, images=16, prompts=0, share_all=0.0, eval_scale=(0.3, 0.6)),
                ImageStage(SMALL_IMAGES, steps=1800, images=10, prompts=6, share_all=0.2, eval_scale=(0.3, 0.6)),
                ImageStage(FULL_IMAGES, steps=200, images=8, prompts=6, share_all=0.05, eval_scale=TYPICAL),
            ),
            peak_rate=1e-3,
            span=3100,
            average=0.998,
            iou_weight=2.0,
        ),
        Round(
            (ImageStage(MORE_IMAGES, steps=600, images=8, prompts=6, share_all=0.05, eval_scale=TYPICAL),),
            peak_rate=5e-4,
            span=600,
            average=0.99,
            iou_weight=4.0,
        ),
        # The ranking of masks by predicted IoU is what the point grid lives on.
        Round(
            (ImageStage(THIRD_IMAGES, steps=900, images=8, prompts=12, share_all=0.02, eval_scale=TYPICAL),),
            peak_rate=6e-4,
            span=900,
            average=0.99,
            iou_weight=12.0,
            frozen_encoder=True,
        ),
    ),
    memory_stage=MemoryStage(clips=120, frames=4, steps=160, batch=4, objects=2, rate=7e-4),
    warmup=100,
    eval_every=200,
    eval_scenes=24,
    grid_scenes=8,
)
SMOKE_STAGE = ImageStage(SceneMix(0, 2, 64, (1, 2), (LARGE,)), 1, images=1, prompts=2, share_all=0.2, eval_scale=LARGE)
SMOKE_SCHEDULE = Schedule(
    rounds=(
        Round((replace(SMOKE_STAGE, prompts=0), SMOKE_STAGE), peak_rate=1e-3, span=2, average=0.9, iou_weight=1.0),
    ),
    memory_stage=MemoryStage(clips=1, frames=2, steps=1, batch=1, objects=1, rate=1e-4),
    warmup=1,
    eval_every=2,
    eval_scenes=1,
    grid_scenes=1,
)


class MovingAverage:
    """Exponential moving average of the trainable values; its horizon grows with the number of steps."""

    def __init__(self, model: nn.Module, highest_decay: float) -> None:
        self.steps, self.highest_decay = 0, highest_decay
        self.shadow = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.steps += 1
        decay = min(self.highest_decay, self.steps / (self.steps + 20))
        values = model.state_dict()
        torch._foreach_lerp_(list(self.shadow.values()), [values[name] for name in self.shadow], 1 - decay)


def learning_rate(step: int, total: int, warmup: int, peak: float) -> float:
    """Linear warm-up, then a cosine to 1 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def image_parameters(model: nn.Module, dense: DenseHeads, frozen_encoder: bool) -> list[dict[str, object]]:
    """What the image part trains, with weight decay on matrices only."""
    owners = [model.sam_prompt_encoder, model.sam_mask_decoder]
    if not frozen_encoder:
        owners += [model.image_encoder, dense]
    values = [value for owner in owners for value in owner.parameters()]
    values += [] if frozen_encoder else [model.no_mem_embed]
    return [
        {"params": [value for value in values if value.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [value for value in values if value.ndim <= 1], "weight_decay": 0.0},
    ]


def select_prompts(features: list[Tensor], prompts: PromptBatch, keep: Tensor) -> tuple[list[Tensor], PromptBatch]:
    """The rows of `keep` (P,) bool."""
    return [feature[keep] for feature in features], PromptBatch(
        prompts.targets[keep], prompts.coords[keep], prompts.labels[keep], prompts.on_object[keep]
    )


def image_step(
    model: nn.Module,
    dense: DenseHeads,
    pool: ScenePool,
    stage: ImageStage,
    iou_weight: float,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, its dense part and mean best IoU; a fifth of the batches are boxes, a quarter gets a corrective click."""
    images, ids = draw_images(rng, pool, stage.images)
    features, pyramid = encode_images(model, normalize_images(images))
    dense_loss = dense(pyramid, ids)
    if stage.prompts == 0:
        return DENSE_WEIGHT * dense_loss, dense_loss, torch.tensor(float("nan"))
    features = repeat_features(features, stage.prompts)
    prompts = draw_prompts(rng, ids, stage.prompts, use_boxes=rng.random() < 0.2, background_share=0.15)
    logits, ious, scores = decode(model, features, prompts.coords, prompts.labels)
    loss, best = prompt_losses(logits, ious, scores, prompts.targets, prompts.on_object, stage.share_all, iou_weight)
    if rng.random() < 0.25:
        # Every second prompt is refined: its most confident mask comes back as an input, with a click on its errors.
        keep = prompts.on_object & (torch.arange(len(prompts.targets)) % 2 == 0)
        if keep.any():
            chosen = ious[keep, 1:].argmax(dim=1)
            previous = logits[keep, 1:].detach()[torch.arange(len(chosen)), chosen]
            features, prompts = select_prompts(features, prompts, keep)
            prompts = add_correction(prompts, previous, generator)
            outputs = decode(model, features, prompts.coords, prompts.labels, previous.unsqueeze(1))
            refined, _ = prompt_losses(*outputs, prompts.targets, prompts.on_object, stage.share_all, iou_weight)
            loss = loss + 0.5 * refined
    return loss + DENSE_WEIGHT * dense_loss, dense_loss, best


def report(start: float, step: int, figures: dict[str, float]) -> None:
    """One line for the log."""
    values = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
    print(f"{time.strftime('%H:%M:%S')}  {time.time() - start:6.0f} s  step {step:5d}  {values}", flush=True)


def stage_steps(stages: Sequence[ImageStage], pools: Sequence[Future]) -> Iterator[tuple[ImageStage, ScenePool, bool]]:
    """Every step's stage and pool, and whether it is the last of its stage."""
    for stage, pool in zip(stages, pools, strict=True):
        scenes = pool.result()
        for number in range(stage.steps):
            yield stage, scenes, number + 1 == stage.steps


def train_round(
    model: nn.Module, plan: Round, schedule: Schedule, pools: Sequence[Future], seed: int, out: Path
) -> None:
    """One round; the model holds the averaged weights at the end, and `out` has checkpoints all along."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    dense = DenseHeads(model.hidden_dim)
    groups = image_parameters(model, dense, plan.frozen_encoder)
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), fused=True)
    trained = [value for group in optimizer.param_groups for value in group["params"]]
    # No gradient where nothing learns: the encoder's backward pass would be most of a step.
    model.image_encoder.requires_grad_(not plan.frozen_encoder)
    average, averaged = MovingAverage(model, plan.average), build_model(out / CONFIG_NAME)
    start, recent = time.time(), []
    for step, (stage, pool, last) in enumerate(stage_steps(plan.stages, pools)):
        set_working_size(model, stage.mix.size)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan.span, schedule.warmup, plan.peak_rate)
        loss, dense_loss, best = image_step(model, dense, pool, stage, plan.iou_weight, rng, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, CLIP_NORM)
        optimizer.step()
        average.update(model)
        recent.append((loss.item(), dense_loss.item(), best.item()))
        if (step + 1) % 50 == 0:
            means = np.mean(recent, axis=0)
            report(start, step + 1, dict(zip(("loss", "dense_loss", "train_best_iou"), means, strict=True)))
            recent.clear()
        if stage.prompts > 0 and (last or (step + 1) % schedule.eval_every == 0):
            averaged.load_state_dict(average.shadow)
            save_weights(average.shadow, out / WEIGHTS_NAME)
            scenes = novel_pool(schedule.eval_scenes, stage.mix.size, stage.eval_scale)
            report(start, step + 1, evaluate(averaged, scenes, schedule.grid_scenes))
    model.load_state_dict(average.shadow)


def train_image_part(seed: int, out: Path, schedule: Schedule, skip_rounds: int) -> None:
    """Train all but the memory and writes the weights to `out`; skipped rounds have left their weights there."""
    torch.manual_seed(seed)
    model = build_model(out / CONFIG_NAME)
    init_scales(model)
    init_decoder(model)
    if skip_rounds:
        load_weights(model, out / WEIGHTS_NAME)
    # A worker renders the next stages' scenes while a stage trains.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=os.nice, initargs=(10,)) as worker:
        rounds = schedule.rounds[skip_rounds:]
        mixes = dict.fromkeys(stage.mix for plan in rounds for stage in plan.stages)
        rendered = {mix: worker.submit(render_pool, seed, mix) for mix in mixes}
        for number, plan in enumerate(rounds, start=skip_rounds):
            pools = [rendered[stage.mix] for stage in plan.stages]
            train_round(model.train(), plan, schedule, pools, seed + number, out)


def train_memory_part(seed: int, out: Path, schedule: Schedule) -> None:
    """Train the memory of the weights in `out`."""
    torch.manual_seed(seed)
    model = build_model(out / CONFIG_NAME)
    load_weights(model, out / WEIGHTS_NAME)
    train_memory(model, schedule.memory_stage, seed + 200, lambda state: save_weights(state, out / WEIGHTS_NAME))


def run(seed: int, out: Path, schedule: Schedule, skip_rounds: int) -> None:
    """Train and writes the weights beside the configuration in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    if out != DEMO_DIR:
        (out / CONFIG_NAME).write_text((DEMO_DIR / CONFIG_NAME).read_text())
    train_image_part(seed, out, schedule, skip_rounds)
    train_memory_part(seed, out, schedule)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=DEMO_DIR, help="folder of the weights")
    parser.add_argument("--threads", type=int, default=1, help="of torch; one is enough beside other work")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that everything runs")
    parser.add_argument("--skip-rounds", type=int, default=0, help="go on from the weights in --out")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    run(options.seed, options.out.resolve(), SMOKE_SCHEDULE if options.smoke else FULL_SCHEDULE, options.skip_rounds)


if __name__ == "__main__":
    main()
