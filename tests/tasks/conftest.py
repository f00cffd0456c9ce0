"""A segmenter without networks: it finds red and blue rectangles, so that every expected output is known."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from no_time_to_train import build
from no_time_to_train.commands import main
from no_time_to_train.config import Config
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.proposals.point_grid import PointGrid
from no_time_to_train.references.encoding import EncodedReference
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.runs import run as labeling
from no_time_to_train.structures import Detections, ReferenceSet, TargetImage

RED, BLUE = (255, 0, 0), (0, 0, 255)
COLORS = {"boat": RED, "bird": BLUE}
NAMES = ["a.png", "b.png", "c.png", "d.png", "sub/a.png"]
"""The images of the workplace."""


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def labeled_names(folder: Path) -> list[str]:
    return [image["file_name"] for image in json.loads((folder / "annotations.json").read_text())["images"]]


class ColorSegmenter:
    """Detects every category of the memory by its color; the score is the color's brightness."""

    device = torch.device("cpu")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.encoder = SimpleNamespace(model_id=config.encoder.name, feature_dim=2, image_size=14)
        self.mask_model = SimpleNamespace(model_id=config.mask_model.name)
        self.proposals = PointGrid()
        self.num_segmented = 0
        self.tells_encoded = False  # then thresholds are measured
        self.before_segmenting: Callable[[int], None] = lambda num_segmented: None

    def build_memory(
        self,
        references: ReferenceSet,
        on_progress: Callable[[int, int], None] | None = None,
        on_encoded: Callable[[EncodedReference], object] | None = None,
    ) -> MemoryBank:
        for done, reference in enumerate(references.instances, start=1):
            if on_progress is not None:
                on_progress(done, len(references))
            if on_encoded is not None and self.tells_encoded:
                on_encoded(EncodedReference(reference, torch.ones(2), 1, 14))
        return MemoryBank(
            categories=references.categories,
            class_prototypes=torch.ones(len(references.categories), 2),
            instance_counts=torch.tensor(list(references.counts().values())),
            encoder_id=self.encoder.model_id,
            encoder_image_size=14,
        )

    def segment_batch(
        self, images: Sequence[np.ndarray], memory: MemoryBank, targets: Sequence[TargetImage] | None = None
    ) -> list[Detections]:
        return [self._segment(image, memory) for image in images]

    def encode(
        self, images: Sequence[np.ndarray], targets: Sequence[TargetImage] | None = None, squares: object = None
    ) -> list[Any]:
        return [SimpleNamespace(pixels=image) for image in images]

    def propose(self, image: Any, memory: MemoryBank | None = None) -> Any:
        return image

    def label(self, pooled: Any, memory: MemoryBank, pixels: np.ndarray) -> Detections:
        return self._segment(pixels, memory)

    def _segment(self, image: np.ndarray, memory: MemoryBank) -> Detections:
        self.before_segmenting(self.num_segmented)
        self.num_segmented += 1
        found = []
        for category in (category for category in memory.categories if not category.is_background):
            channel = COLORS[category.name].index(255)
            mask = (image[..., channel] > 100) & (image.sum(axis=2) < 1.5 * image[..., channel])
            if mask.any():
                found.append((float(image[mask][:, channel].mean()) / 255, category.id, encode_mask(mask)))
        found.sort(key=lambda entry: -entry[0])
        if not found:
            return Detections.empty(image.shape[:2], memory.categories)
        return Detections.from_rles(
            [rle for _, _, rle in found],
            scores=[score for score, _, _ in found],
            category_ids=[category_id for _, category_id, _ in found],
            predicted_ious=[0.75] * len(found),
            image_size_hw=image.shape[:2],
            categories=memory.categories,
        )


def picture(*rectangles: tuple[tuple[int, int, int], tuple[int, int, int, int]]) -> Image.Image:
    """A gray 80 x 60 picture with filled (color, (x1, y1, x2, y2)) rectangles."""
    pixels = np.full((60, 80, 3), 60, np.uint8)
    for color, (x1, y1, x2, y2) in rectangles:
        pixels[y1:y2, x1:x2] = color
    return Image.fromarray(pixels)


def annotation(number: int, image_id: int, category_id: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
        "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
    }


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: ``photos/`` with five pictures, ``refs/`` with a boat and a bird, ``gt.json``."""
    monkeypatch.chdir(tmp_path)
    photos, refs = tmp_path / "photos", tmp_path / "refs"
    (photos / "sub").mkdir(parents=True)
    refs.mkdir()
    picture((RED, (10, 10, 40, 30))).save(photos / "a.png")
    picture((BLUE, (20, 20, 60, 50))).save(photos / "b.png")
    picture((RED, (5, 5, 25, 25)), ((0, 0, 120), (40, 30, 70, 55))).save(photos / "c.png")
    picture().save(photos / "d.png")
    picture((RED, (30, 20, 50, 40))).save(photos / "sub" / "a.png")
    picture((RED, (10, 10, 40, 30)), (BLUE, (50, 20, 70, 50))).save(refs / "r.png")
    categories = [{"id": 9, "name": "boat"}, {"id": 16, "name": "bird"}]
    reference_dataset = {
        "images": [{"id": 1, "file_name": "r.png", "height": 60, "width": 80}],
        "annotations": [annotation(1, 1, 9, (10, 10, 40, 30)), annotation(2, 1, 16, (50, 20, 70, 50))],
        "categories": categories,
    }
    (refs / "annotations.json").write_text(json.dumps(reference_dataset))
    truth = {
        # ids on purpose not those of the labeled folder
        "images": [{"id": 70 + i, "file_name": name, "height": 60, "width": 80} for i, name in enumerate(NAMES)],
        "annotations": [
            annotation(1, 70, 9, (10, 10, 40, 30)),
            annotation(2, 71, 16, (20, 20, 60, 50)),
            annotation(3, 72, 9, (5, 5, 25, 25)),
            annotation(4, 72, 16, (40, 30, 70, 55)),
            annotation(5, 74, 9, (30, 20, 50, 40)),
        ],
        "categories": categories,
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    return tmp_path


@pytest.fixture
def segmenters(monkeypatch: pytest.MonkeyPatch) -> list[ColorSegmenter]:
    """Every segmenter that was built, in order."""
    built: list[ColorSegmenter] = []

    def build_segmenter(config: Config) -> ColorSegmenter:
        built.append(ColorSegmenter(config))
        return built[-1]

    monkeypatch.setattr(build, "build_segmenter", build_segmenter)
    monkeypatch.setattr(labeling, "weight_hashes", lambda config: {})
    return built


@pytest.fixture
def nttt(workplace: Path, segmenters: list[ColorSegmenter]) -> Callable[..., int]:
    """Runs a command line in the workplace and gives its exit code."""
    return lambda line: main(line.split())


@pytest.fixture
def interrupt(
    monkeypatch: pytest.MonkeyPatch, segmenters: list[ColorSegmenter]
) -> Callable[[int, BaseException], None]:
    """Makes the next segmenters fail when they have segmented a number of images."""
    unpatched = build.build_segmenter

    def install(after: int, error: BaseException) -> None:
        def failing(config: Config) -> ColorSegmenter:
            segmenter = unpatched(config)

            def fail(num_segmented: int) -> None:
                if num_segmented == after:
                    raise error

            segmenter.before_segmenting = fail
            return segmenter

        monkeypatch.setattr(build, "build_segmenter", failing)

    return install


@pytest.fixture
def read_folder() -> Callable[[Path], dict[str, bytes]]:
    """All files of a results folder but ``run.json``, which holds times."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != "run.json"
        }

    return read
