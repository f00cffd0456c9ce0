from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from no_time_to_train.config import GraphDiffusionConfig, HardConfig, MergingConfig
from no_time_to_train.errors import InputError
from no_time_to_train.merging import best_across_categories, decay_scores
from no_time_to_train.ops.rle import Rle, encode_mask

METHODS = ["hard", "soft", "semantic_soft", "graph_diffusion", "none"]


def strip(start: int, stop: int) -> Rle:
    """A mask of one row: the pixels start..stop of ten."""
    mask = np.zeros((1, 10), bool)
    mask[0, start:stop] = True
    return encode_mask(mask)


def decay(name: str, rles: list[Rle], labels: list[int] | None = None, features: Tensor | None = None, **settings):
    """New scores, all 1 before."""
    count = len(rles)
    return decay_scores(
        torch.ones(count),
        torch.tensor(labels or [0] * count),
        rles,
        torch.ones(count, 1) if features is None else features,
        MergingConfig(name=name, **settings),
    ).tolist()


@pytest.mark.parametrize("name", METHODS)
def test_a_mask_alone_in_its_category_keeps_its_score(name: str) -> None:
    assert decay(name, [strip(0, 4), strip(0, 4)], labels=[0, 1]) == [1, 1]


def test_none_changes_nothing() -> None:
    assert decay("none", [strip(0, 4), strip(0, 4)]) == [1, 1]


def test_hard_drops_what_lies_inside_a_better_mask() -> None:
    rles = [strip(0, 6), strip(2, 4), strip(4, 8)]  # IoS with the first: all, half
    assert decay("hard", rles) == [1, 0, 1]
    assert decay("hard", rles, hard=HardConfig(0.5)) == [1, 0, 0]
    assert decay("hard", rles, labels=[0, 1, 0]) == [1, 1, 1]
    assert decay("hard", rles, hard=HardConfig(0.0)) == [1, 0, 0]


def test_the_rank_decides_not_the_size() -> None:
    assert decay("hard", [strip(2, 4), strip(0, 6)]) == [1, 1]
    assert decay("soft", [strip(2, 4), strip(0, 6)], exponent=1.0) == pytest.approx([1, 1 - 2 / 6])


def test_soft_takes_the_greatest_overlap() -> None:
    rles = [strip(0, 2), strip(3, 6), strip(1, 5)]  # the last: 1/4 under the first, 2/4 under the second
    assert decay("soft", rles, exponent=1.0) == pytest.approx([1, 1, 0.5])
    assert decay("soft", rles) == pytest.approx([1, 1, 0.5**0.5])
    assert decay("soft", rles, labels=[0, 1, 0], exponent=1.0) == pytest.approx([1, 1, 0.75])


def test_semantic_soft_weighs_the_overlap_by_similarity() -> None:
    rles = [strip(0, 2), strip(3, 6), strip(1, 5)]
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    # max(1/4 * 0.6, 2/4 * 0.8) = 0.4
    assert decay("semantic_soft", rles, features=features, exponent=1.0) == pytest.approx([1, 1, 0.6])
    assert decay("semantic_soft", rles, features=features) == pytest.approx([1, 1, 0.6**0.5])
    opposite = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert decay("semantic_soft", rles, features=opposite) == pytest.approx([1, 1, 1])


def test_graph_diffusion_by_hand() -> None:
    # IoS: second under first 1/2; third under first 1/4, under second 3/4. Greatest: v = 0, 1/2, 3/4.
    rles = [strip(0, 4), strip(2, 6), strip(3, 7)]
    pi = [0.0, 0.7 * 0.5, 0.0]
    pi[2] = 0.3 * (0.75 * pi[1]) + 0.7 * 0.75
    assert decay("graph_diffusion", rles, exponent=1.0) == pytest.approx([1 - p for p in pi], abs=1e-6)
    # One step from v; the first has nobody above it.
    one_step = [0.0, 0.7 * 0.5, 0.3 * (0.75 * 0.5) + 0.7 * 0.75]
    assert decay("graph_diffusion", rles, exponent=1.0, graph_diffusion=GraphDiffusionConfig(steps=1)) == pytest.approx(
        [1 - p for p in one_step]
    )
    assert decay(
        "graph_diffusion", rles, exponent=1.0, graph_diffusion=GraphDiffusionConfig(alpha=0.0)
    ) == pytest.approx([1, 0.5, 0.25])


