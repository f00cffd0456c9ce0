"""CD-FSOD: few-shot detection in six far domains, with its released references.

Benchmark: Fu et al., "Cross-Domain Few-Shot Object Detection via Enhanced Open-Set Object Detector" (ECCV 2024).
``cd_fsod_shots.json`` holds the image ids of all released references, and for UODD those of the annotations.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from no_time_to_train.benchmarks import samplers
from no_time_to_train.benchmarks.benchmark import (
    AnnotatedImages,
    Benchmark,
    RequiredData,
    all_categories,
    categories_named,
    prepare_advice,
)
from no_time_to_train.benchmarks.sampling import dataset_of_annotations
from no_time_to_train.config import BenchConfig, BenchmarkConfig
from no_time_to_train.data.cd_fsod import cd_fsod_annotations, read_annotations, read_cd_fsod
from no_time_to_train.data.coco import CocoAnnotation, CocoDataset
from no_time_to_train.errors import InputError

_FOLDER = "cd_fsod"
_RELEASED_SHOTS = (1, 5, 10)
_PADDING_SEED = 42
"""Of the published code, for classes with fewer released references than shots."""
_BUNDLE = (
    "from the benchmark's bundle (drive.google.com/drive/folders/16SDv_V7RDjTKDk8uodL2ubyubYTMdd5q, or "
    "pan.baidu.com/s/1MpTwmJQF6GtmnxauVUPNAw code ni5j)"
)


@dataclass(frozen=True)
class Domain:
    """One of the six data sets.

    Attributes:
        folder: its name in the bundle.
        other_folders: names it has elsewhere.
        also_called: other names of its categories.
        size, license: for people.
    """

    folder: str
    size: str
    license: str
    other_folders: tuple[str, ...] = ()
    also_called: dict[str, str] = field(default_factory=dict)


DOMAINS = {
    "artaxor": Domain("ArTaxOr", "13,991 + 1,383 images", "CC BY-NC-SA 4.0"),
    "clipart1k": Domain("clipart1k", "500 + 500 images", "for research", ("clipart",)),
    "dior": Domain("DIOR", "18,463 + 5,000 images", "for research"),
    "deepfish": Domain("FISH", "3,200 + 909 images", "see its source", ("DeepFish",)),
    "neu_det": Domain("NEU-DET", "1,800 images", "see its source", ("NEUDET",)),
    "uodd": Domain(
        "UODD",
        "2,688 + 506 images",
        "see its source",
        ("Underwater-object-detection-dataset", "Underwater-object-detection-dataset-master"),
        also_called={"0B": "seacucumber", "1B": "seaurchin", "2B": "scallop"},
    ),
}


def domain_categories(domain: str) -> tuple[str, ...]:
    """Return the names of a domain's classes, in the benchmark's order."""
    return tuple(_released_shots()["images"][domain]["1"])


@cache
def _released_shots() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("cd_fsod_shots.json").read_text(encoding="utf-8"))


def _folder(settings: BenchmarkConfig) -> Path:
    """Return the data set's folder under any of its names; the bundle's where there is none."""
    domain = DOMAINS[settings.domain]
    root = Path(settings.root) / _FOLDER
    present = {path.name.casefold(): path for path in sorted(root.iterdir())} if root.is_dir() else {}
    names = (domain.folder, *domain.other_folders, settings.domain)
    return next((present[name.casefold()] for name in names if name.casefold() in present), root / domain.folder)


def _required(config: BenchConfig) -> tuple[RequiredData, ...]:
    domain = DOMAINS[config.benchmark.domain]
    folder = _folder(config.benchmark)
    return (
        RequiredData(
            what=f"CD-FSOD {domain.folder} (domain={config.benchmark.domain})",
            provides=tuple(
                cd_fsod_annotations(folder, split).relative_to(config.benchmark.root).as_posix()
                for split in ("train", "test")
            ),
            license=domain.license,
            instructions=f"copy {domain.folder} with its folders annotations, train and test {_BUNDLE}",
            size=domain.size,
        ),
    )


def _images(config: BenchConfig, split: str) -> AnnotatedImages:
    settings = config.benchmark
    domain, folder = DOMAINS[settings.domain], _folder(settings)
    return AnnotatedImages(
        what=f"{domain.folder} {split} images",
        annotations=cd_fsod_annotations(folder, split),
        images=folder,
        reader=partial(
            read_cd_fsod,
            folder,
            split,
            domain_categories(settings.domain),
            domain.also_called,
            box_convention=config.output.box_convention,
        ),
        advice=prepare_advice(f"cd_fsod domain={settings.domain}"),
    )


def _released(train: AnnotatedImages, names: Sequence[str], config: BenchConfig) -> CocoDataset:
    """Return the released references.

    They come from ``annotations/<k>_shot.json`` where it is there, else by their known ids.

    An image that is listed m times gives its first m objects of the class, or with ``first_annotation_only`` the first
    one m times, as the published code has it. A class with fewer references than shots (one of clipart1k) gets some
    of them again, the published code's choice.
    """
    settings = config.benchmark
    if config.shots not in _RELEASED_SHOTS:
        raise InputError(
            f"shots={config.shots}: CD-FSOD released references for 1, 5 and 10 shots. Use one of these, or "
            "benchmark.sampler=paper for a drawing of your own."
        )
    folder, known = _folder(settings), _released_shots()
    if (folder / "annotations" / f"{config.shots}_shot.json").is_file():
        dataset = read_annotations(folder, f"{config.shots}_shot", names, DOMAINS[settings.domain].also_called)
        images, annotation_ids = _listed(dataset), {}
    else:
        dataset = train.dataset
        images = known["images"][settings.domain][str(config.shots)]
        annotation_ids = known["annotations"].get(settings.domain, {}).get(str(config.shots), {})
    padding = random.Random(_PADDING_SEED)
    chosen = []
    for category in categories_named(dataset, names, f"benchmark.domain={settings.domain}"):
        slots = images.get(category.name, [])
        found = _annotations_of_slots(
            dataset, category.id, slots, annotation_ids.get(category.name), settings.first_annotation_only
        )
        if not 0 < len(found) <= config.shots:
            raise InputError(
                f"{dataset.name} has {len(found)} references of '{category.name}' for {config.shots} shots."
            )
        chosen += found + padding.choices(found, k=config.shots - len(found))
    return dataset_of_annotations(dataset, chosen, dataset.categories)


def _listed(dataset: CocoDataset) -> dict[str, list[int | str]]:
    """Return the image of every annotation, by category name."""
    return {
        category.name: [a.image_id for a in dataset.annotations if a.category_id == category.id]
        for category in dataset.categories
    }


def _annotations_of_slots(
    dataset: CocoDataset,
    category_id: int,
    slots: Sequence[int | str],
    annotation_ids: Sequence[int] | None,
    first_only: bool,
) -> list[CocoAnnotation]:
    """Return one annotation per slot.

    It is found by its id where the data set has all of the image's, else it is the next of the image.
    """
    chosen = []
    for image_id, multiplicity in Counter(slots).items():
        candidates = [a for a in dataset.annotations_by_image.get(image_id, []) if a.category_id == category_id]
        wanted = [i for slot, i in zip(slots, annotation_ids or (), strict=False) if slot == image_id]
        by_id = {annotation.source_id: annotation for annotation in candidates}
        if wanted and all(i in by_id for i in wanted):
            candidates = [by_id[i] for i in wanted]
        if len(candidates) < (1 if first_only else multiplicity):
            raise InputError(
                f"{dataset.name}: image {image_id} of the released references has {len(candidates)} objects of "
                f"category {category_id} instead of {multiplicity}: this is not the released training set, whose ids "
                "these are. Use it, or benchmark.sampler=paper."
            )
        chosen += [candidates[0]] * multiplicity if first_only else candidates[:multiplicity]
    return chosen


BENCHMARK = Benchmark(
    name="cd_fsod",
    description="cross-domain few-shot detection, six data sets",
    train=lambda config: _images(config, "train"),
    test=lambda config: _images(config, "test"),
    samplers={"released": _released, "paper": samplers.paper},
    requires=_required,
    categories=all_categories,
    part=("domain", tuple(DOMAINS)),
)
