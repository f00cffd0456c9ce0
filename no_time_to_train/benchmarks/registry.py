"""Every benchmark by name, and how settings become a run's task."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from no_time_to_train.benchmarks import cd_fsod, coco_20i, coco_fsod, custom, demo, lvis, pascal_voc, samplers
from no_time_to_train.benchmarks.benchmark import AnnotatedImages, Benchmark, Sampler
from no_time_to_train.benchmarks.task import BenchmarkTask
from no_time_to_train.config import BenchConfig, BenchmarkConfig
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.errors import InputError
from no_time_to_train.references.loading import references_from_coco
from no_time_to_train.structures import Category, ReferenceSet, TargetImage

logger = logging.getLogger(__name__)

BENCHMARKS: dict[str, Benchmark] = {
    module.BENCHMARK.name: module.BENCHMARK for module in (demo, coco_fsod, pascal_voc, cd_fsod, coco_20i, lvis, custom)
}


def load_task(config: BenchConfig) -> BenchmarkTask:
    """Read a benchmark's data and draw its references.

    Raises:
        InputFileNotFoundError: data are missing; the message says where they belong and how to get them.
        InputError: data are damaged, or the settings ask for references that there are not.
    """
    benchmark = BENCHMARKS[config.benchmark.name]
    sampler = _sampler(benchmark, config.benchmark)
    train, test = reference_source(config), benchmark.test(config)
    categories = benchmark.categories(config, test.dataset, train)
    truth = test.dataset.first_images(config.benchmark.limit)
    drawn = _with_ids_of(sampler(train, [category.name for category in categories], config), categories)
    reference_images = _reference_images(benchmark, config, train, drawn)
    target_images = test.images_folder([image.file_name for image in truth.images])
    upright = config.images.upright
    references = references_from_coco(drawn, reference_images, upright=upright)
    targets = tuple(
        TargetImage(target_images / image.file_name, image.file_name, image.id, image.size_hw, upright)
        for image in truth.images
    )
    _warn_of_overlap(references, targets)
    return BenchmarkTask(
        name=task_name(config.benchmark),
        references=references,
        reference_dataset=drawn,
        targets=targets,
        ground_truth=_restricted(truth, categories),
        evaluator=benchmark.evaluator,
        ground_truth_file=test.annotations if benchmark.evaluator == "lvis" else None,
    )


def task_name(settings: BenchmarkConfig) -> str:
    """Return the benchmark and its part, as ``pascal_voc/split=1``."""
    part = BENCHMARKS[settings.name].part
    return settings.name if part is None else f"{settings.name}/{part[0]}={getattr(settings, part[0])}"


def _sampler(benchmark: Benchmark, settings: BenchmarkConfig) -> Sampler:
    """Return a sampler of the benchmark. Raises InputError where it has none of the name."""
    if settings.references is None:
        known = {**benchmark.samplers, "filled_up": samplers.filled_up}
    else:
        known = {
            "default": samplers.as_it_is_or_paper,
            "paper": benchmark.samplers.get("paper", samplers.paper),
            "filled_up": samplers.filled_up,
            "all": samplers.everything,
        }
    if settings.sampler == "default":
        return next(iter(known.values()))
    if settings.sampler not in known:
        having = "with" if settings.references else "without"
        raise InputError(
            f"benchmark.sampler={settings.sampler} is not for {benchmark.name} {having} benchmark.references. Use one "
            f"of: {', '.join(dict.fromkeys(['default', *known]))}."
        )
    return known[settings.sampler]


def reference_source(config: BenchConfig) -> AnnotatedImages:
    """Return the images that references are drawn from.

    These are the benchmark's own training images, or those of ``benchmark.references``.
    """
    settings = config.benchmark
    if settings.references is None:
        return BENCHMARKS[settings.name].train(config)
    return AnnotatedImages(
        what="reference images",
        annotations=Path(settings.references),
        images=None if settings.reference_images is None else Path(settings.reference_images),
        advice="benchmark.references must be a COCO file, benchmark.reference_images the folder its names start from.",
        images_setting="benchmark.reference_images",
    )


def _reference_images(benchmark: Benchmark, config: BenchConfig, train: AnnotatedImages, drawn: CocoDataset) -> Path:
    """Return the folder of the drawn images.

    File names of an earlier run's references are the benchmark's own.
    """
    file_names = [image.file_name for image in drawn.images]
    if config.benchmark.references is not None and train.images is None and benchmark.name != custom.BENCHMARK.name:
        own = benchmark.train(config).images
        if own is not None and all((own / name).is_file() for name in file_names):
            return own
    return train.images_folder(file_names)


def _with_ids_of(drawn: CocoDataset, categories: tuple[Category, ...]) -> CocoDataset:
    """Return the drawn references under the ids that the test set gives to categories of the same names."""
    id_of = {category.name: category.id for category in categories}
    new_ids = {category.id: id_of[category.name] for category in drawn.categories if category.name in id_of}
    annotations = tuple(replace(a, category_id=new_ids[a.category_id]) for a in drawn.annotations)
    return replace(drawn, annotations=annotations, categories=categories)


def _warn_of_overlap(references: ReferenceSet, targets: Sequence[TargetImage]) -> None:
    shared = {reference.image_path for reference in references.instances} & {target.path for target in targets}
    if shared:
        logger.warning(
            "%d reference images are also target images (first: %s): the scores will be too good.",
            len(shared),
            min(shared),
        )


def _restricted(truth: CocoDataset, categories: tuple[Category, ...]) -> CocoDataset:
    """Keep only the scored categories; images without objects stay."""
    ids = {category.id for category in categories}
    annotations = tuple(annotation for annotation in truth.annotations if annotation.category_id in ids)
    return CocoDataset(truth.name, truth.images, annotations, categories)
