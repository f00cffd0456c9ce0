from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

import no_time_to_train as ntt
from no_time_to_train import build
from no_time_to_train.commands import main, propose
from no_time_to_train.config import Config
from no_time_to_train.ops.boxes import boxes_from_masks
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.proposals.pooled import PooledProposals
from no_time_to_train.proposals.settings import SOURCES
from no_time_to_train.runs import run as run_engine
from no_time_to_train.structures import TargetImage
from no_time_to_train.tasks.propose import distinct_proposals
from tests.tasks.conftest import NAMES


class RectangleSegmenter:
    """Proposes what is red and what is blue, each also once more, a row larger and with a lower predicted IoU."""

    device = torch.device("cpu")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.encoder = SimpleNamespace(model_id=config.encoder.name)
        self.mask_model = SimpleNamespace(model_id=config.mask_model.name)
        self.proposals = build.build_proposals(config)
        self.seen: list[str] = []
        self.interrupt_at: int | None = None

    def encode(self, images: Sequence[np.ndarray], targets: Sequence[TargetImage], squares: object) -> list[np.ndarray]:
        if len(self.seen) == self.interrupt_at:
            raise KeyboardInterrupt
        self.seen += [target.file_name for target in targets]
        return list(images)

    def propose(self, image: np.ndarray) -> PooledProposals:
        found = []
        for channel, predicted_iou in ((0, 0.9), (2, 0.8)):
            mask = (image[..., channel] > 100) & (image.sum(axis=2) < 1.5 * image[..., channel])
            if mask.any():
                larger = mask | np.roll(mask, 1, axis=0)
                found += [(larger, predicted_iou - 0.2), (mask, predicted_iou)]
        stack = torch.from_numpy(np.stack([mask for mask, _ in found] or [np.zeros(image.shape[:2], bool)]))
        stack = stack[: len(found)]
        return PooledProposals(
            predicted_ious=torch.tensor([iou for _, iou in found]),
            stabilities=torch.ones(len(found)),
            grid_boxes_xyxy=boxes_from_masks(stack),
            features=torch.ones(len(found), 2),
            consistencies=torch.ones(len(found)),
            masks=tuple(encode_mask(mask.numpy()) for mask in stack),
            image_size_hw=image.shape[:2],
        )


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[RectangleSegmenter]:
    """Every segmenter that was built, in order."""
    segmenters: list[RectangleSegmenter] = []

    def build_segmenter(config: Config) -> RectangleSegmenter:
        segmenters.append(RectangleSegmenter(config))
        return segmenters[-1]

    monkeypatch.setattr(build, "build_proposer", build_segmenter)
    monkeypatch.setattr(run_engine, "weight_hashes", lambda config: {})
    return segmenters


@pytest.fixture
def nttt(workplace: Path, built: list[RectangleSegmenter]) -> Callable[[str], int]:
    return lambda line: main(line.split())


def test_writes_the_whole_folder(nttt, workplace: Path, capsys) -> None:
    assert nttt("propose photos/") == 0
    out = workplace / "photos_proposals"
    expected = {"index.html", "annotations.json", "proposals.json", "errors.csv", "run.json", "overlays", "per_image"}
    assert {path.name for path in out.iterdir()} == expected
    proposals = json.loads((out / "proposals.json").read_text())
    assert [(p["image_id"], p["category_id"]) for p in proposals] == [(1, 1), (2, 1), (3, 1), (3, 1), (5, 1)]
    assert [p["score"] for p in proposals] == pytest.approx([0.9, 0.8, 0.9, 0.8, 0.9])
    assert proposals[0]["bbox"] == [10, 10, 30, 20]
    mask = coco_mask.decode(proposals[0]["segmentation"])
    assert mask[10:30, 10:40].all() and mask.sum() == 600
    dataset = json.loads((out / "annotations.json").read_text())
    assert dataset["categories"] == [{"id": 1, "name": "object"}]
    assert [image["file_name"] for image in dataset["images"]] == NAMES
    assert len(dataset["annotations"]) == 5
    run = json.loads((out / "run.json").read_text())
    assert (run["status"], run["command"]) == ("finished", "nttt propose photos/")
    printed = capsys.readouterr().out
    assert "cpu: dinov2_large + sam2.1_large, semantic_clusters, 5 images" in printed
    assert "5 masks in 5 images.\n" in printed and "photos_proposals/index.html" in printed


def test_from_python_it_prints_nothing(workplace: Path, built: list[RectangleSegmenter], capfd) -> None:
    told: list[ntt.RunProgress] = []
    report = ntt.propose_folder("photos", out="made", overrides=["preset=fast"], on_progress=told.append)
    assert (report.num_images, report.num_masks, report.problems) == (5, 5, ())
    assert report.out == Path("made") and (workplace / "made/proposals.json").is_file()
    assert [(step.done, step.total) for step in told if step.what == "images"] == [(n, 5) for n in range(6)]
    assert capfd.readouterr() == ("", "")


def test_overlays_color_masks_by_their_number(nttt, workplace: Path) -> None:
    assert nttt("propose photos/") == 0
    drawn = np.asarray(Image.open(workplace / "photos_proposals/overlays/c.png.jpg")).astype(int)
    plain = np.asarray(Image.open(workplace / "photos/c.png").resize((640, 480))).astype(int)
    red, blue = drawn[120, 120] - plain[120, 120], drawn[340, 440] - plain[340, 440]
    assert np.abs(red).max() > 40 and np.abs(blue).max() > 40 and np.abs(red - blue).max() > 40
    assert np.abs(drawn[20, 600] - plain[20, 600]).max() < 8


