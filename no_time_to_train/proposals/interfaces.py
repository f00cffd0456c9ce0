"""Inputs and outputs of every source of candidate masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.models.interfaces import ImageEmbedding, MaskModel
from no_time_to_train.ops.masks import grid_stability_scores
from no_time_to_train.ops.rle import Rle
from no_time_to_train.structures import TargetImage


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


@dataclass(frozen=True, eq=False)
class MaskProposals:
    """Candidate masks of one image on the mask model's low-resolution grid.

    Attributes:
        logits: (N, m, m) mask logits over the whole (squashed) image; a pixel belongs to the mask where > 0.
        predicted_ious: (N,) the mask model's own estimate of each mask's IoU, about 0..1.
        rles: the masks in the image's own size, where the source knows them finer than the grid does (crops of the
            image); None: they are the logits made larger.
        stabilities: (N,) in 0..1, how little each mask changes with its threshold, where the source knows it better
            than the logits do; None: they are those of the logits.
    """

    logits: Tensor
    predicted_ious: Tensor
    rles: tuple[Rle, ...] | None = None
    stabilities: Tensor | None = None

    def __post_init__(self) -> None:
        if self.logits.ndim != 3 or self.predicted_ious.shape != self.logits.shape[:1]:
            raise ValueError(
                "logits must be (N, m, m) and predicted_ious (N,), got "
                f"{tuple(self.logits.shape)} and {tuple(self.predicted_ious.shape)}"
            )
        if self.rles is not None and len(self.rles) != len(self):
            raise ValueError(f"there must be one RLE for each of the {len(self)} masks, got {len(self.rles)}")
        if self.stabilities is not None and self.stabilities.shape != self.predicted_ious.shape:
            raise ValueError(f"stabilities must be ({len(self)},), got {tuple(self.stabilities.shape)}")

    def __len__(self) -> int:
        return self.logits.shape[0]

    def known_stabilities(self) -> Tensor:
        """Return the (N,) stabilities, the source's or those of the logits."""
        return grid_stability_scores(self.logits) if self.stabilities is None else self.stabilities

    def __getitem__(self, index: Tensor | slice) -> MaskProposals:
        rles = self.rles
        if rles is not None:
            rles = tuple(rles[i] for i in torch.arange(len(self))[index if isinstance(index, slice) else index.cpu()])
        stabilities = None if self.stabilities is None else self.stabilities[index]
        return MaskProposals(self.logits[index], self.predicted_ious[index], rles, stabilities)


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
