"""PASCAL VOC few-shot detection.

References come from 2007 and 2012 trainval; the 2007 test images are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from no_time_to_train.benchmarks import samplers
from no_time_to_train.benchmarks.benchmark import (
    AnnotatedImages,
    Benchmark,
    RequiredData,
    categories_named,
    prepare_advice,
)
from no_time_to_train.benchmarks.sampling import dataset_of_annotations
from no_time_to_train.config import BenchConfig
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.downloads import Download
from no_time_to_train.data.voc import read_image_list, read_voc
from no_time_to_train.errors import InputError
from no_time_to_train.structures import Category

CATEGORIES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
NOVEL_CATEGORIES = {
    1: ("bird", "bus", "cow", "motorbike", "sofa"),
    2: ("aeroplane", "bottle", "cow", "horse", "sofa"),
    3: ("boat", "cat", "motorbike", "sheep", "sofa"),
}
"""By split."""

_FOLDER = "pascal_voc"
_LICENSE = "Flickr's terms, for research"
_OXFORD = "http://host.robots.ox.ac.uk/pascal/VOC"
_MIRROR = "http://pjreddie.com/media/files"
_TRAIN = (("VOC2007", "trainval"), ("VOC2012", "trainval"))
_TEST = (("VOC2007", "test"),)


def _archive(what: str, year: int, file_name: str, num_bytes: int, sha256: str, *provides: str) -> RequiredData:
    return RequiredData(
        what=what,
        provides=tuple(f"{_FOLDER}/VOCdevkit/VOC{year}/{path}" for path in provides),
        license=_LICENSE,
        download=Download((f"{_OXFORD}/voc{year}/{file_name}", f"{_MIRROR}/{file_name}"), num_bytes, sha256=sha256),
        unpack_into=_FOLDER,
    )


_REQUIRED = (
    _archive(
        "VOC 2007 training and validation",
        2007,
        "VOCtrainval_06-Nov-2007.tar",
        460_032_000,
        "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508",
        "ImageSets/Main/trainval.txt",
    ),
    _archive(
        "VOC 2007 test",
        2007,
        "VOCtest_06-Nov-2007.tar",
        451_020_800,
        "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892",
        "ImageSets/Main/test.txt",
    ),
    _archive(
        "VOC 2012 training and validation",
        2012,
        "VOCtrainval_11-May-2012.tar",
        1_999_639_040,
        "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        "ImageSets/Main/trainval.txt",
    ),
)
_TFA_LISTS = RequiredData(
    what="TFA's lists of references (benchmark.sampler=tfa)",
    provides=(f"{_FOLDER}/vocsplit",),
    license="Apache-2.0",
    instructions="copy datasets/vocsplit of github.com/ucbdrive/few-shot-object-detection (or data/vocsplit of "
    "github.com/bingykang/Fewshot_Detection, which has seed 0 only)",
    size="1 MB",
)


def _required(config: BenchConfig) -> tuple[RequiredData, ...]:
    return (*_REQUIRED, _TFA_LISTS) if config.benchmark.sampler == "tfa" else _REQUIRED


def _images(config: BenchConfig, what: str, image_sets: tuple[tuple[str, str], ...]) -> AnnotatedImages:
    devkit = Path(config.benchmark.root) / _FOLDER / "VOCdevkit"
    lists = [devkit / folder / "ImageSets" / "Main" / f"{name}.txt" for folder, name in image_sets]
    return AnnotatedImages(
        what=what,
        annotations=next((path for path in lists if not path.is_file()), lists[0]),
        images=devkit,
        reader=partial(
            read_voc, devkit, image_sets, category_names=CATEGORIES, box_convention=config.output.box_convention
        ),
        advice=prepare_advice("pascal_voc"),
    )


def _categories(config: BenchConfig, truth: CocoDataset, train: AnnotatedImages) -> tuple[Category, ...]:
    split = config.benchmark.split
    return categories_named(truth, NOVEL_CATEGORIES[split], f"benchmark.split={split}")


def _tfa(train: AnnotatedImages, names: Sequence[str], config: BenchConfig) -> CocoDataset:
    """Return the references of TFA (arXiv 2003.06957): objects of the images in its lists.

    Seed 0 are the lists of Kang et al.

    Where the listed images hold more than ``shots`` objects, TFA takes any (unseeded); here the first, in the order of
    the list, then of the annotations. Difficult objects are used as any other, as TFA does.
    """
    dataset = train.dataset
    image_ids = {PurePosixPath(image.file_name).stem: image.id for image in dataset.images}
    annotations = []
    for category in categories_named(dataset, names, f"benchmark.split={config.benchmark.split}"):
        path = _tfa_list(config, category.name)
        stems = [PurePosixPath(line.replace("\\", "/")).stem for line in read_image_list(path)]
        unknown = [stem for stem in stems if stem not in image_ids]
        if unknown:
            raise InputError(f"{path} names images that are not in {dataset.name}: {', '.join(unknown[:5])}.")
        objects = [
            annotation
            for stem in dict.fromkeys(stems)
            for annotation in dataset.annotations_by_image[image_ids[stem]]
            if annotation.category_id == category.id
        ]
        annotations += [replace(annotation, is_crowd=False) for annotation in objects[: config.shots]]
    return dataset_of_annotations(dataset, annotations, [c for c in dataset.categories if c.name in names])


def _tfa_list(config: BenchConfig, category_name: str) -> Path:
    return samplers.tfa_file(
        Path(config.benchmark.root) / _FOLDER / "vocsplit",
        f"box_{config.shots}shot_{category_name}_train.txt",
        config,
        known="shots 1, 2, 3, 5, 10 and seeds 0 (those of Kang et al.) to 29",
        instructions=_TFA_LISTS.instructions,
    )


BENCHMARK = Benchmark(
    name="pascal_voc",
    description="PASCAL VOC few-shot detection, 5 novel classes in each of 3 splits",
    train=lambda config: _images(config, "VOC training images", _TRAIN),
    test=lambda config: _images(config, "VOC test images", _TEST),
    samplers={"paper": samplers.paper, "tfa": _tfa},
    requires=_required,
    categories=_categories,
    part=("split", (1, 2, 3)),
    variants=(("benchmark.sampler", "tfa"),),
    evaluator="voc",
)
