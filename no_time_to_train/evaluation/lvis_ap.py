"""Average precision as LVIS defines it (Gupta et al., CVPR 2019).

It is computed by the data set's own package, lvis-api.

LVIS is federated: in each image only some categories were looked for. A detection counts only where its category was
found or found absent, and is never wrong where not every object of the category was annotated. The detections are the
best 300 of an image, over all categories.
"""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.errors import InputError, InputFileNotFoundError, missing_package
from no_time_to_train.evaluation.instance_ap import METRIC_KINDS, IouType, average_precision, collect_metrics

MAX_DETECTIONS = 300
_GROUPS = ("r", "c", "f")
"""Rare, common, frequent: in 1-10, 11-100 and over 100 training images."""
_NO_CATEGORY_ID = -1
_REQUIRED = {"images": ("neg_category_ids", "not_exhaustive_category_ids"), "categories": ("frequency",)}


def evaluate_lvis(
    ground_truth: CocoDataset, results: list[dict[str, Any]], ground_truth_file: Path | None
) -> dict[str, Any]:
    """Compute the federated AP of COCO results, in per cent.

    Args:
        ground_truth: which images and categories are scored; read from ``ground_truth_file``.
        results: COCO results of those categories and images.
        ground_truth_file: LVIS annotations, what detections are compared with.

    Returns:
        The keys of :meth:`InstanceMetrics.to_json`; and for each kind that is not skipped ``lvis_box_AP``,
        ``lvis_box_APr``, ``lvis_box_APc`` and ``lvis_box_APf`` (rare, common, frequent categories), or ``lvis_mask_``
        ones.

    Raises:
        EnvironmentProblemError: lvis-api is not installed.
        InputFileNotFoundError: the file is missing.
        InputError: no file is given, it has not LVIS's fields, or results that ``evaluate_instances`` refuses.
    """
    lvis = _import_lvis()
    truth = lvis.LVIS(str(_existing(ground_truth_file)))
    _check_fields(truth.dataset, ground_truth_file)
    own: dict[str, float | None] = {}
    category_ids = [category.id for category in ground_truth.categories]
    groups = [[p for p, key in enumerate(category_ids) if truth.cats[key]["frequency"] == name] for name in _GROUPS]

    def precision_of(iou_type: IouType) -> tuple[np.ndarray, Sequence[int]]:
        found = _lvis_results(lvis, truth, results, iou_type)
        precision = _precision(lvis, truth, found, iou_type, {image.id for image in ground_truth.images}, category_ids)
        own.update(_group_precisions(precision, groups, f"lvis_{METRIC_KINDS[iou_type]}_AP"))
        return precision, category_ids

    metrics = collect_metrics(ground_truth, results, tuple(METRIC_KINDS), precision_of).to_json()
    return {**metrics, **own}


def _precision(
    lvis: Any, truth: Any, found: Any, iou_type: IouType, image_ids: set[int | str], category_ids: Sequence[int]
) -> np.ndarray:
    """Return (IoU thresholds, recalls, categories, areas) precision, -1 for categories without ground truth.

    lvis-api keeps and visits every pair of image and category, 24 million of them in the validation images. The
    precision of a category depends on the images alone where it was found or found absent, so each is evaluated on
    these.
    """
    annotated, looked_for = defaultdict(set), defaultdict(set)
    for annotation in truth.dataset["annotations"]:
        if annotation["image_id"] in image_ids:
            annotated[annotation["category_id"]].add(annotation["image_id"])
    for image in truth.dataset["images"]:
        if image["id"] in image_ids:
            for category_id in image["neg_category_ids"]:
                looked_for[category_id].add(image["id"])
    params = lvis.LVISEval(truth, found, iou_type).params
    shape = (len(params.iou_thrs), len(params.rec_thrs), len(category_ids), len(params.area_rng))
    precision = np.full(shape, -1.0)
    with _numpy_with_float(lvis):
        for position, category_id in enumerate(category_ids):
            if category_id not in annotated:
                continue
            evaluator = lvis.LVISEval(truth, found, iou_type)
            evaluator.params.img_ids = list(annotated[category_id] | looked_for[category_id])  # it sorts them
            evaluator.params.cat_ids = [category_id]
            evaluator.evaluate()
            evaluator.accumulate()
            precision[:, :, position] = evaluator.eval["precision"][:, :, 0]
    return precision


def _group_precisions(precision: np.ndarray, groups: Sequence[Sequence[int]], key: str) -> dict[str, float | None]:
    """Return the AP over all, and over the rare, common and frequent categories.

    They are at their positions in ``groups``.
    """
    values = {key: average_precision(precision).nAP}
    for name, positions in zip(_GROUPS, groups, strict=True):
        values[key + name] = average_precision(precision[:, :, positions]).nAP
    return values


def _lvis_results(lvis: Any, truth: Any, results: Sequence[Mapping[str, Any]], iou_type: IouType) -> Any:
    """Return the results of one kind: beside a box, lvis-api would take the box's area for the mask's."""
    key = "bbox" if iou_type == "bbox" else "segmentation"
    entries = [{name: result[name] for name in ("image_id", "category_id", "score", key)} for result in results]
    if not entries:  # lvis-api looks at the first one; what is of no category is not scored
        nothing = {"image_id": next(iter(truth.imgs)), "category_id": _NO_CATEGORY_ID, "score": 0.0}
        entries = [{**nothing, "bbox": [0, 0, 1, 1]}]
    return lvis.LVISResults(truth, entries, max_dets=MAX_DETECTIONS)


def _existing(path: Path | None) -> Path:
    if path is None:
        raise InputError(
            "evaluator lvis needs the LVIS annotation file: it says which categories were looked for in each image. "
            "Use benchmark=lvis, or evaluator.name=coco."
        )
    if not path.is_file():
        raise InputFileNotFoundError(f"{path}: no such annotation file.")
    return path


def _check_fields(content: Mapping[str, Any], path: Path | None) -> None:
    for section, names in _REQUIRED.items():
        missing = [name for name in names if any(name not in entry for entry in content[section])]
        if missing:
            raise InputError(
                f"{path}: {section} without {' and '.join(missing)}, which LVIS annotation files have. Use the "
                "published file, or evaluator.name=coco."
            )


def _import_lvis() -> Any:
    """lvis-api, kept from setting up everybody's logging as it is imported."""
    root, placeholder = logging.getLogger(), logging.NullHandler()
    root.addHandler(placeholder)
    try:
        import lvis
    except ImportError as error:
        raise missing_package(error) from error
    finally:
        root.removeHandler(placeholder)
    logging.getLogger("lvis").setLevel(logging.ERROR)  # it warns that it trusts the results, which are checked here
    return lvis


@contextlib.contextmanager
def _numpy_with_float(lvis: Any) -> Iterator[None]:
    """lvis-api 0.5.3 says ``np.float``, which NumPy 1.24 took out: its evaluator alone is given a NumPy that has it."""
    module = lvis.eval
    numpy = module.np
    module.np = SimpleNamespace(**{**vars(numpy), "float": float})
    try:
        yield
    finally:
        module.np = numpy
