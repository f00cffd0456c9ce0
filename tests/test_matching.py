from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.matching import InstanceIndex, Prototypes, match, match_nearest_instances

AXES = torch.eye(3)


def at_degrees(*angles: float) -> torch.Tensor:
    return torch.tensor([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles])


def test_cosine_with_the_class_means() -> None:
    prototypes = Prototypes(5 * AXES[:2], torch.tensor([0, 1]), num_categories=2)
    features = torch.tensor([[3.0, 4.0, 0.0], [7.0, 0.0, 0.0], [-1.0, -2.0, 0.0], [0.0, 0.0, 0.0]])
    matches = match(features, prototypes)
    torch.testing.assert_close(matches.scores, torch.tensor([0.8, 1.0, 0.0, 0.0]))
    assert matches.category_indices.tolist() == [1, 0, 0, 0]
    assert matches.mask_indices.tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(matches.normalized_features[0], torch.tensor([0.6, 0.8, 0.0]))
    assert matches.normalized_features[3].tolist() == [0, 0, 0]


def test_best_of_several_vectors_counts() -> None:
    prototypes = Prototypes(at_degrees(0, 90, 30), torch.tensor([1, 1, 0]), num_categories=2)
    matches = match(at_degrees(80, 40), prototypes)
    assert matches.category_indices.tolist() == [1, 0]
    torch.testing.assert_close(matches.scores, torch.full((2,), math.cos(math.radians(10))))


def test_category_without_references_never_wins() -> None:
    prototypes = Prototypes(-AXES[:1], torch.tensor([2]), num_categories=4)
    matches = match(AXES, prototypes, labels_per_mask=4)
    assert matches.category_indices.tolist() == [2, 2, 2]
    assert matches.scores.tolist() == [0, 0, 0]


def test_several_labels_per_mask() -> None:
    prototypes = Prototypes(at_degrees(0, 90, 200), torch.tensor([0, 1, 3]), num_categories=4)
    features = at_degrees(30, 80)
    two = match(features, prototypes, labels_per_mask=2)
    assert two.category_indices.tolist() == [0, 1, 1, 0]
    assert two.mask_indices.tolist() == [0, 0, 1, 1]
    assert len(match(features, prototypes, labels_per_mask=9).scores) == 2 * 3


def test_equal_categories_go_in_index_order() -> None:
    prototypes = Prototypes(at_degrees(45, 45, 45), torch.tensor([2, 0, 1]), num_categories=3)
    assert match(at_degrees(10), prototypes).category_indices.tolist() == [0]
    assert match(at_degrees(10), prototypes, labels_per_mask=3).category_indices.tolist() == [0, 1, 2]


@pytest.mark.parametrize("num_vectors", [0, 2])
@pytest.mark.parametrize("num_masks", [0, 3])
def test_nothing_to_match(num_vectors: int, num_masks: int) -> None:
    vectors, categories = AXES[:num_vectors], torch.arange(num_vectors)
    features = torch.ones(num_masks, 3)
    for matches in (
        match(features, Prototypes(vectors, categories, 2)),
        match_nearest_instances(features, InstanceIndex(vectors, categories, 2), num_neighbors=3),
    ):
        assert len(matches.scores) == len(matches.category_indices) == len(matches.mask_indices)
        assert len(matches.scores) == (num_masks if num_vectors else 0)
        assert matches.normalized_features.shape == (num_masks, 3)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_scores_are_finite_and_descend(seed: int, labels_per_mask: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(6, 5, generator=generator) * (torch.rand(6, 1, generator=generator) > 0.3)
    categories = torch.randint(0, 5, (6,), generator=generator)
    features = torch.randn(4, 5, generator=generator) * torch.tensor([0.0, 1e-8, 1.0, 1e8])[:, None]
    for matches in (
        match(features, Prototypes(vectors, categories, 5), labels_per_mask),
        match_nearest_instances(features, InstanceIndex(vectors, categories, 5), 3, labels_per_mask),
    ):
        scores = matches.scores.reshape(4, -1)
        assert scores.isfinite().all() and (scores >= 0).all() and (scores <= 1).all()
        assert (scores.diff(dim=1) <= 0).all()
        assert set(matches.category_indices.tolist()) <= set(categories.tolist())


def test_one_neighbor_is_the_nearest_instance() -> None:
    index = InstanceIndex(at_degrees(0, 60, 90), torch.tensor([0, 1, 1]), num_categories=2)
    matches = match_nearest_instances(at_degrees(10, 70), index, num_neighbors=1)
    assert matches.category_indices.tolist() == [0, 1]
    torch.testing.assert_close(matches.scores, torch.full((2,), math.cos(math.radians(10))))


def test_neighbors_vote() -> None:
    # Of the three nearest to 0 degrees, two belong to category 1, which has two instances.
    index = InstanceIndex(at_degrees(0, 30, -40, 80), torch.tensor([0, 1, 1, 0]), num_categories=3)
    matches = match_nearest_instances(at_degrees(0), index, num_neighbors=3, labels_per_mask=2)
    assert matches.category_indices.tolist() == [1, 0]
    expected = [(math.cos(math.radians(30)) + math.cos(math.radians(40))) / 2, 1 / 2]
    torch.testing.assert_close(matches.scores, torch.tensor(expected))


def test_category_with_one_reference_is_not_at_a_disadvantage() -> None:
    index = InstanceIndex(at_degrees(5, 40, 41, 42), torch.tensor([0, 1, 1, 1]), num_categories=2)
    matches = match_nearest_instances(at_degrees(0), index, num_neighbors=4)
    assert matches.category_indices.tolist() == [0]
    torch.testing.assert_close(matches.scores, torch.tensor([math.cos(math.radians(5))]))


def test_wrong_shapes_and_indices() -> None:
    with pytest.raises(ValueError, match="vectors must be"):
        Prototypes(AXES, torch.tensor([0]), 1)
    with pytest.raises(ValueError, match=r"in 0\.\.1, got 0 to 2"):
        InstanceIndex(AXES, torch.arange(3), 2)
