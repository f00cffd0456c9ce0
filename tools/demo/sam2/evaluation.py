"""Evaluation of the demo SAM 2.1 on scenes of the novel categories, which the training never shows."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.demo.sam2.data import SceneMix, ScenePool, random_pixel, render_pool
from tools.demo.sam2.model import decode, encode_images, normalize_images, repeat_features, set_working_size
from tools.demo.scenes import NOVEL_CATEGORIES

RECALL_THRESHOLDS = (0.5, 0.75, 0.9)


def novel_pool(count: int, size: int, scale: tuple[float, float], seed: int = 999) -> ScenePool:
    """The fixed evaluation scenes."""
    return render_pool(seed, SceneMix(0, count, size, (2, 6), (scale,)), NOVEL_CATEGORIES)


def predict_at_points(
    model: nn.Module, features: list[Tensor], points: np.ndarray, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One click each: bool masks (P, 3, size, size), predicted IoU (P, 3), object score logits (P,)."""
    coords = torch.from_numpy(points).float().unsqueeze(1)
    labels = torch.ones(coords.shape[:2], dtype=torch.long)
    logits, ious, scores = decode(model, repeat_features(features, len(points)), coords, labels)
    full = F.interpolate(logits[:, 1:], size=(size, size), mode="bilinear", align_corners=False)
    return full > 0, ious[:, 1:], scores


def full_ious(predicted: Tensor, masks: Tensor) -> Tensor:
    """(P, M, H, W) bool against (N, H, W) bool -> (P, M, N) IoU."""
    flat, wanted = predicted.flatten(2).float(), masks.flatten(1).float()
    common = flat @ wanted.t()
    return common / (flat.sum(dim=2, keepdim=True) + wanted.sum(dim=1) - common).clamp(min=1)


def grid_points(size: int, per_side: int = 16) -> np.ndarray:
    """(per_side^2, 2) x, y."""
    axis = (np.arange(per_side) + 0.5) * size / per_side - 0.5
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


@torch.no_grad()
def evaluate(model: nn.Module, pool: ScenePool, grid_scenes: int) -> dict[str, float]:
    """Best-of-three and chosen IoU from one random point, ranking, point-grid recall, score on the background."""
    size = pool.images.shape[1]
    set_working_size(model, size)
    was_training = model.training
    model.eval()
    rng = np.random.default_rng(7)
    best, chosen, ranks, recalled, background = [], [], [], [], []
    for index, (image, ids) in enumerate(zip(pool.images, pool.ids, strict=True)):
        features, _ = encode_images(model, normalize_images(torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)))
        masks = np.stack([ids == number for number in np.unique(ids) if number > 0])
        wanted = torch.from_numpy(masks)
        points = np.array([random_pixel(rng, mask) for mask in masks], dtype=np.float32)
        predicted, ious, _ = predict_at_points(model, features, points, size)
        own = torch.diagonal(full_ious(predicted, wanted), dim1=0, dim2=2).t()  # (N, 3): each point, its object
        best.append(own.amax(dim=1))
        chosen.append(own.gather(1, ious.argmax(dim=1, keepdim=True)).squeeze(1))
        ranks.append(torch.stack([ious.flatten(), own.flatten()]))
        if index < grid_scenes:
            grid = grid_points(size)
            predicted, ious, _ = predict_at_points(model, features, grid, size)
            recalled.append(full_ious(predicted, wanted).amax(dim=(0, 1)))
            on_background = torch.from_numpy(ids[grid[:, 1].astype(int), grid[:, 0].astype(int)] == 0)
            background.append(ious.amax(dim=1)[on_background])
    model.train(was_training)
    figures = {
        "best_iou": torch.cat(best).mean().item(),
        "chosen_iou": torch.cat(chosen).mean().item(),
        "iou_correlation": torch.corrcoef(torch.cat(ranks, dim=1))[0, 1].item(),
    }
    if recalled:
        reached = torch.cat(recalled)
        figures |= {f"recall@{t:g}": (reached >= t).float().mean().item() for t in RECALL_THRESHOLDS}
        figures["background_predicted_iou"] = torch.cat(background).mean().item()
    return figures
