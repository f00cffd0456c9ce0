"""Average precision of instance boxes and masks, as COCO defines it.

``pycocotools`` is the reference.

The paper calls AP over the novel categories nAP (arXiv 2507.02798, section 4): the mean over IoU 0.50:0.05:0.95.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.data.coco_results import CocoResults, checked_results, read_results
from no_time_to_train.data.images import describe_size_mismatch
from no_time_to_train.errors import InputError, Parameter
from no_time_to_train.evaluation.coco_eval import Engine, IouType, coco_precision
from no_time_to_train.evaluation.name_matching import MATCH_BY_NAME
from no_time_to_train.files.arguments import as_path, as_texts

METRIC_KINDS: dict[IouType, str] = {"bbox": "box", "segm": "mask"}
"""The names of COCO's IoU types in ``metrics.json``."""

_AREA_LABELS = ("all", "small", "medium", "large")


@dataclass(frozen=True)
class AveragePrecision:
    """AP in per cent.

    None where there is nothing to measure (no ground truth of that kind).

    Attributes:
        nAP: mean over IoU thresholds 0.50:0.05:0.95.
        nAP50, nAP75: at one IoU threshold.
        nAP_small, nAP_medium, nAP_large: objects below 32², from there to 96², above 96² pixels.
    """

    nAP: float | None = None
    nAP50: float | None = None
    nAP75: float | None = None
    nAP_small: float | None = None
    nAP_medium: float | None = None
    nAP_large: float | None = None


@dataclass(frozen=True)
class InstanceMetrics:
    """The evaluation of one run.

    Attributes:
        overall: metric kind (``box``, ``mask``) to its AP over all categories; a skipped kind is absent.
        per_category: category name to the same.
        num_images: images evaluated (those without objects count: what is found there is wrong).
        num_objects: ground-truth objects, crowds left out.
        notes: what was skipped, and why.
        parameters: those that notes may name, as ``str`` gives them.
    """

    overall: dict[str, AveragePrecision]
    per_category: dict[str, dict[str, AveragePrecision]]
    num_images: int
    num_objects: int
    notes: tuple[str, ...] = field(default=())
    parameters: tuple[Parameter, ...] = field(default=())

    def to_json(self, seconds_per_image: float | None = None) -> dict[str, Any]:
        """Return the layout of ``metrics.json``.

        Numbers are per cent, ``null`` where a metric does not apply.
        """
        nothing = asdict(AveragePrecision())

        def kinds(values: dict[str, AveragePrecision]) -> dict[str, Any]:
            return {kind: asdict(values[kind]) if kind in values else nothing for kind in METRIC_KINDS.values()}

        return {
            **kinds(self.overall),
            "per_category": {name: kinds(values) for name, values in self.per_category.items()},
            "num_images": self.num_images,
            "num_objects": self.num_objects,
            "seconds_per_image": seconds_per_image,
            "notes": list(self.notes),
        }


def evaluate_instances(
    gt: CocoDataset | str | Path,
    predictions: list[dict[str, Any]] | str | Path,
    *,
    iou_types: Sequence[IouType] = ("bbox", "segm"),
    category_ids: Iterable[int] | None = None,
    engine: Engine = "pycocotools",
) -> InstanceMetrics:
    """Compute AP of COCO results.

    At most 100 detections per image count, at 101 recall points.

    Args:
        gt: data set or its COCO file (read by ``read_coco``, which repairs what would mislead COCOeval: annotation
            ids of 0 or used twice, missing ``iscrowd`` or ``area``). Boxes are compared as the file has them.
        predictions: COCO results (``image_id``, ``category_id``, ``score``, ``bbox`` xywh and/or RLE
            ``segmentation``) or their JSON file. An empty list scores zero.
        iou_types: ``bbox``, ``segm`` or both. ``segm`` is skipped, with a note, where the ground truth or the
            predictions have only boxes.
        category_ids: evaluate only these categories (the paper's novel ones); predictions of others are left out.
        engine: ``faster-coco-eval`` gives the same numbers several times faster.

    Raises:
        InputFileNotFoundError: a file is missing.
        InputError: predictions name an image or a category that the ground truth does not have, or a mask is not
            of its image's size.

    Example:
        >>> metrics = ntt.evaluate_instances("ground_truth.json", "predictions.json", iou_types=["bbox"])
        >>> round(metrics.overall["box"].nAP50)
        100
    """
    dataset = gt if isinstance(gt, CocoDataset) else read_coco(as_path(gt, "gt"))
    unknown = [name for name in as_texts(iou_types, "iou_types", "segm") if name not in METRIC_KINDS]
    if unknown or not iou_types:
        raise InputError(f"iou_types must be of {', '.join(METRIC_KINDS)}, got {list(iou_types)}.")
    if category_ids is not None and not isinstance(category_ids, Iterable):
        raise InputError(f"category_ids must be a list of ids, got {type(category_ids).__name__}.")
    if category_ids is not None:
        dataset = _only_categories(dataset, set(category_ids))
    results: list[dict[str, Any]] = _checked(predictions)
    if category_ids is not None:
        results = [result for result in results if result["category_id"] in dataset.categories_by_id]
    return collect_metrics(
        dataset, results, iou_types, lambda iou_type: coco_precision(dataset, results, iou_type, engine)
    )


