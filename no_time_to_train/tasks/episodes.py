"""COCO-20i in episodes.

Each one has a memory of its supports and a segmented query; the IoU is over all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.benchmarks.coco_20i import COCO_CATEGORIES, EPISODES_FOLDER
from no_time_to_train.config import BenchConfig
from no_time_to_train.data.images import read_image
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.evaluation.episodes import (
    EVALUATED_SIDE_PX,
    SEED,
    Episode,
    EpisodeScores,
    draw_episodes,
    fold_classes,
    read_class_mask,
    read_split,
    squash_mask,
)
from no_time_to_train.evaluation.instance_ap import InstanceMetrics
from no_time_to_train.evaluation.semantic_iou import paint
from no_time_to_train.ops.rle import encode_mask, rle_to_box_xyxy
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import Category, Detections, ReferenceInstance, ReferenceSet, TargetImage


def run_episodes(
    config: BenchConfig, *, segmenter: Segmenter | None = None, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Segment the queries of the episodes of one fold.

    There are ``evaluator.num_episodes`` episodes of ``benchmark.fold``, with ``shots`` supports each.

    A query's mask is the union of its detections that score at least ``evaluator.min_score``. The best detection
    always belongs to it, as the class is in every query.

    Args:
        config: of the run; the episodes are the published ones, drawn with seed 0 whatever ``seed`` says.
        segmenter: None: built from ``config``.
        on_progress: called with (episodes done, episodes in all).

    Returns:
        The content of ``metrics.json``, in per cent: ``miou`` (mean over the fold's 20 classes), ``fb_iou``,
        ``num_episodes``, each class's ``miou`` in ``per_category``, and the keys that every evaluator has (``box`` and
        ``mask`` hold None only).

    Raises:
        InputFileNotFoundError: the split file, images or masks are missing.
        InputError: another benchmark than ``coco_20i``, or the split file or a mask is damaged.
    """
    if config.benchmark.name != "coco_20i":
        raise InputError(
            f"evaluator.name=episodes is for benchmark=coco_20i, got benchmark={config.benchmark.name}. Use "
            "evaluator.name=coco, voc or semantic there."
        )
    settings = config.evaluator
    folder = Path(config.benchmark.root) / EPISODES_FOLDER
    class_indices = fold_classes(config.benchmark.fold)
    names_by_class = read_split(folder / "splits" / "val" / f"fold{config.benchmark.fold}.pkl")
    episodes = draw_episodes(names_by_class, class_indices, settings.num_episodes, config.shots)
    _check_files(episodes, folder)
    if segmenter is None:
        from no_time_to_train.build import build_segmenter

        segmenter = build_segmenter(config)
    scores = EpisodeScores(class_indices)
    start = time.monotonic()
    for done, episode in enumerate(episodes, start=1):
        predicted = segment_query(episode, folder, segmenter, settings.min_score)
        truth = read_class_mask(_mask_path(folder, episode.query), episode.class_index)
        scores.add(episode.class_index, squash_mask(predicted), squash_mask(truth))
        if on_progress is not None:
            on_progress(done, len(episodes))
    return _metrics(scores, episodes, config, (time.monotonic() - start) / len(episodes))


def segment_query(episode: Episode, folder: Path, segmenter: Segmenter, min_score: float) -> np.ndarray:
    """Segment the episode's class in its query image, (H, W) bool."""
    upright = segmenter.config.images.upright
    memory = segmenter.build_memory(episode_references(episode, folder, upright=upright))
    path = folder / episode.query
    target = TargetImage(path, episode.query, episode.query, upright=upright)
    (detections,) = segmenter.segment_batch([read_image(path, upright=upright)], memory, [target])
    return foreground(detections, min_score)


def foreground(detections: Detections, min_score: float) -> np.ndarray:
    """Join the best detection and others that score well.

    The result is the (H, W) bool union of those that score at least ``min_score`` and of the best one.
    """
    num_kept = max(1, int((detections.scores >= min_score).sum()))  # best first
    return paint(detections.image_size_hw, ((1, rle) for rle in detections.rles[:num_kept])) > 0


def episode_references(episode: Episode, folder: Path, *, upright: bool = False) -> ReferenceSet:
    """Make one reference of each support.

    It is all that its image shows of the class.
    """
    category = Category(episode.class_index + 1, COCO_CATEGORIES[episode.class_index])
    instances = []
    for name in episode.supports:
        mask = encode_mask(read_class_mask(_mask_path(folder, name), episode.class_index))
        x1, y1, x2, y2 = rle_to_box_xyxy(mask).tolist()
        instances.append(ReferenceInstance(folder / name, name, name, category, (x1, y1, x2, y2), mask, upright))
    return ReferenceSet((category,), tuple(instances))


def _mask_path(folder: Path, image_name: str) -> Path:
    return (folder / "annotations" / image_name).with_suffix(".png")


def _check_files(episodes: Sequence[Episode], folder: Path) -> None:
    names = sorted({name for episode in episodes for name in (episode.query, *episode.supports)})
    paths = [path for name in names for path in (folder / name, _mask_path(folder, name))]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputFileNotFoundError(
            f"{len(missing)} of {len(paths)} images and masks of the episodes are missing (first: {missing[0]}). "
            f"{folder} must hold val2014/*.jpg and annotations/val2014/*.png."
        )


def _metrics(
    scores: EpisodeScores, episodes: Sequence[Episode], config: BenchConfig, seconds_per_image: float
) -> dict[str, Any]:
    ious = scores.class_ious()
    content = InstanceMetrics(
        overall={},
        per_category={COCO_CATEGORIES[index]: {} for index in ious},
        num_images=len({episode.query for episode in episodes}),
        num_objects=len(episodes),
        notes=tuple(_notes(ious, config)),
    ).to_json(seconds_per_image)
    for index, iou in ious.items():
        content["per_category"][COCO_CATEGORIES[index]]["miou"] = iou
    return {
        "evaluator": "episodes",
        "protocol": f"COCO-20i fold {config.benchmark.fold} in {len(episodes)} episodes (shots={config.shots}) as in "
        f"Matcher, masks at {EVALUATED_SIDE_PX} x {EVALUATED_SIDE_PX}",
        "num_episodes": len(episodes),
        "miou": scores.miou(),
        "fb_iou": scores.fb_iou(),
        **content,
    }


def _notes(ious: dict[int, float | None], config: BenchConfig) -> list[str]:
    never_drawn = [COCO_CATEGORIES[index] for index, iou in ious.items() if iou is None]
    notes = [f"classes never drawn count as 0: {', '.join(never_drawn)}"] if never_drawn else []
    if config.seed != SEED:
        notes.append(f"episodes are drawn with seed {SEED} as published; seed={config.seed} has no effect")
    return notes
