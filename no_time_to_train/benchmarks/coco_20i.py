"""COCO-20i: the 80 COCO classes in four folds.

References come from train2017; all of val2017 is scored as semantic maps.
"""

from __future__ import annotations

from no_time_to_train.benchmarks import coco_2017, samplers
from no_time_to_train.benchmarks.benchmark import AnnotatedImages, Benchmark, RequiredData, categories_named
from no_time_to_train.config import BenchConfig
from no_time_to_train.data.coco import CocoDataset
from no_time_to_train.data.downloads import Download
from no_time_to_train.structures import Category

_NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
)
COCO_CATEGORIES = tuple(_NAMES.split(", "))
"""In the order of their ids."""

FOLDS = tuple(COCO_CATEGORIES[fold::4] for fold in range(4))
"""The 20 classes of each fold: every fourth, as in PFENet, HSNet and Matcher (not the older blocks of 20)."""


def fold_categories(fold: int) -> tuple[str, ...]:
    """Return the class names of fold 0..3, by ascending id."""
    return FOLDS[fold]


EPISODES_FOLDER = "COCO2014"
"""Below ``benchmark.root``: ``val2014/*.jpg``, ``annotations/val2014/*.png``, ``splits/val/fold{0..3}.pkl``."""

_EPISODES_REQUIRED = (
    RequiredData(
        what="COCO 2014 validation images (evaluator.name=episodes)",
        provides=(f"{EPISODES_FOLDER}/val2014",),
        license=coco_2017.LICENSE,
        download=Download(
            (f"{coco_2017.HOST}/zips/val2014.zip",),
            num_bytes=6_645_013_297,
            sha256="fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
        ),
        unpack_into=EPISODES_FOLDER,
    ),
    RequiredData(
        what="masks of COCO 2014 (evaluator.name=episodes)",
        provides=(f"{EPISODES_FOLDER}/annotations/val2014",),
        license=coco_2017.LICENSE,
        instructions="unpack drive.google.com/file/d/1PNw4U3T2MhzAEBWGGgceXvYU3cZ7mJL1",
    ),
    RequiredData(
        what="splits of COCO-20i (evaluator.name=episodes)",
        provides=tuple(f"{EPISODES_FOLDER}/splits/val/fold{fold}.pkl" for fold in range(4)),
        license="see its source",
        instructions="copy datasets/COCO2014/splits of github.com/aim-uofa/Matcher",
    ),
)


def _required(config: BenchConfig) -> tuple[RequiredData, ...]:
    return _EPISODES_REQUIRED if config.evaluator.name == "episodes" else coco_2017.REQUIRED


def _categories(config: BenchConfig, truth: CocoDataset, train: AnnotatedImages) -> tuple[Category, ...]:
    fold = config.benchmark.fold
    return categories_named(truth, fold_categories(fold), f"benchmark.fold={fold}")


BENCHMARK = Benchmark(
    name="coco_20i",
    description="COCO-20i few-shot segmentation, 20 classes in each of 4 folds",
    train=coco_2017.train,
    test=coco_2017.val,
    samplers={"paper": samplers.paper},
    requires=_required,
    categories=_categories,
    part=("fold", (0, 1, 2, 3)),
    variants=(("evaluator.name", "episodes"),),
    evaluator="semantic",
)
