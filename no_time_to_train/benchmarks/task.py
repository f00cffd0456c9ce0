"""The inputs of one benchmark run, whatever the benchmark.

They are references, target images and ground truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.structures import ReferenceSet, TargetImage


@dataclass(frozen=True, eq=False)
class BenchmarkTask:
    """One row of a table: a benchmark, its part, shots and seed.

    Attributes:
        name: of the benchmark and its part, usable as a path: ``pascal_voc/split=1``.
        references: what the memory bank is built from.
        reference_dataset: the same as a data set, written as ``references.json``; feeding that file back gives the
            same references.
        targets: the images to label, in the order of the ground truth.
        ground_truth: what predictions are scored against, restricted to the scored categories (images without objects
            stay).
        evaluator: ``coco``, ``voc``, ``lvis`` or ``semantic``: what scores it by default.
        ground_truth_file: what ``ground_truth`` was read from, where an evaluator needs more of it (LVIS).
    """

    name: str
    references: ReferenceSet
    reference_dataset: CocoDataset
    targets: tuple[TargetImage, ...]
    ground_truth: CocoDataset
    evaluator: str = "coco"
    ground_truth_file: Path | None = None
