"""A benchmark of a few blurred pictures, and the real stages around networks that are not: quick enough for several
processes, and every number depends on the references."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from no_time_to_train import build
from no_time_to_train.build import assemble_segmenter, compose_bench_config
from no_time_to_train.config import BenchConfig, Config
from no_time_to_train.data.coco_reader import read_coco
from no_time_to_train.proposals.interfaces import EncodedImage
from no_time_to_train.proposals.pooled import PooledProposals
from no_time_to_train.references.loading import load_references
from no_time_to_train.runs import shared_models
from no_time_to_train.runs.plan import RunPlan
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import TargetImage
from tests.test_segmenter import ColorEncoder, SquareMaskModel

NUM_REFERENCES = (3, 1, 2)
"""Per category, on purpose not equal."""


def build_small_segmenter(config: Config) -> Segmenter:
    return assemble_segmenter(config, ColorEncoder(), SquareMaskModel())


def load_fake_models(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Makes this process load fake networks; the list holds the configs for which they were loaded, as it happens."""
    configs: list[Config] = []

    def load_models(config: Config) -> tuple[ColorEncoder, SquareMaskModel]:
        configs.append(config)
        return ColorEncoder(), SquareMaskModel()

    monkeypatch.setattr(build, "load_models", load_models)
    monkeypatch.setattr(shared_models, "_loaded", {})
    return configs


class DyingSegmenter(Segmenter):
    """In the second process it kills its process at the third image."""

    num_proposed = 0

    def propose(self, image: EncodedImage, memory: Any = None) -> PooledProposals:
        self.num_proposed += 1
        if self.num_proposed == 3 and torch.distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().propose(image, memory)


def build_dying_segmenter(config: Config) -> Segmenter:
    sound = build_small_segmenter(config)
    return DyingSegmenter(sound.encoder, sound.mask_model, config, proposals=sound.proposals)


def write_small_benchmark(folder: Path, num_targets: int = 11) -> list[str]:
    """``references.json`` with six objects on five pictures, ``targets.json``; the overrides that make it a run."""
    generator = np.random.default_rng(5)
    owners = [category for category, count in enumerate(NUM_REFERENCES, start=1) for _ in range(count)]
    images_of_references = [1, 2, 2, 3, 4, 5]
    references = [(image_id, category) for image_id, category in zip(images_of_references, owners, strict=True)]
    targets = [(image_id, 1 + image_id % 3) for image_id in range(1, num_targets + 1)]
    for name, objects in (("references", references), ("targets", targets)):
        (folder / name).mkdir(parents=True)
        for image_id in {image_id for image_id, _ in objects}:
            noise = Image.fromarray(generator.integers(0, 256, (4, 5, 3), np.uint8))
            noise.resize((60, 40), Image.Resampling.BICUBIC).save(folder / name / f"{image_id}.png")
        (folder / f"{name}.json").write_text(json.dumps(_dataset(objects)))
    return [
        "preset=demo",
        "device=cpu",
        "benchmark=custom",
        "proposals.points_per_side=6",
        f"benchmark.references={folder / 'references.json'}",
        f"benchmark.reference_images={folder / 'references'}",
        f"benchmark.annotations={folder / 'targets.json'}",
        f"benchmark.images={folder / 'targets'}",
        "benchmark.sampler=all",
        f"runs={folder / 'runs'}",
    ]


def make_plan(root: Path, *overrides: str, num_targets: int = 11, **changes: Any) -> RunPlan:
    """A plan for the small benchmark, which is written to ``root`` if it is not there."""
    data = root / "data"
    if not data.is_dir():
        write_small_benchmark(data, num_targets)
    dataset = read_coco(data / "targets.json")
    config = compose_bench_config(["preset=demo", "device=cpu", "proposals.points_per_side=6", *overrides])
    targets = [TargetImage(data / "targets" / image.file_name, image.file_name, image.id) for image in dataset.images]
    settings: dict[str, Any] = {
        "config": config,
        "references": load_references(data / "references.json", data / "references"),
        "targets": tuple(targets),
        "folder": root / "unfinished",
        "build_segmenter": build_small_segmenter,
    }
    return RunPlan(**settings | changes)


def small_config(folder: Path, *overrides: str, num_targets: int = 11) -> BenchConfig:
    """The settings of a run of the small benchmark, which is written to ``folder``."""
    return compose_bench_config([*write_small_benchmark(folder, num_targets), *overrides])


def _dataset(objects: list[tuple[int, int]]) -> dict[str, Any]:
    annotations = []
    for number, (image_id, category_id) in enumerate(objects, start=1):
        x, y, w, h = 5 + 2 * number, 3 + number, 20, 15 + number
        segmentation = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        annotations.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": category_id,
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": 0,
                "segmentation": segmentation,
            }
        )
    image_ids = sorted({image_id for image_id, _ in objects})
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 40, "width": 60} for i in image_ids],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(("boat", "bird", "sea"), start=1)],
    }
