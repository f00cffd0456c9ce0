from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from no_time_to_train import build
from no_time_to_train.adapters.memory_labeler import MemoryLabeler
from no_time_to_train.config import Config
from no_time_to_train.errors import InputError
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import BACKGROUND_CATEGORY_NAME, Category
from tests.tasks.conftest import RED, ColorSegmenter, picture

IMAGE = np.array(picture((RED, (5, 5, 25, 25)), ((0, 0, 120), (40, 30, 70, 55))))
"""A boat of score 1, and a bird of 120 / 255 = 0.47."""


class OneImageSegmenter(ColorSegmenter):
    def segment(self, image: np.ndarray, memory: MemoryBank):
        return self.segment_batch([image], memory)[0]


@pytest.fixture(autouse=True)
def configs(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The settings of every segmenter that was built."""
    built: list[Config] = []

    def build_segmenter(config: Config) -> OneImageSegmenter:
        built.append(config)
        return OneImageSegmenter(config)

    monkeypatch.setattr(build, "build_segmenter", build_segmenter)
    return built


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    names = ("boat", "bird", BACKGROUND_CATEGORY_NAME)
    bank = MemoryBank(
        categories=tuple(Category(number, name) for number, name in enumerate(names, start=9)),
        class_prototypes=torch.ones(3, 2),
        instance_counts=torch.tensor([1, 1, 1]),
        encoder_id="dinov2_demo",
        encoder_image_size=14,
        settings={"encoder.name": "dinov2_demo", "merging.exponent": 0.3},
        min_scores=MinScores(0.6, {10: 0.4}),
    )
    bank.save(tmp_path / "boats.safetensors")
    return tmp_path / "boats.safetensors"


def test_the_file_brings_settings_and_thresholds_along(memory: Path, configs: list[Config]) -> None:
    labeler = MemoryLabeler(memory)
    assert configs[0].encoder.name == "dinov2_demo" and configs[0].merging.exponent == 0.3
    assert [category.name for category in labeler.categories] == ["boat", "bird"]
    assert labeler.label(IMAGE).category_names == ["boat", "bird"]
    assert labeler.label(IMAGE, min_score=0.5).category_names == ["boat"]


@pytest.mark.parametrize(
    ("min_score", "found"), [("0.5", ["boat"]), ("bird=0.48", ["boat"]), ("auto", ["boat", "bird"])]
)
def test_a_threshold_takes_the_place_of_the_files(memory: Path, min_score: str, found: list[str]) -> None:
    assert MemoryLabeler(memory, min_score=min_score).label(IMAGE).category_names == found


def test_what_labeling_a_folder_would_not_keep_is_not_found(memory: Path) -> None:
    labeler = MemoryLabeler(memory, overrides=["output.min_score=0.5"])
    assert labeler.label(IMAGE, min_score=0.0).category_names == ["boat"]


def test_the_version_changes_with_what_is_found(memory: Path) -> None:
    versions = [
        MemoryLabeler(memory, min_score=min_score, overrides=overrides).version
        for min_score, overrides in ((None, ()), ("0.5", ()), (None, ["merging.exponent=0.2"]), (None, ["device=cpu"]))
    ]
    assert len(set(versions[:3])) == 3 and versions[3] == versions[0]
    assert versions[0].startswith("boats-")


def test_an_unknown_category_is_said_before_models_are_loaded(memory: Path, configs: list[Config]) -> None:
    with pytest.raises(InputError, match="Did you mean 'boat'"):
        MemoryLabeler(memory, min_score="boot=0.5")
    assert configs == []
