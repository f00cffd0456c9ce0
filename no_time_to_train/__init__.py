"""No Time To Train: a few annotated images in, labeled instance masks on all the others out, with no training.

Names are imported on first use, so that ``import no_time_to_train`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from no_time_to_train.build import build_segmenter, compose_config, load_segmenter
    from no_time_to_train.config import Config
    from no_time_to_train.data.images import read_image
    from no_time_to_train.errors import InputError, NoTimeToTrainError
    from no_time_to_train.evaluation.instance_ap import evaluate_instances
    from no_time_to_train.models.prompting import PromptedMasks
    from no_time_to_train.outputs.drawing import draw_detections
    from no_time_to_train.proposals.automatic_masks import AutomaticMasks
    from no_time_to_train.references.loading import load_references
    from no_time_to_train.references.memory_bank import MemoryBank
    from no_time_to_train.runs.progress import RunProgress
    from no_time_to_train.segmenter import Segmenter
    from no_time_to_train.structures import Category, Detections, ReferenceInstance, ReferenceSet
    from no_time_to_train.tasks.bench import BenchReport, run_benchmark
    from no_time_to_train.tasks.check_references import CheckedReference, ReferenceReport, check_references
    from no_time_to_train.tasks.compare_proposals import ProposalComparison, SourceResult, compare_proposals
    from no_time_to_train.tasks.data import DataRow, list_data, prepare_data, verify_data
    from no_time_to_train.tasks.doctor import Check, doctor
    from no_time_to_train.tasks.evaluate import evaluate
    from no_time_to_train.tasks.export import export_dataset
    from no_time_to_train.tasks.fit import fit
    from no_time_to_train.tasks.label import label_folder
    from no_time_to_train.tasks.propose import propose_folder
    from no_time_to_train.tasks.report import RunsReport, report
    from no_time_to_train.tasks.track import track_video
    from no_time_to_train.tracking.tracker import segment_video

_HOME = {
    "AutomaticMasks": "proposals.automatic_masks",
    "BenchReport": "tasks.bench",
    "Category": "structures",
    "Check": "tasks.doctor",
    "CheckedReference": "tasks.check_references",
    "Config": "config",
    "DataRow": "tasks.data",
    "Detections": "structures",
    "InputError": "errors",
    "MemoryBank": "references.memory_bank",
    "NoTimeToTrainError": "errors",
    "PromptedMasks": "models.prompting",
    "ProposalComparison": "tasks.compare_proposals",
    "ReferenceInstance": "structures",
    "ReferenceReport": "tasks.check_references",
    "ReferenceSet": "structures",
    "RunProgress": "runs.progress",
    "RunsReport": "tasks.report",
    "Segmenter": "segmenter",
    "SourceResult": "tasks.compare_proposals",
    "build_segmenter": "build",
    "check_references": "tasks.check_references",
    "compare_proposals": "tasks.compare_proposals",
    "compose_config": "build",
    "doctor": "tasks.doctor",
    "draw_detections": "outputs.drawing",
    "evaluate": "tasks.evaluate",
    "evaluate_instances": "evaluation.instance_ap",
    "export_dataset": "tasks.export",
    "fit": "tasks.fit",
    "list_data": "tasks.data",
    "label_folder": "tasks.label",
    "load_references": "references.loading",
    "load_segmenter": "build",
    "propose_folder": "tasks.propose",
    "prepare_data": "tasks.data",
    "read_image": "data.images",
    "report": "tasks.report",
    "run_benchmark": "tasks.bench",
    "segment_video": "tracking.tracker",
    "verify_data": "tasks.data",
    "track_video": "tasks.track",
}

__all__ = [
    "AutomaticMasks",
    "BenchReport",
    "Category",
    "Check",
    "CheckedReference",
    "Config",
    "DataRow",
    "Detections",
    "InputError",
    "MemoryBank",
    "NoTimeToTrainError",
    "PromptedMasks",
    "ProposalComparison",
    "ReferenceInstance",
    "ReferenceReport",
    "ReferenceSet",
    "RunProgress",
    "RunsReport",
    "Segmenter",
    "SourceResult",
    "__version__",
    "build_segmenter",
    "check_references",
    "compare_proposals",
    "compose_config",
    "doctor",
    "draw_detections",
    "evaluate",
    "evaluate_instances",
    "export_dataset",
    "fit",
    "list_data",
    "label_folder",
    "load_references",
    "load_segmenter",
    "propose_folder",
    "prepare_data",
    "read_image",
    "report",
    "run_benchmark",
    "segment_video",
    "verify_data",
    "track_video",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'no_time_to_train' has no attribute {name!r}")
    importlib.import_module("no_time_to_train.models.threads").prepare_threads()
    try:
        value = getattr(importlib.import_module(f"no_time_to_train.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        from no_time_to_train.errors import missing_package

        raise missing_package(error) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
