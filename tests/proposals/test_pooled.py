from __future__ import annotations

import numpy as np
import pytest
import torch

from no_time_to_train.models.interfaces import ImageEmbedding
from no_time_to_train.ops.boxes import boxes_from_masks
from no_time_to_train.ops.pooling import pool_mask_features
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.proposals.interfaces import EncodedImage, MaskProposals
from no_time_to_train.proposals.pooled import PooledProposals, pool_proposals
from tests.test_segmenter import FixedProposals, make_segmenter


def halves() -> EncodedImage:
    """Features that point one way on the left half, and the opposite way but shorter on the right."""
    features = torch.zeros(4, 4, 2)
    features[:, :2, 0] = 1
    features[:, 2:, 0] = -0.5
    blank = torch.zeros(1, 1, 1, 1)
    return EncodedImage((16, 16), features, ImageEmbedding(blank, (blank, blank)))


def three_masks() -> MaskProposals:
    """Columns of the left half, of both halves, and of nothing."""
    logits = torch.full((3, 16, 16), -1.0)
    logits[0, :, :4] = 1
    logits[1] = 1
    rles = tuple(encode_mask((mask > 0).numpy()) for mask in logits)
    return MaskProposals(logits, torch.tensor([0.9, 0.8, 0.7]), rles)


def test_by_default_every_mask_stays() -> None:
    proposals, image = three_masks(), halves()
    pooled = pool_proposals(proposals, image)
    assert len(pooled) == 3
    torch.testing.assert_close(pooled.features, pool_mask_features(proposals.logits > 0, image.features))
    torch.testing.assert_close(pooled.grid_boxes_xyxy, boxes_from_masks(proposals.logits > 0))
    assert pooled.rles(torch.tensor([1])) == [proposals.rles[1]]


def test_masks_whose_features_disagree_are_dropped() -> None:
    proposals = three_masks()
    pooled = pool_proposals(proposals, halves(), "drop", min_consistency=0.5)
    assert pooled.predicted_ious.tolist() == pytest.approx([0.9])
    assert pooled.features.tolist() == [[1, 0]]
    assert pooled.grid_boxes_xyxy.tolist() == [[0, 0, 4, 16]]
    assert pooled.rles() == [proposals.rles[0]]
    everything = pool_proposals(proposals, halves(), "drop", min_consistency=-1)
    assert len(everything) == 3


def test_consistencies_come_with_the_masks() -> None:
    pooled = pool_proposals(three_masks(), halves())
    # Half of the patches point to the mean, half of them away from it: 0. So does the empty mask count.
    torch.testing.assert_close(pooled.consistencies, torch.tensor([1.0, 0.0, 0.0]))
    assert pool_proposals(three_masks(), halves(), "drop", min_consistency=0.5).consistencies.tolist() == [1.0]


def test_consistencies_are_never_negative() -> None:
    # Three patches point one way, one points the other way and is ten times as long: the mean cosine is negative.
    image = EncodedImage((8, 8), torch.tensor([[[1.0], [1.0]], [[1.0], [-10.0]]]), halves().embedding)
    pooled = pool_proposals(MaskProposals(torch.ones(1, 8, 8), torch.ones(1)), image)
    assert pooled.consistencies.tolist() == [0]


def test_stabilities_are_the_sources_or_those_of_the_logits() -> None:
    logits = torch.full((1, 8, 8), -2.0)
    logits[0, :4] = 0.5  # 32 cells above -1, of which 8 are above 1
    logits[0, 0] = 3.0
    proposals = MaskProposals(logits, torch.ones(1))
    assert pool_proposals(proposals, halves()).stabilities.tolist() == [8 / 32]
    known = MaskProposals(logits, torch.ones(1), stabilities=torch.tensor([0.75]))
    assert pool_proposals(known, halves()).stabilities.tolist() == [0.75]
    assert known[torch.tensor([0])].known_stabilities().tolist() == [0.75]
    with pytest.raises(ValueError, match=r"stabilities must be \(1,\), got \(2,\)"):
        MaskProposals(logits, torch.ones(1), stabilities=torch.ones(2))


def test_no_mask_at_all() -> None:
    nothing = three_masks()[torch.zeros(0, dtype=torch.long)]
    for consistency in ("none", "drop"):
        assert len(pool_proposals(nothing, halves(), consistency)) == 0


def test_every_field_has_one_entry_per_mask() -> None:
    with pytest.raises(ValueError, match=r"one entry per mask, got lengths \[1, 2\]"):
        PooledProposals(
            torch.ones(2),
            torch.ones(2),
            torch.zeros(2, 4),
            torch.zeros(1, 3),
            torch.ones(2),
            torch.zeros(2, 8, 8),
            (8, 8),
        )


@pytest.mark.parametrize(("settings", "num_masks"), [([], 3), (["consistency=weigh"], 3), (["consistency=drop"], 2)])
def test_settings_reach_the_pooling_of_every_source(settings: list[str], num_masks: int) -> None:
    logits = torch.full((3, 16, 16), -1.0)
    logits[0, :, :6] = logits[1, :, 10:] = logits[2] = 1.0  # the black half, the white half, both
    fixed = FixedProposals(logits, torch.ones(3))
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 16:] = 255
    # The fake encoder gives black patches the feature 0, which agrees with nothing.
    segmenter = make_segmenter(*(f"proposals.{setting}" for setting in settings), proposals=fixed)
    [encoded] = segmenter.encode([picture])
    assert len(segmenter.propose(encoded)) == num_masks
