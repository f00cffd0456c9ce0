"""No Time To Train: a few annotated pictures in, labelled instance masks on all the others out, with no training.

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
    from no_time_to_train.tasks.check_references import CheckedReference, ReferenceReport, check_references
    from no_time_to_train.tasks.evaluate import evaluate
    from no_time_to_train.tasks.fit import fit
    from no_time_to_train.tasks.propose import propose_folder
    from no_time_to_train.tracking.tracker import segment_video

_HOME = {
    "AutomaticMasks": "proposals.automatic_masks",
    "Category": "structures",
    "CheckedReference": "tasks.check_references",
    "Config": "config",
    "Detections": "structures",
    "InputError": "errors",
    "MemoryBank": "references.memory_bank",
    "NoTimeToTrainError": "errors",
    "PromptedMasks": "models.prompting",
    "ReferenceInstance": "structures",
    "ReferenceReport": "tasks.check_references",
    "ReferenceSet": "structures",
    "RunProgress": "runs.progress",
    "Segmenter": "segmenter",
    "build_segmenter": "build",
    "check_references": "tasks.check_references",
    "compose_config": "build",
    "draw_detections": "outputs.drawing",
    "evaluate": "tasks.evaluate",
    "evaluate_instances": "evaluation.instance_ap",
    "fit": "tasks.fit",
    "load_references": "references.loading",
    "load_segmenter": "build",
    "propose_folder": "tasks.propose",
    "read_image": "data.images",
    "segment_video": "tracking.tracker",
}

__all__ = [
    "AutomaticMasks",
    "Category",
    "CheckedReference",
    "Config",
    "Detections",
    "InputError",
    "MemoryBank",
    "NoTimeToTrainError",
    "PromptedMasks",
    "ReferenceInstance",
    "ReferenceReport",
    "ReferenceSet",
    "RunProgress",
    "Segmenter",
    "__version__",
    "build_segmenter",
    "check_references",
    "compose_config",
    "draw_detections",
    "evaluate",
    "evaluate_instances",
    "fit",
    "load_references",
    "load_segmenter",
    "propose_folder",
    "read_image",
    "segment_video",
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