def test_graph_diffusion_without_normalized_rows() -> None:
    rles = [strip(0, 4), strip(2, 6), strip(0, 6)]  # third: 4/6 under both
    plain = 0.3 * (4 / 6 * 0 + 4 / 6 * 0.35) + 0.7 * 4 / 6
    normalized = 0.3 * (0.5 * 0 + 0.5 * 0.35) + 0.7 * 4 / 6
    scores = decay("graph_diffusion", rles, exponent=1.0, graph_diffusion=GraphDiffusionConfig(normalize_rows=False))
    assert scores == pytest.approx([1, 0.65, 1 - plain], abs=1e-6)
    scores = decay("graph_diffusion", rles, exponent=1.0, graph_diffusion=GraphDiffusionConfig(normalize_rows=True))
    assert scores == pytest.approx([1, 0.65, 1 - normalized], abs=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_no_mask_one_mask_and_empty_masks(name: str) -> None:
    assert decay(name, [], labels=[]) == []
    assert decay(name, [strip(0, 3)]) == [1]
    assert decay(name, [strip(0, 0), strip(0, 3), strip(5, 5)]) == [1, 1, 1]


def test_unknown_method() -> None:
    with pytest.raises(InputError, match="merging.name=softest is not a choice"):
        decay("softest", [strip(0, 3)])


@pytest.mark.parametrize("name", METHODS)
@settings(deadline=None)
@given(seed=st.integers(0, 1000))
def test_properties(name: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    count = 6
    masks = torch.rand(count, 5, 8, generator=generator) < torch.rand(count, 1, 1, generator=generator)
    masks[:, 0] = False
    masks[3] = False
    masks[3, 0, :2] = True  # disjoint from all
    rles = [encode_mask(mask.numpy()) for mask in masks]
    scores, labels = torch.rand(count, generator=generator), torch.randint(0, 2, (count,), generator=generator)
    features = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1)
    config = MergingConfig(
        name=name, hard=HardConfig(0.6), graph_diffusion=GraphDiffusionConfig(normalize_rows=seed % 2 == 0)
    )
    decayed = decay_scores(scores, labels, rles, features, config)

    assert decayed.isfinite().all()
    assert ((decayed >= 0) & (decayed <= scores)).all()
    assert decayed[3] == scores[3]
    for label in (0, 1):  # classes do not see each other, and the first of each loses nothing
        members = (labels == label).nonzero()[:, 0]
        alone = decay_scores(scores[members], labels[members], [rles[i] for i in members], features[members], config)
        torch.testing.assert_close(decayed[members], alone)
        assert torch.equal(alone[:1], scores[members][:1])
    # Masks ranked last change nothing for those before them.
    torch.testing.assert_close(decay_scores(scores[:4], labels[:4], rles[:4], features[:4], config), decayed[:4])
    if name == "semantic_soft":  # similarity only ever softens
        assert (decayed >= decay_scores(scores, labels, rles, features, replace(config, name="soft")) - 1e-6).all()


def best(scores: list[float], labels: list[int], rles: list[Rle], iou_threshold: float = 0.7) -> list[bool]:
    return best_across_categories(torch.tensor(scores), torch.tensor(labels), rles, iou_threshold).tolist()


def test_an_object_of_two_categories_keeps_the_better_one() -> None:
    rles = [strip(0, 4), strip(0, 5), strip(6, 9)]  # IoU of the first two: 0.8
    assert best([0.5, 0.6, 0.1], [0, 1, 2], rles) == [False, True, True]
    assert best([0.5, 0.6, 0.1], [0, 0, 2], rles) == [True, True, True]  # one category: merging has settled it
    assert best([0.5, 0.6, 0.1], [0, 1, 2], rles, iou_threshold=0.8) == [False, True, True]
    assert best([0.5, 0.6, 0.1], [0, 1, 2], rles, iou_threshold=0.81) == [True, True, True]
    assert best([0.5, 0.5, 0.5], [0, 1, 2], rles) == [True, False, True]  # equal scores: the first


def test_what_is_dropped_drops_nothing() -> None:
    rles = [strip(0, 4), strip(0, 5), strip(0, 6)]  # neighbors overlap by 0.8, the outer two by 0.67
    assert best([0.9, 0.8, 0.7], [0, 1, 2], rles) == [True, False, True]


def test_masks_without_a_score_take_no_part() -> None:
    assert best([0.0, 0.0], [0, 1], [strip(0, 4), strip(0, 4)]) == [True, True]
    assert best([], [], []) == []
