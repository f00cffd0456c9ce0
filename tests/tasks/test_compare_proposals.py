"""The command around two small fake networks; pictures with colored rectangles."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from no_time_to_train import build
from no_time_to_train.commands import main
from no_time_to_train.config import Config
from no_time_to_train.models.interfaces import ImageEmbedding, MaskPrediction, PromptBatch
from no_time_to_train.segmenter import Segmenter
from tests.test_segmenter import ColorEncoder, SquareMaskModel


class BoxMaskModel(SquareMaskModel):
    """Points give blobs; a box gives the box, its predicted IoU the higher the wider it is."""

    num_encoded = 0
    interrupted_after: int | None = None

    def encode_images(self, images: torch.Tensor) -> list[ImageEmbedding]:
        if BoxMaskModel.num_encoded == BoxMaskModel.interrupted_after:
            raise KeyboardInterrupt
        BoxMaskModel.num_encoded += len(images)
        return super().encode_images(images)

    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, *, multimask: bool) -> MaskPrediction:
        boxes = prompts.boxes_xyxy * self.mask_size / self.image_size
        cells = torch.arange(self.mask_size) + 0.5
        across = torch.minimum(cells - boxes[:, :1], boxes[:, 2:3] - cells)
        down = torch.minimum(cells - boxes[:, 1:2], boxes[:, 3:4] - cells)
        logits = torch.minimum(across[:, None, :], down[:, :, None])
        widths = (boxes[:, 2:3] - boxes[:, :1]) / self.mask_size
        return MaskPrediction(logits[:, None], 0.5 + widths / 2)


@pytest.fixture
def compare(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Runs the command line in the workplace of ``conftest`` with fake networks."""

    def build_segmenter(config: Config) -> Segmenter:
        return Segmenter(ColorEncoder(), BoxMaskModel(), config, proposals=build.build_proposals(config))

    monkeypatch.setattr(build, "build_segmenter", build_segmenter)
    monkeypatch.setattr(BoxMaskModel, "num_encoded", 0)
    settings = "proposals.points_per_side=5 encoder.image_size=32"
    return lambda line: main(f"compare-proposals {line} {settings}".split())


@pytest.fixture
def exact_boxes(workplace: Path) -> Path:
    """A results file with the box of every object, by file name."""
    truth = json.loads((workplace / "gt.json").read_text())
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    results: list[dict[str, Any]] = [
        {"file_name": names[entry["image_id"]], "bbox": entry["bbox"], "score": 0.9} for entry in truth["annotations"]
    ]
    path = workplace / "boxes.json"
    path.write_text(json.dumps(results))
    return path


def test_table_files_and_picture(compare, exact_boxes: Path, capsys) -> None:
    line = "--annotations gt.json --images photos --refs refs/annotations.json --out result"
    sources = "point_grid,boxes,point_grid[points_per_side=2]+boxes"
    assert compare(f"{line} --sources {sources} proposals.boxes_file=boxes.json") == 0
    output = capsys.readouterr().out
    assert output.startswith("cpu: 3 sources, 5 images\n2 references: boat 1, bird 1")
    assert "5 objects in 5 images; recalls and AP in per cent" in output
    assert BoxMaskModel.num_encoded == 5  # once per image; the references have masks

    content = json.loads(Path("result/comparison.json").read_text())
    assert list(content["sources"]) == sources.split(",")
    boxes = content["sources"]["boxes"]
    assert boxes["recall_75"] == 100 and boxes["mean_best_iou"] > 85  # as far as a 16 x 16 mask grid goes
    assert boxes["proposals_per_image"] == boxes["masks_per_object"] == 1
    assert boxes["average_recall"]["10"] == boxes["average_recall"]["1000"] > 70
    assert boxes["detections"]["mask"]["nAP50"] == pytest.approx(100)
    grid, union = content["sources"]["point_grid"], content["sources"]["point_grid[points_per_side=2]+boxes"]
    assert grid["recall_75"] < 100 and grid["proposals_per_image"] > 5
    assert 1 < union["proposals_per_image"] <= 5 and union["recall_75"] == 100
    assert (content["num_images"], content["num_objects"]) == (5, 5)
    assert content["command"].startswith("nttt compare-proposals --annotations gt.json")

    rows = list(csv.DictReader(Path("result/comparison.csv").read_text().splitlines()))
    assert [row["source"] for row in rows] == sources.split(",")
    assert float(rows[1]["recall@0.5"]) == 100 and float(rows[1]["s/image"]) > 0
    assert float(rows[1]["mask nAP"]) == pytest.approx(boxes["detections"]["mask"]["nAP"])
    assert Image.open("result/recall.png").width > 500


