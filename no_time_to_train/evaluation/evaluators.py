"""Every evaluator of a benchmark run, by one entrance.

What it returns is what ``metrics.json`` holds.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from no_time_to_train.config import EvaluatorConfig
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_results import checked_results, read_results
from no_time_to_train.errors import InputError, missing_package
from no_time_to_train.evaluation.instance_ap import Engine, evaluate_instances
from no_time_to_train.evaluation.lvis_ap import evaluate_lvis
from no_time_to_train.evaluation.semantic_iou import evaluate_published_semantic, evaluate_semantic
from no_time_to_train.evaluation.voc_ap import evaluate_voc

_PROTOCOLS = {
    "coco": "COCO AP: COCOeval, at most 100 detections per image",
    "voc": "VOC AP of boxes beside COCO AP",
    "lvis": "federated LVIS AP: lvis-api, at most 300 detections per image",
    "semantic": "mean IoU of semantic maps beside COCO AP",
}


def check_evaluator(name: str, settings: EvaluatorConfig) -> None:
    """Raise EnvironmentProblemError where a package is missing.

    It is called before a run, not after it.
    """
    needed = {"lvis": name == "lvis", "faster_coco_eval": settings.engine == "faster-coco-eval"}
    for package, is_needed in needed.items():
        if is_needed and importlib.util.find_spec(package) is None:
            raise missing_package(ModuleNotFoundError(f"No module named {package!r}", name=package))


def evaluate_predictions(
    name: str,
    settings: EvaluatorConfig,
    ground_truth: CocoDataset,
    predictions: list[dict[str, Any]] | Path,
    *,
    ground_truth_file: Path | None = None,
) -> dict[str, Any]:
    """Score predictions; return the content of ``metrics.json``.

    Every number is in per cent.

    Args:
        name: ``coco``, ``voc``, ``lvis`` or ``semantic`` (a benchmark's ``default`` is resolved before).
        settings: the engine of COCO AP and the options of ``semantic``.
        ground_truth: restricted to the categories and images that are scored.
        predictions: COCO results or their file.
        ground_truth_file: the LVIS annotation file that ``ground_truth`` was read from. ``lvis`` needs it for what a
            ``CocoDataset`` does not carry (which categories were looked for in each image); ``coco`` only says that
            its AP is not LVIS's.

    Returns:
        The keys of :meth:`InstanceMetrics.to_json` (``box``, ``mask``, ``per_category``, ``num_images``,
        ``num_objects``, ``seconds_per_image``, ``notes``), ``evaluator``, ``protocol`` (how it was scored, in words)
        and the evaluator's own: ``voc_ap50_11pt``, ``voc_ap_11pt``, ``voc_ap50_area``, ``voc_ap_area``,
        ``voc_ap50_coco``; ``lvis_box_AP``, ``lvis_box_APr`` ... (``box`` and ``mask`` are the federated ones too);
        ``miou``, ``miou_with_background``, ``fb_iou``. Those of one category stand below its name in
        ``per_category``.

    Raises:
        InputFileNotFoundError: a file is missing.
        InputError: an unknown name, or predictions or ground truth that cannot be scored so.
    """
    if name not in _PROTOCOLS:
        raise InputError(f"evaluator {name!r} does not score predictions. Use one of: {', '.join(_PROTOCOLS)}.")
    if isinstance(predictions, list):
        results = checked_results(predictions, "predictions")
    else:
        results = read_results(predictions)
    if name == "lvis":
        metrics = evaluate_lvis(ground_truth, results, ground_truth_file)
    else:
        engine: Engine = settings.engine  # type: ignore[assignment]  # checked with the config
        metrics = evaluate_instances(ground_truth, results, engine=engine).to_json()
        if name == "voc":
            _add(metrics, evaluate_voc(ground_truth, results))
            _add(metrics, _coco_style_ap50(metrics))
        elif name == "semantic":
            _add(metrics, evaluate_semantic(ground_truth, results, min_score=settings.min_score))
            if settings.as_published:
                _add(metrics, evaluate_published_semantic(ground_truth, results, min_score=settings.min_score))
        elif ground_truth_file is not None:
            metrics["notes"].append("plain COCO AP, not LVIS's federated AP (evaluator.name=lvis)")
    return {"evaluator": name, "protocol": _PROTOCOLS[name], **metrics}


def _add(metrics: dict[str, Any], own: dict[str, Any]) -> None:
    """Put an evaluator's own numbers, its ``per_category`` ones among them, into the content of ``metrics.json``."""
    for name, values in own.pop("per_category", {}).items():
        metrics["per_category"][name] |= values
    metrics |= own


def _coco_style_ap50(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the number that arXiv 2507.02798 compares with others' 11-point AP50: COCOeval's on the same boxes."""
    per_category = {name: {"voc_ap50_coco": values["box"]["nAP50"]} for name, values in metrics["per_category"].items()}
    return {"voc_ap50_coco": metrics["box"]["nAP50"], "per_category": per_category}
