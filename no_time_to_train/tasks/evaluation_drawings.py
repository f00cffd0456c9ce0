"""Draw what an evaluation found: errors image by image, curves, and what is mixed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.image_roots import locate_most_images
from no_time_to_train.data.images import UnreadableImageError, read_image
from no_time_to_train.errors import Parameter, counted, missing_package
from no_time_to_train.evaluation.detection_errors import (
    JudgedImage,
    ScoreCurve,
    confusion_matrix,
    curves_by_category,
    judge_images,
)
from no_time_to_train.files.formats import write_csv, write_jpeg
from no_time_to_train.outputs.drawing import draw_named_masks

MAX_DRAWN = 24
"""Images with errors that are drawn, those with the most first."""

IMAGES = Parameter("images", "FOLDER")
"""The parameter that the notes name."""

_THRESHOLDS, _CURVES, _CONFUSION, _ERRORS = "thresholds.csv", "curves.png", "confusion.png", "errors"
_RIGHT, _WRONG = (0, 114, 178), (213, 94, 0)  # blue and vermilion, which color-blind people can tell apart
_GAP_PX = 12


def write_drawings(
    truth: CocoDataset,
    results: Sequence[Mapping[str, Any]],
    out: Path,
    *,
    ground_truth: Path,
    images: Path | None,
    labeled: Path | None = None,
    category_ids: Sequence[int] | None = None,
) -> list[str]:
    """Write thresholds, curves, the confusion matrix, and the images with the most errors.

    Args:
        truth: with masks.
        results: COCO results under its ids.
        out: folder; errors go to ``errors/`` in it.
        ground_truth: its file, to find images by.
        images: their folder; None: found beside the file, or in ``labeled``.
        labeled: the folder that was labeled, which may hold some of them.
        category_ids: only these; None: all.

    Returns:
        What was left out, and why.
    """
    if not truth.has_masks:
        _remove_earlier(out)
        return ["the ground truth has no masks: nothing is drawn."]
    categories = [c for c in truth.categories if category_ids is None or c.id in category_ids]
    names = {category.id: category.name for category in categories}
    results = [entry for entry in results if entry["category_id"] in names]
    judged = judge_images(truth, results)
    curves = curves_by_category(judged, list(names))
    best = {category_id: curve.best() for category_id, curve in curves.items()}
    min_scores = {category_id: found[0] for category_id, found in best.items() if found is not None}
    _remove_earlier(out)
    write_csv(
        out / _THRESHOLDS,
        ("category", "objects", "best threshold", "F1 there"),
        [
            (names[i], curves[i].num_objects, *(("", "") if found is None else (f"{found[0]:.3f}", f"{found[1]:.3f}")))
            for i, found in best.items()
        ],
    )
    notes = _plot(judged, curves, names, min_scores, out)
    errors = {image.image_id: _num_errors(image, names, min_scores) for image in judged}
    worst = sorted((image for image in judged if errors[image.image_id]), key=lambda image: -errors[image.image_id])
    file_names = [truth.images_by_id[image.image_id].file_name for image in worst]
    root, missing = locate_most_images(file_names, ground_truth, images, first=labeled)
    gone = set(missing)
    there = [image for image, name in zip(worst, file_names, strict=True) if name not in gone]
    notes += _draw_errors(truth, there, names, min_scores, out / _ERRORS, root)
    return notes + _note_on_missing(missing, len(worst), root)


def _remove_earlier(out: Path) -> None:
    """Remove what an earlier evaluation drew: nothing of it may stand beside the present one."""
    for file in (*map(out.joinpath, (_THRESHOLDS, _CURVES, _CONFUSION)), *out.glob(f"{_ERRORS}/[0-9][0-9][0-9]_*.jpg")):
        file.unlink(missing_ok=True)


def _note_on_missing(missing: Sequence[str], num_with_errors: int, root: Path) -> list[str]:
    if not missing:
        return []
    return [
        f"{len(missing)} of {counted(num_with_errors, 'image')} with errors not found under {root} (first: "
        f"{missing[0]}), so not drawn. Give the folder that holds them: {IMAGES}."
    ]


def _plot(
    judged: Sequence[JudgedImage],
    curves: Mapping[int, ScoreCurve],
    names: Mapping[int, str],
    min_scores: Mapping[int, float],
    out: Path,
) -> list[str]:
    from no_time_to_train.reports.evaluation_plots import plot_confusion, plot_curves

    try:
        plot_curves({names[category_id]: curve for category_id, curve in curves.items()}, out / _CURVES)
        plot_confusion(confusion_matrix(judged, list(names), min_scores), list(names.values()), out / _CONFUSION)
    except ImportError as error:
        return [f"no curves are drawn. {missing_package(error)}"]
    return []


def _draw_errors(
    truth: CocoDataset,
    found: Sequence[JudgedImage],
    names: Mapping[int, str],
    min_scores: Mapping[int, float],
    out: Path,
    root: Path,
) -> list[str]:
    """Draw images whose files are there, the first ones of many; return what was left out."""
    num_drawn = num_unusable = 0
    for judged in found[:MAX_DRAWN]:
        image = truth.images_by_id[judged.image_id]
        try:
            pixels = read_image(root / image.file_name)
        except UnreadableImageError:
            pixels = None
        if pixels is None or pixels.shape[:2] != image.size_hw:
            num_unusable += 1
            continue
        num_drawn += 1
        file = out / f"{num_drawn:03}_{Path(image.file_name).stem}.jpg"
        write_jpeg(file, _side_by_side(pixels, judged, names, min_scores))
    notes = []
    if len(found) > MAX_DRAWN:
        notes.append(f"{num_drawn} of {counted(len(found), 'image')} with errors are drawn, those with the most.")
    if num_unusable:
        unusable = counted(num_unusable, "image")
        notes.append(f"{unusable} with errors cannot be read, or not of the size in the ground truth: not drawn.")
    return notes


def _num_errors(image: JudgedImage, names: Mapping[int, str], min_scores: Mapping[int, float]) -> int:
    is_asked = np.isin(image.object_category_ids, list(names))
    false_alarms = image.counted(min_scores) & (image.matches < 0)
    return int((image.missed(min_scores) & is_asked).sum() + false_alarms.sum())


def _side_by_side(
    pixels: np.ndarray, image: JudgedImage, names: Mapping[int, str], min_scores: Mapping[int, float]
) -> np.ndarray:
    """Draw the annotated objects on the left and the detections on the right, errors in another color."""
    missed = image.missed(min_scores)
    left = [
        (
            image.object_rles[i],
            f"missed: {names[int(c)]}" if missed[i] else names[int(c)],
            _WRONG if missed[i] else _RIGHT,
        )
        for i, c in enumerate(image.object_category_ids)
        if int(c) in names
    ]
    right = [
        (
            image.rles[i],
            f"{'wrong: ' if image.matches[i] < 0 else ''}{names[int(image.category_ids[i])]} {image.scores[i]:.2f}",
            _WRONG if image.matches[i] < 0 else _RIGHT,
        )
        for i in np.flatnonzero(image.counted(min_scores))
    ]
    drawn = [draw_named_masks(pixels, masks) for masks in (left, right)]
    gap = np.full((drawn[0].shape[0], _GAP_PX, 3), 255, np.uint8)
    return np.concatenate([drawn[0], gap, drawn[1]], axis=1)
