from __future__ import annotations

import pytest
import torch

from no_time_to_train.ops.clustering import kmeans_centres


def test_finds_separate_clusters_silently(capfd: pytest.CaptureFixture[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = means.repeat(8, 1) + 0.1 * torch.randn(24, 2, generator=generator)
    centres = kmeans_centres(points, 3, seed=0)
    assert torch.cdist(centres, means).min(dim=0).values.max() < 0.2
    assert torch.equal(centres, kmeans_centres(points, 3, seed=0))
    assert capfd.readouterr() == ("", "")


def test_one_centre_is_the_mean() -> None:
    points = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 8.0]])
    torch.testing.assert_close(kmeans_centres(points, 1, seed=3), torch.tensor([[2.0, 4.0]]))


def test_no_more_centres_than_different_vectors() -> None:
    points = torch.tensor([[3.0, 1.0], [2.0, 2.0], [3.0, 1.0]])
    assert kmeans_centres(points, 5, seed=0).tolist() == [[2, 2], [3, 1]]
    assert kmeans_centres(points, 2, seed=0).tolist() == [[2, 2], [3, 1]]
