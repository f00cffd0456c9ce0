"""A base model for autodistill: ``MemoryModel("boats.safetensors").label("photos/", output_folder="boats_yolo/")``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from no_time_to_train.adapters.memory_labeler import MemoryLabeler
from no_time_to_train.errors import InputError, missing_package
from no_time_to_train.settings.suggestions import did_you_mean

try:
    from autodistill.detection import CaptionOntology, DetectionBaseModel
    from supervision import Detections
except ModuleNotFoundError as error:
    raise missing_package(error) from error

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from no_time_to_train.references.min_scores import MinScoreRequest


class MemoryModel(DetectionBaseModel):
    """Finds objects with masks, as ``autodistill.detection.DetectionBaseModel``.

    Args:
        memory: file of ``fit``.
        ontology: class names by the names of the memory's categories, of those to find; None: all, by their own names.
        min_score: as of ``label_folder``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        InputError: the ontology names a category that the memory has not, or as ``MemoryLabeler`` does.
        WeightsNotFoundError: a model's weights are not there.
    """

    def __init__(
        self,
        memory: str | Path,
        ontology: CaptionOntology | None = None,
        *,
        min_score: MinScoreRequest = None,
        device: str = "auto",
    ) -> None:
        self._labeler = MemoryLabeler(memory, min_score=min_score, overrides=[f"device={device}"])
        names = [category.name for category in self._labeler.categories]
        self.ontology = ontology or CaptionOntology({name: name for name in names})
        for name in self.ontology.prompts():
            if name not in names:
                raise InputError(
                    f"the ontology names '{name}', which is no category of {memory}: {', '.join(names)}."
                    f"{did_you_mean(name, names)}"
                )

    def predict(self, input: str | np.ndarray | Image.Image) -> Detections:
        """Return the objects of an image; ``class_id`` is the position in ``ontology.classes()``.

        Args:
            input: a file, an image of Pillow, or an array (H, W, 3) uint8 BGR as cv2 reads it.
        """
        image = np.ascontiguousarray(input[..., ::-1]) if isinstance(input, np.ndarray) else input
        found = self._labeler.label(image)
        positions = {name: position for position, name in enumerate(self.ontology.prompts())}
        found = found[np.array([name in positions for name in found.category_names], bool)]
        result = found.to_supervision()
        if len(found):
            result.class_id = np.array([positions[name] for name in found.category_names])
            result.data["class_name"] = np.array(self.ontology.classes())[result.class_id]
        return result
