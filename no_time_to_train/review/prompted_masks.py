"""Masks for a reviewer's clicks and boxes; the last images stay encoded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from no_time_to_train.data.images import read_image
from no_time_to_train.ops.rle import Rle, rle_area

if TYPE_CHECKING:
    from no_time_to_train.models.interfaces import MaskModel
    from no_time_to_train.models.prompting import PromptableImage

_MAX_IMAGES = 4


@dataclass(frozen=True)
class Candidates:
    """The masks of one prompt, best first, with the mask model's own estimate of their quality."""

    masks: tuple[Rle, ...]
    predicted_ious: tuple[float, ...]


class PromptedMasks:
    """Answer clicks and boxes through the mask model, one at a time.

    Args:
        load: makes the mask model; called at the first prompt, which therefore takes longer.
    """

    def __init__(self, load: Callable[[], MaskModel]) -> None:
        self._load = load
        self._model: MaskModel | None = None
        self._encoded: OrderedDict[Path, PromptableImage] = OrderedDict()
        self._lock = Lock()

    def prepare(self, path: Path, *, upright: bool = True) -> None:
        """Encode an image, so that its first click is answered at once; ``upright`` as of ``read_image``."""
        with self._lock:
            self._encode(path, upright)

    def candidates(
        self,
        path: Path,
        points_xy: Sequence[tuple[float, float]],
        point_labels: Sequence[int],
        box_xyxy: Sequence[float] | None,
        *,
        upright: bool = True,
    ) -> Candidates:
        """Return the masks for points, a box or both.

        Args:
            path: the image.
            points_xy: P points in pixels of the image.
            point_labels: P times 1 (on the object) or 0 (beside it).
            box_xyxy: x1, y1, x2, y2 in pixels of the image.
            upright: whether these are of the image turned as its EXIF orientation says.

        Raises:
            InputError: no prompt, or coordinates outside the image.
        """
        from no_time_to_train.models.prompting import segment_prompts

        with self._lock:
            found = segment_prompts(
                self._mask_model(),
                self._encode(path, upright),
                points_xy=list(points_xy) or None,
                point_labels=list(point_labels) or None,
                boxes_xyxy=None if box_xyxy is None else list(box_xyxy),
                multimask=True,
            )
        scored = sorted(
            zip(found.predicted_ious[0].tolist(), found.rles[0], strict=True), key=lambda pair: pair[0], reverse=True
        )
        visible = [(score, rle) for score, rle in scored if rle_area(rle)]
        return Candidates(tuple(rle for _, rle in visible), tuple(score for score, _ in visible))

    def _encode(self, path: Path, upright: bool) -> PromptableImage:
        from no_time_to_train.models.prompting import embed_image

        if path not in self._encoded:
            self._encoded[path] = embed_image(self._mask_model(), read_image(path, upright=upright))
            while len(self._encoded) > _MAX_IMAGES:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(path)
        return self._encoded[path]

    def _mask_model(self) -> MaskModel:
        if self._model is None:
            self._model = self._load()
        return self._model
