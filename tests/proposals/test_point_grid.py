from __future__ import annotations

import logging

import pytest
import torch

from no_time_to_train.models.interfaces import BestMasks, ImageEmbedding, PromptBatch
from no_time_to_train.proposals.interfaces import EncodedImage
from no_time_to_train.proposals.point_grid import PointGrid, point_grid_xy


class OneMaskPerPrompt:
    """Stands for a mask model: remembers the prompts, gives every point a mask of its own."""

    model_id, image_size, mask_size, device = "fake", 64, 16, torch.device("cpu")

    def predict_best(self, embedding: ImageEmbedding, prompts: PromptBatch, *, min_predicted_iou: float) -> BestMasks:
        self.prompts, self.min_predicted_iou = prompts, min_predicted_iou
        count = len(prompts)
        return BestMasks(torch.ones(count, 16, 16), torch.ones(count), torch.arange(count))


def encoded(features: torch.Tensor) -> EncodedImage:
    blank = torch.zeros(1, 1, 1, 1)
    return EncodedImage((64, 64), features, ImageEmbedding(blank, (blank, blank)))


def test_grid_is_the_published_one() -> None:
    grid = point_grid_xy(1024, 32)
    assert grid.shape == (1024, 2)
    assert grid[0].tolist() == [0.5, 0.5]
    assert grid[1].tolist() == pytest.approx([0.5, 33.5])  # y varies fastest: x is the slow axis
    assert grid[-1].tolist() == [1023.5, 1023.5]


def test_one_point_grid() -> None:
    assert point_grid_xy(64, 1).tolist() == [[0.5, 0.5]]


def test_every_point_is_one_foreground_prompt() -> None:
    model = OneMaskPerPrompt()
    proposals = PointGrid(4, 0.3).propose(encoded(torch.zeros(4, 4, 2)), model)
    assert len(proposals) == 16
    assert model.min_predicted_iou == 0.3
    assert model.prompts.points_xy is not None and model.prompts.points_xy.shape == (16, 1, 2)
    assert model.prompts.point_labels is not None and model.prompts.point_labels.tolist() == [[1]] * 16


def test_prefilter_by_threshold_keeps_points_on_the_similar_patch() -> None:
    features = torch.zeros(2, 2, 2)
    features[..., 0] = 1
    features[1, 0] = torch.tensor([0.0, 1.0])  # the lower left patch is the only one like the prototype
    model = OneMaskPerPrompt()
    grid = PointGrid(4, 0.3, "semantic", prefilter_min_similarity=0.5)
    grid.propose(encoded(features), model, torch.tensor([[0.0, 3.0]]))
    points = model.prompts.points_xy[:, 0]
    assert len(points) == 4
    assert (points[:, 0] < 32).all() and (points[:, 1] > 32).all()


def test_prefilter_top_k_and_its_report(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    # The command line keeps the package's messages from the root logger, in this process too if it ran before.
    monkeypatch.setattr(logging.getLogger("no_time_to_train"), "propagate", True)
    model = OneMaskPerPrompt()
    with caplog.at_level("INFO", logger="no_time_to_train"):
        PointGrid(4, 0.3, "semantic", prefilter_top_k=5).propose(
            encoded(torch.rand(3, 3, 2)), model, torch.tensor([[0.0, 3.0]])
        )
    assert len(model.prompts) == 5
    assert "11 of 16 grid points dropped" in caplog.text


def test_prefilter_that_drops_everything_gives_no_proposal() -> None:
    grid = PointGrid(4, 0.3, "semantic", prefilter_min_similarity=1.0)
    assert len(grid.propose(encoded(torch.ones(2, 2, 2)), OneMaskPerPrompt(), torch.tensor([[-1.0, -1.0]]))) == 0
