"""Inputs and outputs of every source of candidate masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from no_time_to_train.models.interfaces import ImageEmbedding, MaskModel
from no_time_to_train.structures import MaskProposals, TargetImage


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """One image as both networks see it.

    It is computed once and passed to every later stage.

    Attributes:
        image_size_hw: (height, width) of the original image.
        features: (h, w, D) patch features of the whole image, squashed to the encoder's square.
        embedding: the mask model's view of the same image.
        pixels: (H, W, 3) uint8, the image itself, for sources that look closer at parts of it.
        target: which image it is, where that is known (for sources that read boxes from a file).
    """

    image_size_hw: tuple[int, int]
    features: Tensor
    embedding: ImageEmbedding
    pixels: np.ndarray | None = None
    target: TargetImage | None = None


Need = Literal["features", "embedding", "pixels", "references"]
"""What a source looks at: fields of an ``EncodedImage``, or the prototypes of the references."""


class ProposalSource(Protocol):
    """Where candidate masks come from."""

    @property
    def needs(self) -> frozenset[Need]:
        """Return what the source looks at.

        With ``references`` its masks serve one memory bank only.
        """
        return frozenset({"embedding"})

    def check(self, targets: Sequence[TargetImage]) -> None:
        """Refuse images that the source has nothing for.

        It is called before any work is done.

        Raises:
            InputError: it has nothing for any of them.
        """

    def propose(self, image: EncodedImage, mask_model: MaskModel, prototypes: Tensor | None = None) -> MaskProposals:
        """Propose candidate masks of one image.

        ``prototypes`` (P, D) lets a source look only where a category may be.
        """
        ...
