"""Training of the demo SAM 2.1's memory: attention, encoder and object pointers, on short procedural clips.

The image encoder and the mask decoder keep their values, so the quality on images cannot change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.demo.sam2.data import ClipPool, augment, low_res_targets, random_pixel, render_clip_pool
from tools.demo.sam2.losses import mask_ious, mask_losses
from tools.demo.sam2.model import normalize_images, set_working_size

LOGIT_BOUND = 30.0  # absent objects have logits of -1024
MASK_PROMPT_SHARE = 0.7
LOCAL_FREQUENCIES = 10  # the fast ones: 1 to 0.06 radian per cell
LOCAL_SHARPNESS = 1.15  # attention falls by about e^1.5 one cell away
NO_PROMPT: dict[str, object] = {"point_inputs": None, "mask_inputs": None}


@dataclass(frozen=True)
class MemoryStage:
    """`steps` steps of `batch` clips of `frames` frames, following `objects` objects in each."""

    clips: int
    frames: int
    steps: int
    batch: int
    objects: int
    rate: float


def memory_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What only videos use."""
    modules = (model.memory_attention, model.memory_encoder, model.obj_ptr_proj, model.obj_ptr_tpos_proj)
    values = [value for module in modules for value in module.parameters()]
    values += [model.maskmem_tpos_enc, model.no_obj_ptr, model.no_obj_embed_spatial]
    return values + list(model.mask_downsample.parameters())


@torch.no_grad()
def init_memory(model: nn.Module) -> None:
    """Start from "the object is about where it was": each place reads the memories of the same place.

    Constant queries and keys (biases), once rotated, give q.k = sum cos(w d) for the offset d: the largest at d = 0.
    What has to be learned is then mostly how to mark the object for the decoder. Residual branches start small.
    """
    for layer in model.memory_attention.layers:
        layer.self_attn.out_proj.weight.mul_(0.1)
        layer.linear2.weight.mul_(0.1)
        attention = layer.cross_attn_image
        half = attention.internal_dim // 2  # of the rotated pairs, the first half of the dimensions turns with x
        bias = torch.zeros(2, half)
        bias[:, : 2 * LOCAL_FREQUENCIES : 2] = LOCAL_SHARPNESS * attention.internal_dim**0.25
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight.mul_(0.5)
            projection.bias.copy_(bias.flatten())
    downsample = model.mask_downsample
    downsample.weight.fill_(20.0 / downsample.weight.numel())  # a mask of 0 and 1 -> logits of -10 and 10
    downsample.bias.fill_(-10.0)


@torch.no_grad()
def match_output_scale(model: nn.Module, embeddings: Tensor) -> None:
    """Sets the closing LayerNorm of the attention so that it returns, on average, what the decoder is used to.

    Args:
        embeddings: (HW, B, C) of images.
    """
    target = embeddings + model.no_mem_embed
    normed = F.layer_norm(embeddings, embeddings.shape[-1:])
    centerd = normed - normed.mean(dim=(0, 1))
    gain = (centerd * (target - target.mean(dim=(0, 1)))).mean(dim=(0, 1)) / centerd.square().mean(dim=(0, 1))
    model.memory_attention.norm.weight.copy_(gain)
    model.memory_attention.norm.bias.copy_(target.mean(dim=(0, 1)) - gain * normed.mean(dim=(0, 1)))


def draw_clips(rng: np.random.Generator, pool: ClipPool, count: int, objects: int) -> tuple[Tensor, np.ndarray]:
    """Frames (T, B, 3, H, W) uint8 and the masks (T, B * objects, H, W) bool of objects seen in the first frame."""
    frames, masks = [], []
    for index in rng.integers(len(pool.frames), size=count):
        clip, ids = augment(rng, pool.frames[index], pool.ids[index])
        if rng.random() < 0.5:
            clip, ids = clip[::-1], ids[::-1]
        present = np.unique(ids[0])
        numbers = rng.choice(present[present > 0] if present[-1] > 0 else np.array([255]), size=objects)
        frames.append(clip)
        masks.append(ids[:, None] == numbers[:, None, None])
    images = torch.from_numpy(np.stack(frames, axis=1)).permute(0, 1, 4, 2, 3)
    return images, np.concatenate(masks, axis=1)


def clip_features(model: nn.Module, images: Tensor, objects: int) -> tuple[list[list[Tensor]], list[Tensor], list]:
    """Per frame, the flattened features of every followed object; their position codes; their sizes."""
    per_frame = []
    for frame in images:
        with torch.no_grad():
            _, features, positions, sizes = model._prepare_backbone_features(
                model.forward_image(normalize_images(frame))
            )
        per_frame.append([feature.repeat_interleave(objects, dim=1) for feature in features])
    return per_frame, [position.repeat_interleave(objects, dim=1) for position in positions], sizes


