"""An auto-annotation function for CVAT, run where the models are.

``cvat-cli ... task auto-annotate ID --function-module no_time_to_train.adapters.cvat -p memory=str:boats.safetensors``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from no_time_to_train.adapters.memory_labeler import MemoryLabeler
from no_time_to_train.errors import missing_package
from no_time_to_train.outputs.exports.dataset import ExportObject, objects_of

try:
    import cvat_sdk.auto_annotation as cvat
    from cvat_sdk.masks import encode_mask
    from cvat_sdk.models import LabeledShapeRequest
except ModuleNotFoundError as error:
    raise missing_package(error) from error

if TYPE_CHECKING:
    from PIL import Image


class CvatFunction:
    """Detects objects, as ``cvat_sdk.auto_annotation.DetectionFunction``.

    Args:
        labeler: finds the objects.

    Attributes:
        spec: the labels, by the names of the memory's categories.
    """

    def __init__(self, labeler: MemoryLabeler) -> None:
        self._labeler = labeler
        self.spec = cvat.DetectionFunctionSpec(
            labels=[cvat.label_spec(category.name, category.id, type="mask") for category in labeler.categories]
        )

    def detect(self, context: cvat.DetectionFunctionContext, image: Image.Image) -> list[LabeledShapeRequest]:
        """Return the objects of an image as masks, or as polygons where CVAT asks for them.

        Args:
            context: the threshold that was given, if any, takes the place of the memory's.
            image: as CVAT sends it; shown, and labeled, as its EXIF orientation says.
        """
        found = self._labeler.label(image, min_score=context.conf_threshold)
        objects = objects_of(found)
        return [_polygon(item) if context.conv_mask_to_poly else _mask(item) for item in objects]


def create(memory: str, min_score: str = "auto", device: str = "auto") -> CvatFunction:
    """Return the function; CVAT calls this with the values of ``-p``.

    Args:
        memory: file of ``nttt fit``.
        min_score: as of ``label_folder``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        InputError, WeightsNotFoundError: as ``MemoryLabeler`` does.
    """
    return CvatFunction(MemoryLabeler(memory, min_score=min_score, overrides=[f"device={device}"]))


def _mask(item: ExportObject) -> LabeledShapeRequest:
    return cvat.mask(item.category.id, encode_mask(item.mask, item.box_xyxy))


def _polygon(item: ExportObject) -> LabeledShapeRequest:
    """Return one polygon: a CVAT object has no more."""
    return cvat.polygon(item.category.id, item.polygon.ravel().tolist())
