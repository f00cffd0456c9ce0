"""``nttt demo``: the bundled models on the bundled benchmark, from drawing references to a table of AP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train import build
from no_time_to_train.benchmarks.registry import load_task
from no_time_to_train.config import BenchConfig, BenchmarkConfig
from no_time_to_train.data.coco import write_coco
from no_time_to_train.data.coco_results import read_results
from no_time_to_train.evaluation.instance_ap import InstanceMetrics, evaluate_instances
from no_time_to_train.files.formats import write_jpeg, write_json
from no_time_to_train.outputs.drawing import picture_sheet
from no_time_to_train.reports.metrics_table import describe_metrics
from no_time_to_train.runs.run_state import read_run
from no_time_to_train.structures import TargetImage
from no_time_to_train.tasks.labeling import LabellingJob, label_into_folder
from no_time_to_train.tasks.memory_source import MemorySource

_SHEET_PICTURES = 12
_SHEET_COLUMNS = 4


@dataclass(frozen=True)
class DemoOptions:
    """The command line of ``nttt demo``.

    Attributes:
        out: results folder.
        shots: references per category.
        seed: of their drawing (the paper's sampler).
        limit: label only the first test images.
        overrides: ``key=value`` settings.
        overwrite, command: see ``LabellingJob``.
    """

    out: Path
    shots: int
    seed: int
    limit: int | None
    overrides: Sequence[str]
    overwrite: bool
    command: Sequence[str]


def demo(options: DemoOptions) -> InstanceMetrics:
    """Draw references, label the test images, evaluate; print the table and where the pictures are."""
    has_preset = any(override.split("=")[0] == "preset" for override in options.overrides)
    config = build.compose_config([*([] if has_preset else ["preset=demo"]), *options.overrides])
    benchmark = BenchmarkConfig(name="demo", limit=options.limit)
    task = load_task(BenchConfig(benchmark=benchmark, shots=options.shots, seed=options.seed))
    job = LabellingJob(
        targets=task.targets,
        images_folder=task.targets[0].path.parent,
        source=MemorySource.from_references(task.references),
        config=config,
        out=options.out,
        command=options.command,
        overwrite=options.overwrite,
        details={"shots": options.shots, "seed": options.seed},
    )
    label_into_folder(job)
    write_coco(task.reference_dataset, options.out / "references.json")
    metrics = evaluate_instances(task.ground_truth, read_results(options.out / "predictions.json"))
    seconds = (read_run(options.out) or {}).get("timings", {}).get("seconds_per_image")
    write_json(options.out / "metrics.json", metrics.to_json(seconds))
    _write_sheet(options.out, task.targets)
    print()
    print(describe_metrics(metrics))
    print(f"\nPictures: {options.out / 'sheet.jpg'} and {options.out / 'index.html'}; numbers: metrics.json there.")
    return metrics


def _write_sheet(out: Path, targets: Sequence[TargetImage]) -> None:
    overlays = [out / "overlays" / target.file_name for target in targets[:_SHEET_PICTURES]]
    write_jpeg(out / "sheet.jpg", picture_sheet([np.array(Image.open(path)) for path in overlays], _SHEET_COLUMNS))
