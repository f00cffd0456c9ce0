from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import ImageEmbedding, MaskPrediction, PromptBatch
from no_time_to_train.proposals import boxes as boxes_module
from no_time_to_train.proposals.boxes import BoxProposals
from no_time_to_train.proposals.interfaces import EncodedImage
from no_time_to_train.proposals.settings import BoxesConfig
from no_time_to_train.structures import TargetImage

IMAGE_SIZE_HW = (50, 100)
TARGET = TargetImage(Path("a.jpg"), "a.jpg", 1)


class OneMaskPerBox:
    """Stands for a mask model: remembers the prompts; the predicted IoU is the box's width in its square."""

    model_id, image_size, mask_size, device = "fake", 200, 8, torch.device("cpu")

    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, *, multimask: bool) -> MaskPrediction:
        assert not multimask and prompts.boxes_xyxy is not None
        self.boxes_xyxy = prompts.boxes_xyxy
        widths = (prompts.boxes_xyxy[:, 2] - prompts.boxes_xyxy[:, 0]) / self.image_size
        return MaskPrediction(torch.ones(len(prompts), 1, 8, 8), widths[:, None])


def encoded(target: TargetImage | None = TARGET) -> EncodedImage:
    blank = torch.zeros(1, 1, 1, 1)
    pixels = np.zeros((*IMAGE_SIZE_HW, 3), np.uint8)
    return EncodedImage(IMAGE_SIZE_HW, torch.zeros(2, 2, 1), ImageEmbedding(blank, (blank, blank)), pixels, target)


def source_of(tmp_path: Path, boxes_xywh: list[list[float]], scores: list[float], **settings: Any) -> BoxProposals:
    results = [{"image_id": 1, "bbox": b, "score": s} for b, s in zip(boxes_xywh, scores, strict=True)]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(results))
    return BoxProposals.from_config(BoxesConfig(boxes_file=str(path), **settings))


def test_boxes_become_prompts_best_first(tmp_path: Path) -> None:
    source = source_of(tmp_path, [[10, 10, 80, 20], [-20, -5, 70, 200]], [0.3, 0.9], min_predicted_iou=0)
    model = OneMaskPerBox()
    proposals = source.propose(encoded(), model)
    # Clipped to the image of 100 x 50, then scaled by 2 across and by 4 down.
    assert model.boxes_xyxy.tolist() == [[0, 0, 100, 200], [20, 40, 180, 120]]
    assert proposals.predicted_ious.tolist() == pytest.approx([0.5, 0.8])
    assert proposals.logits.shape == (2, 8, 8) and proposals.rles is None
    assert source.needs == {"embedding"}


def test_which_boxes_are_used(tmp_path: Path) -> None:
    boxes = [
        [0, 0, 50, 50],
        [200, 0, 50, 50],  # outside
        [10, 10, 0, 20],  # empty
        [0, 0, 60, 50],
        [0, 0, 50, 50],  # the first again, under another label
        [0, 0, 70, 50],  # score too low
        [0, 0, 80, 50],  # more than max_boxes
    ]
    scores = [0.5, 0.9, 0.9, 0.6, 0.7, 0.1, 0.4]
    source = source_of(tmp_path, boxes, scores, min_box_score=0.2, max_boxes=2, min_predicted_iou=0)
    model = OneMaskPerBox()
    source.propose(encoded(), model)
    assert model.boxes_xyxy[:, 2].tolist() == [100, 120]


@pytest.mark.parametrize(
    ("threshold", "ends"),
    [(0.7, [80, 180]), (0.79, [80, 180, 60]), (0.81, [80, 100, 180, 60]), (1.0, [80, 100, 180, 60])],
)
def test_boxes_that_repeat_a_better_one_are_left_out(tmp_path: Path, threshold: float, ends: list[float]) -> None:
    # IoU with the first: 0.8, 0, 0.75.
    boxes, scores = [[0, 0, 40, 50], [0, 0, 50, 50], [60, 0, 30, 50], [0, 0, 30, 50]], [0.9, 0.8, 0.7, 0.6]
    source = source_of(tmp_path, boxes, scores, nms_iou_threshold=threshold, min_predicted_iou=0)
    model = OneMaskPerBox()
    source.propose(encoded(), model)
    assert model.boxes_xyxy[:, 2].tolist() == ends


def test_masks_the_model_doubts_are_dropped(tmp_path: Path) -> None:
    source = source_of(tmp_path, [[0, 0, 40, 50], [0, 0, 41, 50]], [0.9, 0.8], min_predicted_iou=0.4)
    assert source.propose(encoded(), OneMaskPerBox()).predicted_ious.tolist() == pytest.approx([0.41])


def test_an_image_without_boxes_has_no_proposal(tmp_path: Path) -> None:
    other = TargetImage(Path("b.jpg"), "b.jpg", 2)
    source = source_of(tmp_path, [[0, 0, 40, 50]], [0.9])
    assert len(source.propose(encoded(other), OneMaskPerBox())) == 0
    source.check([other, TARGET])
    with pytest.raises(InputError, match="none of the 1 images"):
        source.check([other])


def test_an_unknown_image_is_refused(tmp_path: Path) -> None:
    source = source_of(tmp_path, [[0, 0, 40, 50]], [0.9])
    with pytest.raises(InputError, match="Pass targets="):
        source.propose(encoded(target=None), OneMaskPerBox())


def test_a_detector_is_loaded_once_and_late(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    class Detector:
        def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            assert image.shape == (*IMAGE_SIZE_HW, 3)
            return np.array([[0, 0, 50, 50]], np.float32), np.array([0.5], np.float32)

    def load_detector(source: str, device: torch.device) -> Detector:
        loaded.append(f"{source} on {device}")
        return Detector()

    monkeypatch.setattr(boxes_module, "load_detector", load_detector)
    source = BoxProposals.from_config(BoxesConfig(detector="owner/detector"))
    assert not loaded
    model = OneMaskPerBox()
    for _ in range(2):
        assert len(source.propose(encoded(target=None), model)) == 1
    assert loaded == ["owner/detector on cpu"]
    assert model.boxes_xyxy.dtype == torch.float32
    source.check([TargetImage(Path("b.jpg"), "b.jpg", 2)])  # a detector takes any image


def test_no_boxes_named() -> None:
    with pytest.raises(InputError, match="needs proposals.boxes.boxes_file or proposals.boxes.detector"):
        BoxProposals.from_config(BoxesConfig())
