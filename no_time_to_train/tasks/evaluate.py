"""Score predictions against ground truth: ``nttt eval``.

They are a labeled folder, or any COCO results file.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from no_time_to_train.data.categories import select_categories
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.data.coco_results import read_results
from no_time_to_train.errors import InputError, InputFileNotFoundError, Parameter, counted
from no_time_to_train.evaluation.instance_ap import Engine, InstanceMetrics, evaluate_instances
from no_time_to_train.evaluation.name_matching import match_categories, match_images, translate
from no_time_to_train.files.arguments import as_path
from no_time_to_train.files.formats import write_json
from no_time_to_train.files.json_files import is_number, read_json
from no_time_to_train.runs.run_state import read_run
from no_time_to_train.tasks.evaluation_drawings import IMAGES, write_drawings

logger = logging.getLogger(__name__)

_CROWDS_ARE_OBJECTS = Parameter("crowds_are_objects", True)


def evaluate(
    predictions: str | Path,
    ground_truth: str | Path,
    *,
    images: str | Path | None = None,
    match_by_name: bool = False,
    categories: Sequence[str] | None = None,
    engine: Engine = "pycocotools",
    crowds_are_objects: bool = False,
    out: str | Path | None = None,
    drawings: str | Path | None = None,
) -> InstanceMetrics:
    """Compute average precision against ground truth.

    Args:
        predictions: results folder of ``label_folder``, or a COCO results file whose ids are the ground truth's.
        ground_truth: COCO file.
        images: its images folder, for drawings, and for sizes that the file does not give; None: the folder that was
            labeled, or one beside the file, whichever holds the most.
        match_by_name: map category ids by name.
        categories: evaluate only these; None: all.
        engine: ``pycocotools``, or ``faster-coco-eval`` (same numbers, sooner on large data sets).
        crowds_are_objects: score annotations with ``iscrowd`` 1 as objects, see ``load_references``.
        out: JSON file to write the metrics to; None: nothing is written.
        drawings: folder for errors image by image, best thresholds, curves and confusion matrix; None: none are drawn.

    Returns:
        AP in per cent; its ``notes`` say what was left out.

    Raises:
        InputFileNotFoundError: predictions or ground truth are missing.
        InputError: they do not fit each other.

    Example:
        >>> metrics = ntt.evaluate("predictions.json", "ground_truth.json")
        >>> round(metrics.overall["box"].nAP50)
        100
    """
    path, folder = as_path(predictions, "predictions"), as_path(images, "images", optional=True)
    truth_path, file = as_path(ground_truth, "ground_truth"), as_path(out, "out", optional=True)
    truth = read_coco(truth_path, folder, crowds_are_objects=crowds_are_objects)
    results, notes = _folder_results(path, truth, match_by_name) if path.is_dir() else (_file_results(path), [])
    category_ids = None
    if categories is not None:
        category_ids = [category.id for category in select_categories(truth.categories, categories)]
    metrics = evaluate_instances(truth, results, category_ids=category_ids, engine=engine)
    if drawings is not None:
        notes += write_drawings(
            truth,
            results,
            as_path(drawings, "drawings"),
            ground_truth=truth_path,
            images=folder,
            labeled=_labeled_images(path),
            category_ids=category_ids,
        )
    notes += _notes_on_crowds(truth)
    metrics = replace(metrics, notes=(*notes, *metrics.notes), parameters=(IMAGES, _CROWDS_ARE_OBJECTS))
    if file is not None:
        content = metrics.to_json(_seconds_per_image(path) if path.is_dir() else None)
        write_json(file, content | {"ground_truth": str(ground_truth)})
    return metrics


def _labeled_images(path: Path) -> Path | None:
    """Return the folder that was labeled, where its results say it."""
    try:
        run = read_run(path) if (path / "run.json").is_file() else None
    except InputError:  # of a damaged run.json only the drawings would need it
        return None
    return None if run is None else Path(run["settings"]["images"])


def _notes_on_crowds(truth: CocoDataset) -> list[str]:
    crowds = sum(annotation.is_crowd for annotation in truth.annotations)
    if not crowds:
        return []
    return [
        f"{crowds} of {counted(len(truth.annotations), 'annotation')} are marked as crowds (iscrowd 1) and not scored. "
        f"CVAT and Datumaro mark every brush and SAM mask so: {_CROWDS_ARE_OBJECTS} scores them."
    ]


def metrics_file(predictions: Path) -> Path:
    """Return where the metrics of predictions go.

    They go beside them, and never over those that a run wrote itself.
    """
    if not predictions.is_dir():
        return predictions.with_name(f"{predictions.stem}_metrics.json")
    usual = predictions / "metrics.json"
    return usual if not usual.is_file() or _is_of_an_evaluation(usual) else predictions / "evaluation_metrics.json"


def _is_of_an_evaluation(metrics: Path) -> bool:
    """Return whether metrics were written by an evaluation; what cannot be read may be a run's."""
    try:
        content = read_json(metrics)
    except InputError:
        return False
    return isinstance(content, dict) and "ground_truth" in content


def _file_results(path: Path) -> list[dict[str, Any]]:
    """Return a results file's entries. Raises InputError where it is an annotation file."""
    if path.name == "annotations.json" and (path.parent / "predictions.json").is_file():
        raise InputError(
            f"{path} holds the annotations drawn, not all that was found with its scores. Evaluate the folder: "
            f"{path.parent}."
        )
    return read_results(path)


def _folder_results(folder: Path, truth: CocoDataset, match_by_name: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the folder's predictions under the ground truth's ids (it numbers images by itself), and notes."""
    annotations = folder / "annotations.json"
    if not annotations.is_file():
        file = folder / "predictions.json"
        instead = (
            f"Give its results file: {file}." if file.is_file() else "Give a results folder, or a COCO results file."
        )
        raise InputFileNotFoundError(f"{folder} holds no annotations.json. {instead}")
    labeled = read_coco(annotations)
    image_ids = match_images(labeled.images, truth.images)
    notes = []
    missing, extra = len(truth.images) - len(image_ids), len(labeled.images) - len(image_ids)
    if missing:
        total = counted(len(truth.images), "image")
        notes.append(f"{missing} of {total} of the ground truth are not labeled: all in them counts as missed.")
    if extra:
        notes.append(f"{counted(extra, 'labeled image')} not in {truth.name}: left out.")
    category_ids = match_categories(labeled.categories, truth.categories, by_name=match_by_name)
    return translate(read_results(folder / "predictions.json"), image_ids, category_ids), notes


def _seconds_per_image(folder: Path) -> float | None:
    """Return the time that labeling took, where the folder's ``run.json`` has it."""
    file = folder / "run.json"
    if not file.is_file():
        return None
    try:
        seconds = read_json(file)["timings"].get("seconds_per_image")
    except (InputError, KeyError, TypeError, AttributeError):
        logger.warning("%s is damaged: the metrics do not say how long labeling took.", file)
        return None
    return float(seconds) if is_number(seconds) else None
