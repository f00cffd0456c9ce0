"""A video world without networks: objects are squares of one color each, so that every expected track is known."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.config import Config
from no_time_to_train.models.sam2.video_memory import FrameMemory, ObjectMask, ObjectMemory
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import Category, Detections, ReferenceSet

SIDE = 64
RED, DARK_RED, BLUE, GREEN = (250, 0, 0), (150, 30, 30), (0, 0, 250), (0, 250, 0)
BOAT, BIRD = Category(9, "boat"), Category(16, "bird")
CATEGORY_OF = {RED: BOAT, DARK_RED: BOAT, BLUE: BIRD}

Square = tuple[tuple[int, int, int], int, int, int]
"""Color, left, top, side in pixels."""


def picture(*squares: Square) -> np.ndarray:
    """A gray 64 x 64 frame with filled squares; what lies outside is cut off."""
    pixels = np.full((SIDE, SIDE, 3), 90, np.uint8)
    for color, left, top, side in squares:
        pixels[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = color
    return pixels


def memory_bank(categories: Sequence[Category] = (BOAT, BIRD)) -> MemoryBank:
    return MemoryBank(
        categories=tuple(categories),
        class_prototypes=torch.ones(len(categories), 3),
        instance_counts=torch.ones(len(categories), dtype=torch.int64),
        encoder_id="colors",
        encoder_image_size=SIDE,
    )


class ColorVideoSegmenter(Segmenter):
    """Detects the colors of its categories; a category's feature is its color, the score 0.9.

    Attributes:
        blind_to: colors that are not detected.
        num_detected_frames: how many frames it has looked at.
    """

    device = torch.device("cpu")

    def __init__(self, *_: object) -> None:
        self.config = Config()
        self.encoder = SimpleNamespace(model_id="colors", feature_dim=3, image_size=SIDE)
        self.mask_model = SimpleNamespace(model_id="squares")
        self.blind_to: set[tuple[int, int, int]] = set()
        self.num_detected_frames = 0

    def build_memory(
        self, references: ReferenceSet, on_progress: object = None, on_encoded: object = None
    ) -> MemoryBank:
        return memory_bank(references.categories)

    def square(self, pixels: np.ndarray) -> Tensor:
        return torch.from_numpy(pixels.copy())

    def encode(self, images: Sequence[np.ndarray], *, squares: Sequence[Tensor]) -> list[SimpleNamespace]:
        self.num_detected_frames += len(images)
        return [SimpleNamespace(pixels=image, features=torch.from_numpy(image).float() / 255) for image in images]

    def propose(self, encoded: SimpleNamespace, memory: MemoryBank) -> SimpleNamespace:
        return encoded

    def label(self, pooled: SimpleNamespace, memory: MemoryBank, pixels: object = None) -> Detections:
        found = []
        for color, category in CATEGORY_OF.items():
            mask = (np.abs(pooled.pixels.astype(int) - color) < 30).all(axis=2)
            if mask.any() and color not in self.blind_to and category in memory.categories:
                found.append((category.id, encode_mask(mask)))
        return Detections.from_rles(
            [rle for _, rle in found],
            scores=[0.9] * len(found),
            category_ids=[category_id for category_id, _ in found],
            predicted_ious=[0.75] * len(found),
            image_size_hw=pooled.pixels.shape[:2],
            categories=memory.categories,
        )


class ColorFollower:
    """Follows what has the color that lay under the mask of the last key frame."""

    image_size = SIDE // 2
    device = torch.device("cpu")

    def __init__(self, mask_model: object = None) -> None:
        self.num_encoded_frames = 0

    def encode(self, image: np.ndarray, square: Tensor) -> Tensor:
        self.num_encoded_frames += 1
        return torch.from_numpy(image[::2, ::2].astype(np.float32))

    def condition(
        self, frame_index: int, frame: Tensor, mask: Tensor, memory: ObjectMemory | None = None
    ) -> tuple[ObjectMask, ObjectMemory]:
        color = frame[mask].median(dim=0).values[None]
        return _mask_of(color, frame), ObjectMemory({frame_index: FrameMemory(color, color.bfloat16())}, {})

    def propagate(self, frame_index: int, frame: Tensor, memory: ObjectMemory) -> tuple[ObjectMask, ObjectMemory]:
        [remembered] = memory.conditioning.values()
        recent = {frame_index: FrameMemory(remembered.pointer.clone(), None)}
        return _mask_of(remembered.pointer, frame), ObjectMemory(memory.conditioning, recent)


def _mask_of(color: Tensor, frame: Tensor) -> ObjectMask:
    inside = (frame - color).abs().amax(dim=2) < 20
    return ObjectMask(torch.where(inside, 10.0, -10.0), torch.where(inside.any(), 5.0, -5.0))
