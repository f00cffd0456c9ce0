"""``nttt eval``: AP of a labelled folder, or of any COCO results file, against ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from no_time_to_train.data.categories import select_categories
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.errors import InputFileNotFoundError
from no_time_to_train.evaluation.instance_ap import Engine, InstanceMetrics, evaluate_instances, read_results
from no_time_to_train.evaluation.name_matching import match_categories, match_images, translate
from no_time_to_train.files.formats import write_json
from no_time_to_train.reports.metrics_table import format_table
from no_time_to_train.runs.run_state import read_run


@dataclass(frozen=True)
class EvaluateOptions:
    """The command line of ``nttt eval``.

    Attributes:
        predictions: folder of ``nttt label``, or a COCO results file whose ids are the ground truth's.
        ground_truth: COCO file.
        ground_truth_images: its images folder, looked into only where the file gives no sizes.
        match_by_name: map category ids by name.
        category_names: evaluate only these, None: all.
        engine: what computes AP.
        markdown: print the table as Markdown.
    """

    predictions: Path
    ground_truth: Path
    ground_truth_images: Path | None = None
    match_by_name: bool = False
    category_names: tuple[str, ...] | None = None
    engine: Engine = "pycocotools"
    markdown: bool = False


def evaluate(options: EvaluateOptions) -> InstanceMetrics:
    """Print the table and write ``metrics.json`` beside the predictions."""
    truth = read_coco(options.ground_truth, options.ground_truth_images)
    if options.predictions.is_dir():
        results, folder = _folder_results(options, truth), options.predictions
        seconds = (read_run(folder) or {}).get("timings", {}).get("seconds_per_image")
    else:
        results, folder, seconds = read_results(options.predictions), options.predictions.parent, None
    metrics = evaluate_instances(
        truth, results, category_ids=_category_ids(truth, options.category_names), engine=options.engine
    )
    print_metrics(metrics, markdown=options.markdown)
    write_json(folder / "metrics.json", metrics.to_json(seconds))
    print(f"Written to {folder / 'metrics.json'}")
    return metrics


def print_metrics(metrics: InstanceMetrics, *, markdown: bool = False) -> None:
    """The table with what it is of, and what was skipped."""
    print(f"AP in per cent over {metrics.num_images} images with {metrics.num_objects} objects")
    print(format_table(metrics, markdown=markdown))
    for note in metrics.notes:
        print(f"Note: {note}")


def _folder_results(options: EvaluateOptions, truth: CocoDataset) -> list[dict[str, Any]]:
    """The folder's predictions under the ground truth's ids: the folder numbers images by itself."""
    annotations = options.predictions / "annotations.json"
    if not annotations.is_file():
        raise InputFileNotFoundError(
            f"{options.predictions} holds no annotations.json. Give a folder of nttt label, or a COCO results file."
        )
    labelled = read_coco(annotations)
    image_ids = match_images(labelled.images, truth.images)
    missing = len(truth.images) - len(image_ids)
    if missing:
        total = len(truth.images)
        print(f"Note: {missing} of {total} images of the ground truth are not labelled: all in them counts as missed.")
    extra = len(labelled.images) - len(image_ids)
    if extra:
        print(f"Note: {extra} labelled images are not in {options.ground_truth}; left out.")
    category_ids = match_categories(labelled.categories, truth.categories, by_name=options.match_by_name)
    return translate(read_results(options.predictions / "predictions.json"), image_ids, category_ids)


def _category_ids(truth: CocoDataset, names: tuple[str, ...] | None) -> list[int] | None:
    return None if names is None else [category.id for category in select_categories(truth.categories, names)]
