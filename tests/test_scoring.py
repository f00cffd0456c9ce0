from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from no_time_to_train.build import compose_config
from no_time_to_train.config import ScoringConfig
from no_time_to_train.scoring import Evidence, mask_ranking, mask_scores, product_of_powers

EVIDENCE = Evidence(
    similarities=torch.tensor([0.5, 1.0, 0.0]),
    predicted_ious=torch.tensor([0.8, 0.5, 0.9]),
    stabilities=torch.tensor([0.9, 0.1, 0.2]),
    consistencies=torch.tensor([1.0, 0.25, 0.5]),
)


PAPER = ScoringConfig(
    similarity_exponent=1,
    predicted_iou_exponent=0,
    stability_exponent=0,
    rank_similarity_exponent=0,
    rank_predicted_iou_exponent=1,
    rank_stability_exponent=0,
)


def test_the_options_are_what_they_say() -> None:
    assert compose_config(["scoring=similarity"]).scoring == PAPER
    assert compose_config(["preset=paper"]).scoring == PAPER
    assert compose_config(["scoring=quality"]).scoring == compose_config(["preset=best"]).scoring == ScoringConfig()


def test_the_papers_scores_and_ranks_are_what_came_in_to_the_bit() -> None:
    evidence = Evidence(torch.rand(50), torch.randn(50), torch.rand(50), torch.rand(50))
    assert torch.equal(mask_scores(evidence, PAPER), evidence.similarities)
    assert torch.equal(mask_ranking(evidence, PAPER), evidence.predicted_ious)


def test_scores_are_products_of_powers() -> None:
    config = replace(PAPER, predicted_iou_exponent=2, consistency_exponent=0.5)
    torch.testing.assert_close(mask_scores(EVIDENCE, config), torch.tensor([0.5 * 0.64, 0.25 * 0.5, 0.0]))


def test_ranks_have_their_own_exponents() -> None:
    config = replace(PAPER, predicted_iou_exponent=2, rank_similarity_exponent=2, rank_consistency_exponent=1)
    torch.testing.assert_close(mask_ranking(EVIDENCE, config), torch.tensor([0.8 * 0.25, 0.5 * 0.25, 0.0]))
    stable = replace(PAPER, stability_exponent=2, rank_predicted_iou_exponent=0, rank_stability_exponent=1)
    assert torch.equal(mask_ranking(EVIDENCE, stable), EVIDENCE.stabilities)
    torch.testing.assert_close(mask_scores(EVIDENCE, stable), torch.tensor([0.5 * 0.81, 0.01, 0.0]))
    swapped = replace(PAPER, rank_similarity_exponent=1, rank_predicted_iou_exponent=0)
    assert torch.equal(mask_ranking(EVIDENCE, swapped), EVIDENCE.similarities)


def test_scores_stay_between_0_and_1_whatever_the_mask_model_says() -> None:
    wild = Evidence(torch.ones(3), torch.tensor([-0.3, 0.5, 1.4]), torch.ones(3), torch.ones(3))
    for exponent in (0.5, 1.0, 2.0):
        scores = mask_scores(wild, replace(PAPER, predicted_iou_exponent=exponent))
        assert scores.tolist() == pytest.approx([0, 0.5**exponent, 1])


def test_without_any_factor_all_are_equal() -> None:
    assert product_of_powers([(torch.tensor([0.1, 0.9]), 0.0)]).tolist() == [1, 1]


def test_no_mask_at_all() -> None:
    none = Evidence(*(torch.zeros(0) for _ in range(4)))
    assert len(mask_scores(none, ScoringConfig())) == 0
