"""Run the bundled models on the bundled benchmark: ``nttt demo``.

It goes from drawing references to AP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train import build
from no_time_to_train.benchmarks.registry import load_task
from no_time_to_train.config import BenchConfig, BenchmarkConfig, Config
from no_time_to_train.data.coco import write_coco
from no_time_to_train.data.coco_results import read_results
from no_time_to_train.evaluation.instance_ap import InstanceMetrics, evaluate_instances
from no_time_to_train.files.formats import write_jpeg, write_json
from no_time_to_train.outputs.drawing import image_sheet
from no_time_to_train.outputs.result_folder import overlay_name
from no_time_to_train.runs.progress import OnProgress, tell_nobody
from no_time_to_train.structures import TargetImage
from no_time_to_train.tasks.label import label_targets, open_run
from no_time_to_train.tasks.memory_source import MemorySource
from no_time_to_train.tasks.threshold_choice import ThresholdChoice

_SHEET_IMAGES = 12
_SHEET_COLUMNS = 4


@dataclass(frozen=True)
class DemoReport:
    """Measurements of ``run_demo``.

    Attributes:
        out: the results folder, with ``metrics.json``, ``sheet.jpg`` and ``index.html``.
        metrics: AP over the test images.
    """

    out: Path
    metrics: InstanceMetrics


def run_demo(
    out: str | Path = "nttt_demo",
    *,
    shots: int = 10,
    seed: int = 33,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    on_progress: OnProgress = tell_nobody,
    command: Sequence[str] = (),
) -> DemoReport:
    """Draw references, label the test images and evaluate.

    Args:
        out: results folder; continued where it holds a part of the results already.
        shots: references per category.
        seed: of their drawing (the paper's sampler).
        limit: only the first test images.
        overrides: settings as ``"key=value"``; ``preset=demo`` where they name no other one.
        overwrite: begin anew where ``out`` holds other results.
        on_progress: is told how far the run is.
        command: what continues the run, for ``run.json``.

    Raises:
        InputError: the folder holds other results, or there are fewer references than asked for.
        RunInterrupted: Ctrl-C; the folder holds what was done and can be continued.
    """
    out = Path(out)
    has_preset = any(override.split("=")[0] == "preset" for override in overrides)
    config = build.compose_config([*([] if has_preset else ["preset=demo"]), *overrides])
    benchmark = BenchmarkConfig(name="demo", limit=limit)
    task = load_task(BenchConfig(benchmark=benchmark, shots=shots, seed=seed))
    source = MemorySource.from_references(task.references)
    images = task.targets[0].path.parent
    with open_run(out, images, source, config, command=command, overwrite=overwrite, on_progress=on_progress) as run:
        run.details |= {"shots": shots, "seed": seed}
        label_targets(run, task.targets, source, config, _unmeasured(config))
        write_coco(task.reference_dataset, out / "references.json")
        metrics = evaluate_instances(task.ground_truth, read_results(out / "predictions.json"))
        seconds = run.details.get("timings", {}).get("seconds_per_image")
        write_json(out / "metrics.json", metrics.to_json(seconds))
        _write_sheet(out, task.targets)
    return DemoReport(out, metrics)


def _unmeasured(config: Config) -> ThresholdChoice:
    """Draw by the setting: measuring thresholds on all references would take as long as the demo itself."""
    return ThresholdChoice(config.output.draw_min_score, config.output.draw_min_score, "output.draw_min_score")


def _write_sheet(out: Path, targets: Sequence[TargetImage]) -> None:
    overlays = [out / "overlays" / overlay_name(target.file_name) for target in targets[:_SHEET_IMAGES]]
    write_jpeg(out / "sheet.jpg", image_sheet([np.array(Image.open(path)) for path in overlays], _SHEET_COLUMNS))
