"""The COCO 2017 images and annotations, which several benchmarks use."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.benchmarks.benchmark import AnnotatedImages, RequiredData, prepare_advice
from no_time_to_train.config import BenchConfig
from no_time_to_train.data.downloads import Download

LICENSE = "CC BY 4.0, images Flickr's"
HOST = "http://images.cocodataset.org"

TRAIN_IMAGES = RequiredData(
    what="COCO 2017 training images",
    provides=("coco/train2017",),
    license=LICENSE,
    download=Download(
        (f"{HOST}/zips/train2017.zip",),
        num_bytes=19_336_861_798,
        sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    unpack_into="coco",
)
VAL_IMAGES = RequiredData(
    what="COCO 2017 validation images",
    provides=("coco/val2017",),
    license=LICENSE,
    download=Download(
        (f"{HOST}/zips/val2017.zip",),
        num_bytes=815_585_330,
        sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
    unpack_into="coco",
)
ANNOTATIONS = RequiredData(
    what="COCO 2017 annotations",
    provides=("coco/annotations/instances_train2017.json", "coco/annotations/instances_val2017.json"),
    license=LICENSE,
    download=Download(
        (f"{HOST}/annotations/annotations_trainval2017.zip",),
        num_bytes=252_907_541,
        sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    ),
    unpack_into="coco",
)
REQUIRED = (ANNOTATIONS, TRAIN_IMAGES, VAL_IMAGES)


def train(config: BenchConfig) -> AnnotatedImages:
    """Return the training images, train2017."""
    return _images(config, "train2017", "training images")


def val(config: BenchConfig) -> AnnotatedImages:
    """Return the validation images, val2017."""
    return _images(config, "val2017", "validation images")


def _images(config: BenchConfig, split: str, what: str) -> AnnotatedImages:
    folder = Path(config.benchmark.root) / "coco"
    return AnnotatedImages(
        what=f"COCO {what}",
        annotations=folder / "annotations" / f"instances_{split}.json",
        images=folder / split,
        advice=prepare_advice(config.benchmark.name),
    )
