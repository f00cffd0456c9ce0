from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from no_time_to_train.data.box_files import BoxFile
from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import ImageEmbedding
from no_time_to_train.ops.rle import decode_rle, encode_mask
from no_time_to_train.proposals.boxes import BoxesFromFile, BoxProposals
from no_time_to_train.proposals.combined import Union
from no_time_to_train.proposals.interfaces import EncodedImage, MaskProposals, ProposalSource
from no_time_to_train.structures import TargetImage

IMAGE_SIZE_HW = (8, 16)


@dataclass(frozen=True)
class Fixed(ProposalSource):
    """The same masks for every image."""

    proposals: MaskProposals
    looks_at_references: bool = False

    @property
    def needs(self):  # type: ignore[no-untyped-def]
        return frozenset({"references"} if self.looks_at_references else {"embedding"})

    def propose(self, image: object, mask_model: object, prototypes: torch.Tensor | None = None) -> MaskProposals:
        return self.proposals


def grid_masks(count: int, predicted_iou: float) -> MaskProposals:
    """Masks of the left half on a 4 x 4 grid."""
    logits = torch.full((count, 4, 4), -1.0)
    logits[:, :, :2] = 1
    return MaskProposals(logits, torch.full((count,), predicted_iou))


def encoded() -> EncodedImage:
    blank = torch.zeros(1, 1, 1, 1)
    return EncodedImage(IMAGE_SIZE_HW, torch.zeros(2, 2, 1), ImageEmbedding(blank, (blank, blank)))


def test_masks_of_all_sources_in_their_order() -> None:
    union = Union((Fixed(grid_masks(2, 0.5)), Fixed(grid_masks(0, 0.0)), Fixed(grid_masks(1, 0.9))))
    proposals = union.propose(encoded(), object())
    assert proposals.predicted_ious.tolist() == pytest.approx([0.5, 0.5, 0.9])
    assert proposals.logits.shape == (3, 4, 4)
    assert proposals.rles is None


def test_every_source_keeps_its_stabilities() -> None:
    known = MaskProposals(torch.zeros(1, 4, 4), torch.ones(1), stabilities=torch.tensor([0.75]))
    proposals = Union((Fixed(known), Fixed(grid_masks(1, 0.5)))).propose(encoded(), object())
    assert proposals.known_stabilities().tolist() == [0.75, 0.0]  # the grid's logits are not above 1 anywhere


def test_one_source_with_full_size_masks_makes_them_for_all() -> None:
    fine = np.zeros(IMAGE_SIZE_HW, bool)
    fine[3, 5] = True
    with_rles = MaskProposals(torch.ones(1, 4, 4), torch.ones(1), (encode_mask(fine),))
    proposals = Union((Fixed(grid_masks(1, 0.5)), Fixed(with_rles))).propose(encoded(), object())
    assert proposals.rles is not None
    left, own = (decode_rle(rle) for rle in proposals.rles)
    assert left[:, :8].all() and not left[:, 8:].any()
    assert (own == fine).all()


def test_needs_what_any_source_needs() -> None:
    plain, looking = Fixed(grid_masks(1, 0.5)), Fixed(grid_masks(1, 0.5), looks_at_references=True)
    assert Union((plain, plain)).needs == {"embedding"}
    union = Union((plain, looking))
    assert union.needs == {"embedding", "references"}
    assert len(union.propose(encoded(), object(), torch.ones(1, 1))) == 2
    with pytest.raises(ValueError, match="at least one source"):
        Union(())


def test_files_of_boxes_are_checked_wherever_they_stand() -> None:
    file = BoxFile(Path("boxes.json"), False, {5: np.zeros((0, 5))})
    boxes, grid = BoxProposals(BoxesFromFile(file)), Fixed(grid_masks(1, 0.5))
    known, unknown = (TargetImage(Path("a.jpg"), "a.jpg", number) for number in (5, 6))
    grid.check([unknown])
    for source in (boxes, Union((grid, boxes))):
        source.check([known])
        with pytest.raises(InputError, match="boxes.json has boxes for none"):
            source.check([unknown])
