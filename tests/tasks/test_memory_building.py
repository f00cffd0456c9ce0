from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import no_time_to_train as ntt
from no_time_to_train.config import Config
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.tasks.memory_building import build_memory
from tests.tasks.conftest import ColorSegmenter, annotation


@pytest.fixture
def references(workplace: Path) -> ntt.ReferenceSet:
    """Three images with a boat and a bird each: red and blue in three strengths."""
    images, annotations = [], []
    for number, strength in enumerate((255, 204, 153), start=1):
        pixels = np.full((60, 80, 3), 0, np.uint8)
        pixels[10:30, 10:40] = (strength, 0, 0)
        pixels[20:50, 50:70] = (0, 0, strength)
        Image.fromarray(pixels).save(workplace / "refs" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 60, "width": 80})
        annotations.append(annotation(2 * number, number, 9, (10, 10, 40, 30)))
        annotations.append(annotation(2 * number + 1, number, 16, (50, 20, 70, 50)))
    categories = [{"id": 9, "name": "boat"}, {"id": 16, "name": "bird"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (workplace / "refs" / "three.json").write_text(json.dumps(content))
    return ntt.load_references(workplace / "refs" / "three.json")


class Watched(ColorSegmenter):
    """Keeps the banks that images are labeled by."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.tells_encoded = True
        self.banks: list[MemoryBank] = []

    def segment_batch(self, images, memory, targets=None):
        self.banks.append(memory)
        return super().segment_batch(images, memory, targets)


def test_each_image_is_labeled_without_its_own_references(references) -> None:
    segmenter, told = Watched(Config()), []
    memory = build_memory(segmenter, references, told.append)
    assert [bank.instance_counts.tolist() for bank in segmenter.banks] == [[2, 2]] * 3
    assert all(torch.equal(bank.class_prototypes, torch.ones(2, 2)) for bank in segmenter.banks)
    # All six are found, at 1, 0.8 and 0.6, and nothing wrong: the threshold lies below them.
    assert memory.min_scores is not None and 0.05 <= memory.min_scores.default < 0.6
    assert set(memory.min_scores.by_category) == {9, 16}
    assert memory.settings["encoder.name"] == "dinov2_large"
    messages = [progress.message for progress in told if progress.message]
    assert "the whole pipeline on 3 reference images (output.threshold_images=0 leaves it out)" in messages[1]
    assert [p.done for p in told if p.what == "reference images"] == [0, 1, 2, 3]


def test_fewer_images_or_none(references) -> None:
    config = Config()
    config.output.threshold_images = 2
    segmenter = Watched(config)
    build_memory(segmenter, references)
    assert len(segmenter.banks) == 2
    config.output.threshold_images = 0
    assert build_memory(Watched(config), references).min_scores is None
    assert build_memory(segmenter, references, measures_thresholds=False).min_scores is None


def test_one_image_alone_says_nothing(references) -> None:
    single = ntt.ReferenceSet(references.categories, references.instances[:2])
    told = []
    memory = build_memory(Watched(Config()), single, told.append)
    assert memory.min_scores is None and "thresholds cannot be measured" in (told[-1].message or "")


def test_auto_is_measured_kept_and_used(nttt, workplace, references, segmenters, monkeypatch) -> None:
    def labels_with(refs: str, *flags: str) -> dict:
        assert nttt(" ".join((f"label photos/ {refs}", *flags))) == 0
        return json.loads((workplace / flags[-1] / "run.json").read_text())

    measured = MinScores(0.3, {9: 0.95})
    monkeypatch.setattr("no_time_to_train.tasks.memory_building.measure_thresholds", lambda *_: measured)
    run = labels_with("--refs refs/three.json", "--out", "auto")
    assert run["min_score_source"] == "measured on the reference images"
    assert (run["settings"]["min_score"], run["settings"]["min_scores"]) == (0.3, {"boat": 0.95, "bird": 0.3})
    annotations = json.loads((workplace / "auto/annotations.json").read_text())
    assert annotations["info"]["description"].endswith("0.30 to 0.95, by category")
    assert {entry["score"] >= 0.95 for entry in annotations["annotations"] if entry["category_id"] == 9} == {True}
    assert MemoryBank.load(workplace / "auto/memory.safetensors").min_scores == measured

    number = len(segmenters)
    run = labels_with("--refs refs/three.json", "--min-score bird=0.9", "--out", "auto")
    assert run["min_score_source"] == "given, measured on the reference images" and len(segmenters) == number
    assert run["settings"]["min_scores"] == {"boat": 0.95, "bird": 0.9}
    run = labels_with("--refs refs/three.json", "--min-score 0.5", "--out", "auto")
    assert run["settings"]["min_score"] == 0.5 and "min_scores" not in run["settings"]
    assert run["min_score_source"] == "given" and len(segmenters) == number
    assert labels_with("--refs refs/three.json", "--out", "auto")["settings"]["min_score"] == 0.3

    run = labels_with("--refs refs/three.json", "output.draw_min_score=0.7", "--out", "set")
    assert (run["settings"]["min_score"], run["min_score_source"]) == (0.7, "given")


def test_thresholds_measured_with_other_settings_are_said(nttt, workplace, references, monkeypatch, capsys) -> None:
    measured = MinScores(0.3, {9: 0.95})
    monkeypatch.setattr("no_time_to_train.tasks.memory_building.measure_thresholds", lambda *_: measured)
    assert nttt("fit refs/three.json -o m.safetensors") == 0
    capsys.readouterr()
    said = "the thresholds of the memory were measured with tiles=none (now auto): make the memory anew with "
    said += "these settings, or give --min-score 0.5, where"
    for flags, is_said in (("", False), ("tiles=auto", True), ("tiles=auto --min-score 0.4", False)):
        assert nttt(f"label photos/ --memory m.safetensors --overwrite {flags}") == 0
        assert (said in capsys.readouterr().err) == is_said


def test_a_memory_file_is_enough(nttt, workplace, references, capsys) -> None:
    assert nttt("fit refs/three.json -o m.safetensors --preset demo merging.exponent=0.3") == 0
    printed = capsys.readouterr().out.splitlines()[-1].strip()
    assert printed == "nttt label photos/ --memory m.safetensors"
    assert nttt(printed.removeprefix("nttt ")) == 0
    told = capsys.readouterr()
    assert (told.out + told.err).count("no thresholds were measured for these references") == 1
    config = json.loads((workplace / "photos_labeled/run.json").read_text())["settings"]["config"]
    assert config["encoder"]["name"] == "dinov2_demo" and config["merging"]["exponent"] == 0.3
    assert config["output"]["draw_min_score"] == 0.3
    assert nttt(f"{printed.removeprefix('nttt ')} --out other merging=hard") == 0
    config = json.loads((workplace / "other/run.json").read_text())["settings"]["config"]
    assert config["merging"]["name"] == "hard" and config["mask_model"]["name"] == "sam2_demo"
    assert nttt("label photos/ --memory m.safetensors --out third --preset fast") == 1
    error = capsys.readouterr().err
    assert "made with encoder.name=dinov2_demo, but this command says dinov2_small" in error
    assert "Traceback" not in error and not (workplace / "third").exists()
    assert ntt.label_folder("photos", memory="m.safetensors", out="python").min_score_source == "output.draw_min_score"
