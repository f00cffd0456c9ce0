"""Any pair of COCO files: references and annotated target images."""

from __future__ import annotations

import logging
from pathlib import Path

from no_time_to_train.benchmarks import samplers
from no_time_to_train.benchmarks.benchmark import AnnotatedImages, Benchmark, categories_named
from no_time_to_train.config import BenchConfig
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.errors import InputError
from no_time_to_train.structures import Category

logger = logging.getLogger(__name__)


def _references(config: BenchConfig) -> AnnotatedImages:
    raise InputError("benchmark=custom needs benchmark.references=FILE, the COCO file to draw references from.")


def _targets(config: BenchConfig) -> AnnotatedImages:
    settings = config.benchmark
    if settings.annotations is None:
        raise InputError("benchmark=custom needs benchmark.annotations=FILE, the COCO file of the target images.")
    return AnnotatedImages(
        what="target images",
        annotations=Path(settings.annotations),
        images=None if settings.images is None else Path(settings.images),
        advice="benchmark.annotations must be a COCO file, benchmark.images the folder its file names start from.",
    )


def _categories(config: BenchConfig, truth: CocoDataset, train: AnnotatedImages) -> tuple[Category, ...]:
    """Return ``benchmark.categories``, or the target file's categories that have a reference."""
    names = config.benchmark.categories
    if names:
        return categories_named(truth, names, "benchmark.categories")
    with_reference = {a.category_id for a in train.dataset.annotations if not a.is_crowd}
    names = [category.name for category in train.dataset.categories if category.id in with_reference]
    shared = tuple(category for category in truth.categories if category.name in names)
    if not shared:
        raise InputError(
            f"{train.dataset.name} and {truth.name} share no category: references of {', '.join(names) or 'none'}; "
            f"targets list {', '.join(category.name for category in truth.categories) or 'none'}."
        )
    left_out = len({category.name for category in (*truth.categories, *train.dataset.categories)}) - len(shared)
    if left_out:
        logger.warning(
            "%d categories lack references or are not in %s; left out. benchmark.categories=[...] chooses.",
            left_out,
            truth.name,
        )
    return shared


BENCHMARK = Benchmark(
    name="custom",
    description="any two COCO files: benchmark.references, benchmark.annotations",
    train=_references,
    test=_targets,
    samplers={"paper": samplers.paper, "all": samplers.everything},
    requires=lambda config: (),
    categories=_categories,
)
