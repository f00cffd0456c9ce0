"""A model for FiftyOne: ``dataset.apply_model(FiftyOneModel("boats.safetensors"), label_field="boats")``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from no_time_to_train.adapters.memory_labeler import MemoryLabeler
from no_time_to_train.errors import missing_package
from no_time_to_train.outputs.exports.dataset import ExportObject, objects_of

try:
    import fiftyone
    from fiftyone.core.models import Model
except ModuleNotFoundError as error:
    raise missing_package(error) from error

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from no_time_to_train.references.min_scores import MinScoreRequest


_NUDGE_PX = 1e-6
"""FiftyOne cuts coordinates to whole pixels: one that comes out a little too small would be a pixel off."""


class FiftyOneModel(Model):
    """Finds objects, as ``fiftyone.core.models.Model``.

    Args:
        memory: file of ``fit``.
        min_score: as of ``label_folder``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        InputError, WeightsNotFoundError: as ``MemoryLabeler`` does.
    """

    media_type = "image"
    transforms = None
    preprocess = False
    ragged_batches = True
    """Images differ in size, so that FiftyOne gives one after the other."""

    def __init__(self, memory: str | Path, *, min_score: MinScoreRequest = None, device: str = "auto") -> None:
        self._labeler = MemoryLabeler(memory, min_score=min_score, overrides=[f"device={device}"])

    def predict(self, arg: np.ndarray) -> fiftyone.Detections:
        """Return the objects of an image (H, W, 3) uint8 RGB, as FiftyOne reads it."""
        found = self._labeler.label(arg)
        return fiftyone.Detections(detections=[_detection(item, found.image_size_hw) for item in objects_of(found)])


def _detection(item: ExportObject, image_size_hw: tuple[int, int]) -> fiftyone.Detection:
    """Return one object: its box in parts of the image's sides, and the mask within the box."""
    height, width = image_size_hw
    x, y, box_width, box_height = item.box_xywh
    left, top, right, bottom = map(int, item.box_xyxy)
    return fiftyone.Detection(
        label=item.category.name,
        bounding_box=[(x + _NUDGE_PX) / width, (y + _NUDGE_PX) / height, box_width / width, box_height / height],
        mask=item.mask[top:bottom, left:right].copy(order="C"),
        confidence=item.score,
    )
