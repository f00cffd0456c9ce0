"""COCO few-shot detection of the 20 novel classes.

References come from train2017; all of val2017 is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from no_time_to_train.benchmarks import coco_2017, samplers
from no_time_to_train.benchmarks.benchmark import AnnotatedImages, Benchmark, RequiredData, categories_named
from no_time_to_train.benchmarks.sampling import dataset_of_annotations
from no_time_to_train.config import BenchConfig
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.data.combining import combine, with_file_names
from no_time_to_train.structures import Category

NOVEL_CATEGORIES = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "boat",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "bottle",
    "chair",
    "couch",
    "potted plant",
    "dining table",
    "tv",
)
"""The classes that COCO shares with PASCAL VOC."""


_TFA_FILES = RequiredData(
    what="TFA's references (benchmark.sampler=tfa)",
    provides=("coco/cocosplit",),
    license="CC BY 4.0",
    instructions="copy the folder http://dl.yf.io/fs-det/datasets/cocosplit/",
    size="a few MB per seed",
)


def _required(config: BenchConfig) -> tuple[RequiredData, ...]:
    return (*coco_2017.REQUIRED, _TFA_FILES) if config.benchmark.sampler == "tfa" else coco_2017.REQUIRED


def _categories(config: BenchConfig, truth: CocoDataset, train: AnnotatedImages) -> tuple[Category, ...]:
    return categories_named(truth, NOVEL_CATEGORIES, "benchmark=coco_fsod")


def _tfa(train: AnnotatedImages, names: Sequence[str], config: BenchConfig) -> CocoDataset:
    """Return the references of TFA (arXiv 2003.06957), a COCO file per class.

    Seed 0 are those of earlier work.

    They were drawn from COCO 2014; the images are the 2017 ones of the same id. Of a file with more than ``shots``
    objects the first are used.
    """
    parts = [_first_of(read_coco(_tfa_file(config, name)), name, config.shots) for name in names]
    return with_file_names(combine(parts), lambda image: f"{int(image.id):012d}.jpg")


def _first_of(dataset: CocoDataset, name: str, shots: int) -> CocoDataset:
    [category] = categories_named(dataset, [name], "its name")
    annotations = [a for a in dataset.annotations if a.category_id == category.id and not a.is_crowd]
    return dataset_of_annotations(dataset, annotations[:shots], dataset.categories)


def _tfa_file(config: BenchConfig, category_name: str) -> Path:
    return samplers.tfa_file(
        Path(config.benchmark.root) / "coco" / "cocosplit",
        f"full_box_{config.shots}shot_{category_name}_trainval.json",
        config,
        known="shots 1, 2, 3, 5, 10, 30 and seeds 0 to 9",
        instructions=_TFA_FILES.instructions,
    )


BENCHMARK = Benchmark(
    name="coco_fsod",
    description="COCO few-shot detection, 20 novel classes",
    train=coco_2017.train,
    test=coco_2017.val,
    samplers={"paper": samplers.paper, "tfa": _tfa},
    requires=_required,
    categories=_categories,
    variants=(("benchmark.sampler", "tfa"),),
)