def first_prompt(rng: np.random.Generator, masks: np.ndarray) -> dict[str, object]:
    """The first frame's prompt for (P, H, W) masks: their masks, or a click in each."""
    if rng.random() < MASK_PROMPT_SHARE or not masks.any(axis=(1, 2)).all():
        return {"point_inputs": None, "mask_inputs": torch.from_numpy(masks).float().unsqueeze(1)}
    points = torch.tensor([[random_pixel(rng, mask)] for mask in masks], dtype=torch.float32)
    labels = torch.ones(points.shape[:2], dtype=torch.int32)
    return {"point_inputs": {"point_coords": points, "point_labels": labels}, "mask_inputs": None}


def frame_loss(multimasks: Tensor, ious: Tensor, scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of one tracked frame and the IoU of the chosen masks of visible objects.

    Args:
        multimasks: (P, 3, h, w) logits.
        ious: (P, 3).
        scores: (P, 1) object score logits.
        targets: (P, h, w).
    """
    visible = targets.amax(dim=(1, 2)) > 0.5
    logits = multimasks.clamp(-LOGIT_BOUND, LOGIT_BOUND)
    losses = mask_losses(logits, targets)
    true_ious = mask_ious(logits, targets).detach()
    mask_loss = (0.8 * losses.min(dim=1).values + 0.2 * losses.mean(dim=1))[visible].sum() / len(targets)
    iou_loss = (ious - true_ious)[visible].square().sum() / (3 * len(targets))
    score_loss = F.binary_cross_entropy_with_logits(scores.squeeze(1), visible.float())
    chosen = true_ious.gather(1, ious.argmax(dim=1, keepdim=True)).squeeze(1)[visible]
    return mask_loss + iou_loss + 0.5 * score_loss, chosen


def clip_step(
    model: nn.Module, rng: np.random.Generator, images: Tensor, masks: np.ndarray, objects: int
) -> tuple[Tensor, Tensor]:
    """Tracks through one batch of clips: the mean loss of the frames after the first, and the chosen masks' IoU."""
    features, positions, sizes = clip_features(model, images, objects)
    memory: dict[str, dict[int, object]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    num_frames = int(rng.integers(len(images), 17))  # sets the pointers' temporal scale; videos have any length
    losses, ious = [], []
    for time_index, (frame, frame_masks) in enumerate(zip(features, masks, strict=True)):
        first = time_index == 0
        prompt = first_prompt(rng, frame_masks) if first else NO_PROMPT
        current, outputs, _, _ = model._track_step(
            time_index, first, frame, positions, sizes, **prompt, output_dict=memory, num_frames=num_frames,
            track_in_reverse=False, prev_sam_mask_logits=None,
        )  # fmt: skip
        multimasks, _, predicted_ious, _, best_high_res, current["obj_ptr"], scores = outputs
        model._encode_memory_in_output(
            frame, sizes, prompt["point_inputs"], True, best_high_res.detach(), scores, current
        )
        memory["cond_frame_outputs" if first else "non_cond_frame_outputs"][time_index] = current
        if not first:
            loss, chosen = frame_loss(multimasks, predicted_ious, scores, low_res_targets(frame_masks))
            losses.append(loss)
            ious.append(chosen)
    return torch.stack(losses).mean(), torch.cat(ious)


def train_memory(model: nn.Module, stage: MemoryStage, seed: int, save: Callable[[dict[str, Tensor]], None]) -> None:
    """Train the memory modules in place, saving now and then; everything that images use stays as it is."""
    rng = np.random.default_rng(seed)
    size = model.image_size
    set_working_size(model, size)
    pool = render_clip_pool(seed, stage.clips, size, stage.frames)
    init_memory(model)
    images, _ = draw_clips(rng, pool, stage.batch, 1)
    match_output_scale(model, clip_features(model, images[:1], 1)[0][0][-1])
    model.requires_grad_(False)
    trained = memory_parameters(model)
    for value in trained:
        value.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    start, recent = time.time(), []
    for step in range(stage.steps):
        progress = step / stage.steps
        for group in optimizer.param_groups:
            group["lr"] = stage.rate * min(1.0, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * progress))
        images, masks = draw_clips(rng, pool, stage.batch, stage.objects)
        loss, ious = clip_step(model, rng, images, masks, stage.objects)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        recent.append((loss.item(), ious.mean().item()))
        if (step + 1) % 20 == 0:
            loss_mean, iou_mean = np.nanmean(recent, axis=0)
            stamp = f"{time.strftime('%H:%M:%S')}  {time.time() - start:6.0f} s  memory step {step + 1:4d}"
            print(f"{stamp}  loss {loss_mean:.3f}  tracked_iou {iou_mean:.3f}", flush=True)
            recent.clear()
        if (step + 1) % 100 == 0 or step + 1 == stage.steps:
            save(model.state_dict())
