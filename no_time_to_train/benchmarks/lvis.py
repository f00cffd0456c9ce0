"""LVIS v1: 1,203 classes on COCO's images.

References come from its training set; its validation set is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from no_time_to_train.benchmarks import coco_2017
from no_time_to_train.benchmarks.benchmark import AnnotatedImages, Benchmark, RequiredData, prepare_advice
from no_time_to_train.benchmarks.sampling import sample_references, sampled_dataset
from no_time_to_train.config import BenchConfig
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.downloads import Download
from no_time_to_train.data.lvis import LvisDataset, read_lvis
from no_time_to_train.structures import Category

_HOST = "https://s3-us-west-2.amazonaws.com/dl.fbaipublicfiles.com/LVIS"


def _annotation_file(split: str, what: str) -> RequiredData:
    return RequiredData(
        what=f"LVIS v1 {what} annotations",
        provides=(f"lvis/lvis_v1_{split}.json",),
        license="CC BY 4.0",
        download=Download((f"{_HOST}/lvis_v1_{split}.json.zip",)),
        unpack_into="lvis",
        size="1.1 GB" if split == "train" else "200 MB",
    )


def _required(config: BenchConfig) -> tuple[RequiredData, ...]:
    annotations = (_annotation_file("train", "training"), _annotation_file("val", "validation"))
    return (*annotations, coco_2017.TRAIN_IMAGES, coco_2017.VAL_IMAGES)


def _images(config: BenchConfig, split: str, what: str) -> AnnotatedImages:
    """Both splits have images in both of COCO's folders."""
    root = Path(config.benchmark.root)
    annotations = root / "lvis" / f"lvis_v1_{split}.json"
    return AnnotatedImages(
        what=f"LVIS {what} images",
        annotations=annotations,
        images=root / "coco",
        reader=partial(read_lvis, annotations),
        advice=prepare_advice("lvis"),
    )


def _categories(config: BenchConfig, truth: CocoDataset, train: AnnotatedImages) -> tuple[Category, ...]:
    subset = config.benchmark.subset
    assert isinstance(truth, LvisDataset)
    return tuple(c for c in truth.categories if subset in ("all", truth.frequencies[c.name]))


def _paper(train: AnnotatedImages, names: Sequence[str], config: BenchConfig) -> CocoDataset:
    """Draw as published over all classes, and use those of the subset: the draw is the same for each.

    A class without a valid annotation uses its invalid ones, and one with too few uses them again.
    """
    dataset = train.dataset
    drawn = sample_references(dataset, config.shots, config.seed, allow_invalid=True, allow_duplicates=True)
    wanted_ids = {category.id for category in dataset.categories if category.name in names}
    return sampled_dataset(dataset, {i: drawn[i] for i in drawn if i in wanted_ids})


BENCHMARK = Benchmark(
    name="lvis",
    description="LVIS v1, 1,203 classes; rare, common or frequent ones alone",
    train=lambda config: _images(config, "train", "training"),
    test=lambda config: _images(config, "val", "validation"),
    samplers={"paper": _paper},
    requires=_required,
    categories=_categories,
    part=("subset", ("all", "rare", "common", "frequent")),
    evaluator="lvis",
)
