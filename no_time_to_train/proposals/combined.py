"""The candidate masks of several sources put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from no_time_to_train.models.interfaces import MaskModel
from no_time_to_train.ops.masks import encode_mask_logits
from no_time_to_train.ops.rle import Rle
from no_time_to_train.proposals.interfaces import EncodedImage, MaskProposals, Need, ProposalSource
from no_time_to_train.structures import TargetImage


@dataclass(frozen=True)
class Union(ProposalSource):
    """All masks of all sources, in their order.

    The same object found by two sources stays in twice: the NMS after matching keeps the one with the higher predicted
    IoU, as it does for two grid points on one object.

    Attributes:
        sources: at least one.
    """

    sources: tuple[ProposalSource, ...]

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("a union needs at least one source")

    @property
    def needs(self) -> frozenset[Need]:
        """Return what any of the sources looks at."""
        return frozenset().union(*(source.needs for source in self.sources))

    def check(self, targets: Sequence[TargetImage]) -> None:
        """Ask every source."""
        for source in self.sources:
            source.check(targets)

    def propose(self, image: EncodedImage, mask_model: MaskModel, prototypes: Tensor | None = None) -> MaskProposals:
        """Propose the masks of all sources."""
        parts = [source.propose(image, mask_model, prototypes) for source in self.sources]
        rles: tuple[Rle, ...] | None = None
        if any(part.rles is not None for part in parts):
            rles = tuple(rle for part in parts for rle in _full_size(part, image.image_size_hw))
        return MaskProposals(
            logits=torch.cat([part.logits for part in parts]),
            predicted_ious=torch.cat([part.predicted_ious for part in parts]),
            rles=rles,
            stabilities=torch.cat([part.known_stabilities() for part in parts]),
        )


def _full_size(proposals: MaskProposals, image_size_hw: tuple[int, int]) -> Sequence[Rle]:
    return encode_mask_logits(proposals.logits, image_size_hw) if proposals.rles is None else proposals.rles