def test_recall_needs_no_references(compare, capsys) -> None:
    assert compare("--annotations gt.json --images photos --limit 2 --sources point_grid --markdown") == 0
    table = capsys.readouterr().out
    assert "2 objects in 2 images" in table
    assert "| source | AR@10 |" in table and "nAP" not in table
    content = json.loads(Path("proposal_comparison/comparison.json").read_text())
    assert content["sources"]["point_grid"]["detections"] is None


def test_interrupted_with_the_table_of_what_is_done(compare, monkeypatch, capsys) -> None:
    line = "--annotations gt.json --images photos --refs refs/annotations.json --sources point_grid"
    assert compare(f"{line} --limit 3 --out limited") == 0
    monkeypatch.setattr(BoxMaskModel, "num_encoded", 0)
    monkeypatch.setattr(BoxMaskModel, "interrupted_after", 3)
    assert compare(f"{line} --out interrupted") == 130
    assert "4 objects in 3 images" in capsys.readouterr().out
    limited, interrupted = (
        json.loads(Path(f"{folder}/comparison.json").read_text())["sources"]["point_grid"]
        for folder in ("limited", "interrupted")
    )
    del limited["seconds_per_image"], interrupted["seconds_per_image"]
    assert interrupted == limited
    monkeypatch.setattr(BoxMaskModel, "interrupted_after", BoxMaskModel.num_encoded)
    assert compare(f"{line} --out nothing") == 130
    assert not Path("nothing").exists()


def test_the_demo_benchmark_is_the_default(compare, capsys) -> None:
    assert compare("--limit 1 --shots 1 --seed 4 --sources point_grid") == 0
    assert "10 references" in capsys.readouterr().out
    content = json.loads(Path("proposal_comparison/comparison.json").read_text())
    assert content["config"]["encoder"]["name"] == "dinov2_demo"
    assert (content["config"]["shots"], content["config"]["seed"]) == (1, 4)
    assert content["sources"]["point_grid"]["detections"]["num_images"] == 1


def test_wrong_input(compare, exact_boxes: Path, workplace: Path, capsys) -> None:
    def error(line: str, code: int = 1) -> str:
        assert compare(line) == code
        return capsys.readouterr().err

    data = "--annotations gt.json --images photos"
    assert "name those to compare by --sources" in error(f"{data} proposals=boxes")
    assert "belong to --annotations" in error("--images photos", code=2)
    assert "draw references of a benchmark" in error(f"{data} --shots 3", code=2)
    exact_boxes.write_text('[{"file_name": "z.png", "bbox": [0, 0, 9, 9], "score": 1}]')
    assert "for none of the 5 images" in error(f"{data} --sources boxes proposals.boxes_file=boxes.json")
    assert "target images are missing" in error("--annotations gt.json --images refs --sources point_grid")
    truth = json.loads((workplace / "gt.json").read_text())
    del truth["annotations"][0]["segmentation"]
    (workplace / "gt.json").write_text(json.dumps(truth))
    assert "1 of 5 objects have only a box" in error(f"{data} --sources point_grid")
    assert BoxMaskModel.num_encoded == 0


def test_annotations_of_another_size_are_refused(compare, workplace: Path, capsys) -> None:
    Image.new("RGB", (40, 30)).save(workplace / "photos" / "a.png")
    assert compare("--annotations gt.json --images photos --sources point_grid") == 1
    assert "gt.json: the size is [60, 80] but a.png is 40x30" in capsys.readouterr().err