def test_a_broken_image_is_listed_and_the_rest_goes_on(nttt, workplace: Path, capsys) -> None:
    (workplace / "photos/b.png").write_bytes(b"no picture")
    assert nttt("propose photos/ --out made") == 0
    with (workplace / "made/errors.csv").open(newline="") as file:
        [problem] = csv.DictReader(file)
    assert problem["image"] == "b.png" and "cannot be read" in problem["problem"]
    output = capsys.readouterr()
    assert "4 masks in 4 images; 1 could not be read, see errors.csv." in output.out
    assert "b.png cannot be read" in output.err
    for path in (workplace / "photos").rglob("*.png"):
        path.write_bytes(b"")
    assert nttt("propose photos/ --out other") == 1
    assert "none of the 5 images in photos can be read; see other/errors.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ("", "semantic_clusters"),
        ("--method semantic", "semantic_clusters"),
        ("--method grid", "point_grid"),
        ("proposals=point_grid", "point_grid"),
    ],
)
def test_the_method_chooses_the_source(nttt, built: list[RectangleSegmenter], given: str, source: str) -> None:
    assert nttt(f"propose photos/ {given} --preset fast proposals.min_predicted_iou=0.3") == 0
    config = built[0].config
    assert (config.proposals.name, getattr(config.proposals, source).min_predicted_iou) == (source, 0.3)
    assert config.encoder.name == "dinov2_small"


def test_every_method_is_a_known_source() -> None:
    assert set(propose._METHODS.values()) <= set(SOURCES)


def test_wrong_usage(nttt, capsys) -> None:
    assert nttt("propose photos/ --method grid proposals=point_grid") == 2
    assert "--method and proposals=... both choose the source" in capsys.readouterr().err
    assert nttt("propose photos/ --method points") == 2
    assert nttt("propose nowhere/") == 1
    assert "nowhere is neither a file nor a folder" in capsys.readouterr().err


def test_ctrl_c_and_then_the_rest(nttt, built, workplace: Path, read_folder, monkeypatch, capsys) -> None:
    assert nttt("propose photos/ --out whole") == 0
    build_segmenter = build.build_proposer

    def interrupted(config: Config) -> RectangleSegmenter:
        segmenter = build_segmenter(config)
        segmenter.interrupt_at = 2
        return segmenter

    with monkeypatch.context() as patch:
        patch.setattr(build, "build_proposer", interrupted)
        assert nttt("propose photos/ --out parts --overwrite") == 130
    printed = capsys.readouterr().out
    assert "Interrupted with 2 of 5 images labeled. parts is valid" in printed
    assert "\n  nttt propose photos/ --out parts\n" in printed
    assert len(json.loads((workplace / "parts/annotations.json").read_text())["images"]) == 2
    assert nttt("propose photos/ --out parts") == 0
    assert "parts holds 2 of 5 images from the same settings: continuing." in capsys.readouterr().out
    assert built[-1].seen == NAMES[2:]
    assert read_folder(workplace / "parts") == read_folder(workplace / "whole")


def test_other_settings_and_foreign_folders_are_refused(nttt, workplace: Path, capsys) -> None:
    assert nttt("propose photos/ --limit 1") == 0
    assert nttt("propose photos/ --method grid") == 1
    assert "proposals.name=semantic_clusters vs point_grid" in capsys.readouterr().err
    assert nttt("propose photos/ --method grid --limit 1 --overwrite") == 0
    assert nttt("propose photos/ --out refs") == 1
    assert "is not a results folder" in capsys.readouterr().err


def pooled_rectangles(*boxes: tuple[int, int, int, int], ious: Sequence[float]) -> PooledProposals:
    logits = torch.full((len(boxes), 16, 16), -1.0)
    for mask, (x1, y1, x2, y2) in zip(logits, boxes, strict=True):
        mask[y1:y2, x1:x2] = 1
    return PooledProposals(
        predicted_ious=torch.tensor(ious),
        stabilities=torch.ones(len(boxes)),
        grid_boxes_xyxy=boxes_from_masks(logits > 0),
        features=torch.zeros(len(boxes), 2),
        consistencies=torch.ones(len(boxes)),
        masks=logits,
        image_size_hw=(32, 32),
    )


def test_near_repetitions_of_a_better_mask_are_left_out() -> None:
    pooled = pooled_rectangles((0, 0, 8, 7), (0, 0, 8, 8), (0, 0, 4, 4), (8, 8, 16, 16), ious=[0.6, 0.7, 0.5, 0.9])
    found = distinct_proposals(pooled, iou_threshold=0.7)
    assert found.boxes_xyxy.tolist() == [[16, 16, 32, 32], [0, 0, 16, 16], [0, 0, 8, 8]]
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.5])
    assert found.category_names == ["object"] * 3
    assert len(distinct_proposals(pooled, iou_threshold=1.0)) == 4


def test_scores_carry_the_consistency_and_vanished_masks_are_left_out() -> None:
    plain = pooled_rectangles((0, 0, 8, 8), (8, 8, 16, 16), (3, 3, 3, 3), ious=[0.8, 0.6, 0.9])
    pooled = replace(plain, consistencies=torch.tensor([0.25, 1.0, 1.0]))
    found = distinct_proposals(pooled, iou_threshold=0.7, consistency_exponent=0.5)
    np.testing.assert_allclose(found.scores, [0.6, 0.4])
    np.testing.assert_allclose(found.predicted_ious, [0.6, 0.8])
    assert len(distinct_proposals(pooled_rectangles(ious=[]), 0.7)) == 0
