from __future__ import annotations

import numpy as np
import pytest
import torch

from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.references.second_look import encode_mask_crops
from tests.test_segmenter import PRIMARIES, ColorEncoder, FixedProposals, make_memory, make_segmenter

LOOKING = "second_look.max_masks=5"


def red_square() -> tuple[np.ndarray, np.ndarray]:
    """A red square of 12 pixels on a blue image of 120, and its mask."""
    pixels = np.zeros((120, 120, 3), np.uint8)
    pixels[..., 2] = 255
    pixels[60:72, 30:42] = (255, 0, 0)
    mask = np.zeros((120, 120), bool)
    mask[60:72, 30:42] = True
    return pixels, mask


def test_features_of_crops_are_finer_than_those_of_the_image() -> None:
    pixels, mask = red_square()
    [feature] = encode_mask_crops(pixels, [encode_mask(mask)], ColorEncoder(), context_ratio=0.2, batch_size=1)
    assert feature is not None
    unit = feature / feature.norm()
    assert unit[0] > 0.97  # in the whole image the square covers three patches of 15 pixels, half of them blue


def test_batches_do_not_matter_and_order_is_kept() -> None:
    pixels, mask = red_square()
    rles = [encode_mask(mask), encode_mask(~mask), encode_mask(np.roll(mask, 5, axis=1))]
    together = encode_mask_crops(pixels, rles, ColorEncoder(), context_ratio=0.2, batch_size=3)
    for one, other in zip(
        together, encode_mask_crops(pixels, rles, ColorEncoder(), context_ratio=0.2, batch_size=2), strict=True
    ):
        torch.testing.assert_close(one, other)
    assert encode_mask_crops(pixels, [], ColorEncoder(), context_ratio=0.2, batch_size=2) == []


def test_a_second_look_corrects_a_label() -> None:
    pixels, _ = red_square()
    logits = torch.full((1, 16, 16), -2.0)
    logits[0, 8:10, 4:6] = 2.0  # 7.5 pixels each: 60..75 x 30..45
    fixed = FixedProposals(logits, torch.tensor([0.9]))
    memory = make_memory(**PRIMARIES)
    once = make_segmenter(proposals=fixed).segment(pixels, memory)
    twice = make_segmenter(LOOKING, proposals=fixed).segment(pixels, memory)
    assert (once.category_names, twice.category_names) == (["blue"], ["red"])
    assert once.rles == twice.rles


def test_masks_that_are_not_looked_at_lose() -> None:
    logits = torch.full((2, 16, 16), -2.0)
    logits[0, :6, :6], logits[1, 9:, 9:] = 2.0, 2.0
    fixed = FixedProposals(logits, torch.tensor([0.9, 0.8]))
    white, memory = np.full((64, 64, 3), 255, np.uint8), make_memory(**PRIMARIES)
    once = make_segmenter("matching.labels_per_mask=1", proposals=fixed).segment(white, memory)
    twice = make_segmenter("second_look.max_masks=1", "second_look.discount=0.5", proposals=fixed).segment(
        white, memory
    )
    assert len(once) == len(twice) == 2
    np.testing.assert_allclose(twice.scores, [once.scores[0], once.scores[1] / 2], rtol=1e-5)


def test_no_mask_and_no_memory() -> None:
    none = FixedProposals(torch.zeros(0, 16, 16), torch.zeros(0))
    pixels, _ = red_square()
    assert len(make_segmenter(LOOKING, proposals=none).segment(pixels, make_memory(**PRIMARIES))) == 0
    assert len(make_segmenter(LOOKING).segment(pixels, make_memory())) == 0


def test_pixels_are_asked_for() -> None:
    segmenter = make_segmenter(LOOKING)
    [encoded] = segmenter.encode([red_square()[0]])
    with pytest.raises(ValueError, match="needs the pixels"):
        segmenter.label(segmenter.propose(encoded), make_memory(**PRIMARIES))
