"""Ways to draw references that several benchmarks share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from no_time_to_train.benchmarks.benchmark import AnnotatedImages, categories_named
from no_time_to_train.benchmarks.sampling import dataset_of_annotations, sample_references, sampled_dataset
from no_time_to_train.config import BenchConfig
from no_time_to_train.data.coco import CocoAnnotation, CocoDataset
from no_time_to_train.errors import InputFileNotFoundError


def paper(train: AnnotatedImages, names: Sequence[str], config: BenchConfig) -> CocoDataset:
    """Draw ``shots`` references per category as the published sampler does.

    See ``data.sampling``; ``seed`` decides which.
    """
    dataset = train.dataset
    categories_named(dataset, names, f"benchmark={config.benchmark.name}")
    return sampled_dataset(dataset, sample_references(dataset, config.shots, config.seed, names))


def filled_up(train: AnnotatedImages, names: Sequence[str], config: BenchConfig) -> CocoDataset:
    """Draw as published, then fill up categories with too few references.

    Only valid references count.

    For data sets of small or crowded objects, such as NEU-DET at 5 shots. Not comparable with published draws.
    """
    dataset = train.dataset
    categories_named(dataset, names, f"benchmark={config.benchmark.name}")
    return sampled_dataset(dataset, sample_references(dataset, config.shots, config.seed, names, fill_up=True))


def everything(train: AnnotatedImages, names: Sequence[str], config: BenchConfig) -> CocoDataset:
    """Take every annotation of these categories.

    ``shots`` and ``seed`` play no part.
    """
    return _all_of(train.dataset, _usable(train.dataset, names, config))


def as_it_is_or_paper(train: AnnotatedImages, names: Sequence[str], config: BenchConfig) -> CocoDataset:
    """Take a drawn file as it is, or draw as ``paper`` does.

    A drawn file (one of an earlier run) has exactly ``shots`` references of every category.
    """
    usable = _usable(train.dataset, names, config)
    if all(len(annotations) == config.shots for annotations in usable.values()):
        return _all_of(train.dataset, usable)
    return paper(train, names, config)


def tfa_file(folder: Path, file_name: str, config: BenchConfig, *, known: str, instructions: str) -> Path:
    """Return a references file of TFA (arXiv 2003.06957).

    It has a folder for every seed but 0.

    Args:
        folder: of seed 0.
        file_name: below the seed's folder.
        config: of the run.
        known: shots and seeds that there are, for messages.
        instructions: how to get the files, for messages.

    Raises:
        InputFileNotFoundError: there is no such file.
    """
    path = (folder if config.seed == 0 else folder / f"seed{config.seed}") / file_name
    if not path.is_file():
        raise InputFileNotFoundError(
            f"{path} is missing. TFA's files are for {known}, got shots={config.shots} seed={config.seed}. To get them "
            f"{instructions} to {folder.resolve()}."
        )
    return path


def _usable(dataset: CocoDataset, names: Sequence[str], config: BenchConfig) -> dict[int, list[CocoAnnotation]]:
    """Return the annotations that can be references, by category id."""
    categories = categories_named(dataset, names, f"benchmark={config.benchmark.name}")
    usable: dict[int, list[CocoAnnotation]] = {category.id: [] for category in categories}
    for annotation in dataset.annotations:
        if annotation.category_id in usable and not annotation.is_crowd:
            usable[annotation.category_id].append(annotation)
    return usable


def _all_of(dataset: CocoDataset, usable: dict[int, list[CocoAnnotation]]) -> CocoDataset:
    categories = [category for category in dataset.categories if category.id in usable]
    annotations = [annotation for annotations in usable.values() for annotation in annotations]
    return dataset_of_annotations(dataset, annotations, categories)