def collect_metrics(
    dataset: CocoDataset,
    results: list[dict[str, Any]],
    iou_types: Sequence[IouType],
    precision_of: Callable[[IouType], tuple[np.ndarray, Sequence[int]]],
) -> InstanceMetrics:
    """Check results and average the precision that an evaluator finds.

    The evaluator has COCO's form.

    Args:
        dataset: the ground truth.
        results: COCO results.
        iou_types: as for :func:`evaluate_instances`.
        precision_of: gives (IoU thresholds, recalls, categories, areas) precision, -1 where there is no ground truth,
            and the ids of the categories; called for the kinds that are not skipped.

    Raises:
        InputError: as for :func:`evaluate_instances`.
    """
    _check_results(results, dataset)
    overall: dict[str, AveragePrecision] = {}
    per_category: dict[str, dict[str, AveragePrecision]] = {category.name: {} for category in dataset.categories}
    notes: list[str] = []
    for iou_type in iou_types:
        kind = METRIC_KINDS[iou_type]
        reason = _reason_to_skip(iou_type, dataset, results)
        if reason:
            notes.append(f"{kind} metrics skipped: {reason}")
            continue
        precision, evaluated_ids = precision_of(iou_type)
        overall[kind] = average_precision(precision)
        for position, category_id in enumerate(evaluated_ids):
            name = dataset.categories_by_id[category_id].name
            per_category[name][kind] = average_precision(precision[:, :, position : position + 1])
    return InstanceMetrics(
        overall=overall,
        per_category=per_category,
        num_images=len(dataset.images),
        num_objects=sum(not annotation.is_crowd for annotation in dataset.annotations),
        notes=tuple(notes),
    )


def _checked(predictions: list[dict[str, Any]] | str | Path) -> CocoResults:
    if isinstance(predictions, list):
        return checked_results(predictions, "predictions")
    return read_results(as_path(predictions, "predictions"))


def _only_categories(dataset: CocoDataset, category_ids: set[int]) -> CocoDataset:
    unknown = category_ids - dataset.categories_by_id.keys()
    if unknown:
        raise InputError(f"{dataset.name} has no category {', '.join(map(str, sorted(unknown)))}.")
    return replace(
        dataset,
        annotations=tuple(a for a in dataset.annotations if a.category_id in category_ids),
        categories=tuple(category for category in dataset.categories if category.id in category_ids),
    )


def _check_results(results: list[dict[str, Any]], dataset: CocoDataset) -> None:
    unknown_ids = sorted({result["category_id"] for result in results} - dataset.categories_by_id.keys())
    if unknown_ids:
        known = ", ".join(f"{category.id} ({category.name})" for category in dataset.categories)
        raise InputError(
            f"predictions use category ids {', '.join(map(str, unknown_ids))} but {dataset.name} has {known}. "
            f"If the names match, pass {MATCH_BY_NAME}.",
            parameters=[MATCH_BY_NAME],
        )
    images = dataset.images_by_id
    unknown_images = [result["image_id"] for result in results if result["image_id"] not in images]
    if unknown_images:
        raise InputError(
            f"predictions name image id {unknown_images[0]!r} ({type(unknown_images[0]).__name__}), which "
            f"{dataset.name} does not have ({len(set(unknown_images))} such ids). Ids must be equal in value and type."
        )
    for result in results:
        mask, image = result.get("segmentation"), images[result["image_id"]]
        if mask:
            mismatch = describe_size_mismatch(mask["size"], "a predicted mask's size", image.size_hw, image.file_name)
            if mismatch:
                raise InputError(mismatch)


def _reason_to_skip(iou_type: IouType, dataset: CocoDataset, results: list[dict[str, Any]]) -> str | None:
    key = "bbox" if iou_type == "bbox" else "segmentation"
    if iou_type == "segm":
        without_mask = sum(not annotation.segmentation for annotation in dataset.annotations)
        if without_mask:
            return f"{without_mask} of {len(dataset.annotations)} ground-truth objects have only a box."
    without = sum(not result.get(key) for result in results)
    return f"{without} of {len(results)} predictions have no {key}." if without else None


def average_precision(precision: np.ndarray) -> AveragePrecision:
    """Average the entries that exist.

    Entries are (IoU thresholds, recalls, categories, areas); -1 marks a category without ground truth.
    """

    def mean(values: np.ndarray) -> float | None:
        existing = values[values > -1]
        return float(existing.mean() * 100) if existing.size else None

    all_areas = precision[..., 0]
    by_area = {f"nAP_{label}": mean(precision[..., i]) for i, label in enumerate(_AREA_LABELS) if i}
    return AveragePrecision(nAP=mean(all_areas), nAP50=mean(all_areas[0]), nAP75=mean(all_areas[5]), **by_area)
