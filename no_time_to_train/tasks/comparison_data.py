"""Read the images that sources of masks are compared on.

Their objects and the references are read with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from no_time_to_train.benchmarks.benchmark import AnnotatedImages
from no_time_to_train.benchmarks.registry import load_task
from no_time_to_train.config import BenchConfig
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.errors import InputError
from no_time_to_train.structures import ReferenceSet, TargetImage


@dataclass(frozen=True, eq=False)
class ComparisonData:
    """Images, objects and references that sources are compared on.

    Attributes:
        targets: the images, in the order of the ground truth.
        ground_truth: their objects, with masks.
        references: None where only recall is asked for.
    """

    targets: Sequence[TargetImage]
    ground_truth: CocoDataset
    references: ReferenceSet | None

    @property
    def num_objects(self) -> int:
        """Count the objects, crowds left out."""
        return sum(not annotation.is_crowd for annotation in self.ground_truth.annotations)

    def first(self, num_images: int) -> ComparisonData:
        """Return the data of only the first images."""
        return replace(self, targets=self.targets[:num_images], ground_truth=self.ground_truth.first_images(num_images))


def load_comparison_data(
    config: BenchConfig,
    annotations: Path | None,
    images: Path | None,
    references: Path | None,
    reference_images: Path | None,
) -> ComparisonData:
    """Load the images, their annotations, and any references.

    Raises:
        InputFileNotFoundError: something is missing.
        InputError: objects without masks, or no object at all.
    """
    settings = config.benchmark
    if annotations is not None and references is None:
        data = _without_references(annotations, images, config)
    else:
        if annotations is not None:
            settings = replace(
                settings,
                name="custom",
                annotations=str(annotations),
                images=None if images is None else str(images),
                references=str(references),
                reference_images=None if reference_images is None else str(reference_images),
                sampler="all",
            )
        task = load_task(replace(config, benchmark=settings))
        data = ComparisonData(task.targets, task.ground_truth, task.references)
    _check_masks(data.ground_truth)
    return data


def _without_references(annotations: Path, images: Path | None, config: BenchConfig) -> ComparisonData:
    annotated = AnnotatedImages("target images", annotations, images, images_setting="images")
    truth = annotated.dataset.first_images(config.benchmark.limit)
    folder = annotated.images_folder([image.file_name for image in truth.images])
    upright = config.images.upright
    targets = [
        TargetImage(folder / image.file_name, image.file_name, image.id, upright=upright) for image in truth.images
    ]
    return ComparisonData(targets, truth, None)


def _check_masks(truth: CocoDataset) -> None:
    objects = [annotation for annotation in truth.annotations if not annotation.is_crowd]
    without = sum(not annotation.segmentation for annotation in objects)
    if not objects or without:
        problem = f"{without} of {len(objects)} objects have only a box" if objects else "it has no object"
        raise InputError(f"{truth.name}: {problem}. Proposals are masks and are compared with annotated masks.")
