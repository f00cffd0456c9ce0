"""Candidate masks from the boxes of an object detector.

The boxes come from a file, or from the detector itself.

With ``merging=graph_diffusion`` this is the recipe of FSOD-VFM (arXiv 2602.03137): one mask per class-agnostic box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.data.box_files import BoxFile, read_box_file
from no_time_to_train.errors import InputError
from no_time_to_train.models.detector import Detector, load_detector
from no_time_to_train.models.interfaces import MaskModel, PromptBatch
from no_time_to_train.ops.boxes import clip_boxes, scale_boxes
from no_time_to_train.ops.nms import class_aware_nms
from no_time_to_train.proposals.interfaces import EncodedImage, MaskProposals, Need, ProposalSource
from no_time_to_train.proposals.settings import BoxesConfig
from no_time_to_train.structures import TargetImage


class BoxOrigin(Protocol):
    """Where the boxes of an image come from."""

    def find(self, image: EncodedImage, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, 4) xyxy pixels of the image and (N,) scores.

        They may be in any order.
        """
        ...


@dataclass(frozen=True)
class BoxesFromFile:
    """Boxes that a detector has written."""

    file: BoxFile

    def find(self, image: EncodedImage, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
        """Look the boxes of the image up in the file."""
        if image.target is None:
            raise InputError(
                f"proposals.boxes.boxes_file={self.file.path}: boxes are looked up by the image's name or id, which is "
                "not known here. Pass targets= to Segmenter.segment_batch."
            )
        return self.file.boxes(image.target, image.image_size_hw)


class BoxesFromDetector:
    """Boxes of a detector that is loaded when the first image comes.

    Args:
        source: name, hub id or local folder.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._detector: Detector | None = None

    def find(self, image: EncodedImage, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
        """Run the detector on the image."""
        if image.pixels is None:
            raise ValueError("a detector needs the pixels of the image")
        if self._detector is None:
            self._detector = load_detector(self._source, device=device)
        return self._detector.detect(image.pixels)


@dataclass(frozen=True)
class BoxProposals(ProposalSource):
    """One mask per box: the mask model's single-mask output for it.

    Attributes:
        origin: of the boxes.
        min_box_score: boxes with a lower score are left out.
        nms_iou_threshold: boxes whose IoU with one of a higher score is above this are left out.
        max_boxes: the best this many boxes of an image are used.
        min_predicted_iou: masks whose predicted IoU is not above this are dropped.
    """

    origin: BoxOrigin
    min_box_score: float = 0.0
    nms_iou_threshold: float = 1.0
    max_boxes: int = 300
    min_predicted_iou: float = 0.4

    @classmethod
    def from_config(cls, settings: BoxesConfig) -> BoxProposals:
        """Read the file of boxes; raises as ``read_box_file`` does."""
        if settings.boxes_file is not None:
            origin: BoxOrigin = BoxesFromFile(read_box_file(Path(settings.boxes_file).expanduser()))
        elif settings.detector is not None:
            origin = BoxesFromDetector(settings.detector)
        else:
            raise InputError("proposals=boxes needs proposals.boxes.boxes_file or proposals.boxes.detector.")
        return cls(
            origin,
            min_box_score=settings.min_box_score,
            nms_iou_threshold=settings.nms_iou_threshold,
            max_boxes=settings.max_boxes,
            min_predicted_iou=settings.min_predicted_iou,
        )

    @property
    def needs(self) -> frozenset[Need]:
        """Return what it looks at: the embedding; for detectors pixels too."""
        return frozenset({"embedding"} if isinstance(self.origin, BoxesFromFile) else {"embedding", "pixels"})

    def check(self, targets: Sequence[TargetImage]) -> None:
        """Raise InputError where the file has none of these images."""
        if isinstance(self.origin, BoxesFromFile):
            self.origin.file.check_targets(targets)

    def propose(self, image: EncodedImage, mask_model: MaskModel, prototypes: Tensor | None = None) -> MaskProposals:
        """Prompt the mask model with the boxes."""
        boxes_xyxy, scores = self.origin.find(image, mask_model.device)
        chosen = self._best(clip_boxes(boxes_xyxy, image.image_size_hw), scores)
        square = scale_boxes(chosen, image.image_size_hw, (mask_model.image_size, mask_model.image_size))
        prompts = PromptBatch(boxes_xyxy=torch.from_numpy(square).float())
        prediction = mask_model.predict(image.embedding, prompts, multimask=False)
        logits, predicted_ious = prediction.logits[:, 0], prediction.predicted_ious[:, 0]
        kept = torch.nonzero(predicted_ious > self.min_predicted_iou)[:, 0]
        return MaskProposals(logits[kept], predicted_ious[kept])

    def _best(self, boxes_xyxy: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return the best boxes that have an area, best first; of equal boxes (several labels of one) the best."""
        has_area = (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)
        candidates = np.flatnonzero(has_area & (scores >= self.min_box_score))
        ranked = boxes_xyxy[candidates[np.argsort(-scores[candidates], kind="stable")]]
        _, first = np.unique(ranked, axis=0, return_index=True)
        chosen = np.sort(first)
        if self.nms_iou_threshold < 1:
            boxes, order = torch.from_numpy(ranked[chosen]), -torch.arange(len(chosen))
            chosen = chosen[class_aware_nms(boxes, order, torch.zeros_like(order), self.nms_iou_threshold).numpy()]
        return ranked[chosen][: self.max_boxes]
