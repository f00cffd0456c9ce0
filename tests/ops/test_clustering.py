from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score

from no_time_to_train.ops import clustering
from no_time_to_train.ops.clustering import (
    best_num_clusters,
    connected_parts,
    kmeans_centers,
    nearest_centers,
    principal_components,
    silhouette,
)


def blobs(num_clusters: int, points_each: int = 30, spread: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Well-separated clusters in five dimensions, and which one each point is of."""
    generator = torch.Generator().manual_seed(num_clusters)
    means = 10 * torch.eye(5)[:num_clusters]
    labels = torch.arange(num_clusters).repeat(points_each)
    return means[labels] + spread * torch.randn(len(labels), 5, generator=generator), labels


def inertia(points: torch.Tensor, centers: torch.Tensor) -> float:
    return float((points - centers[nearest_centers(points, centers)]).square().sum())


def test_finds_separate_clusters_silently(capfd: pytest.CaptureFixture[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = means.repeat(8, 1) + 0.1 * torch.randn(24, 2, generator=generator)
    centers = kmeans_centers(points, 3, seed=0)
    assert torch.cdist(centers, means).min(dim=0).values.max() < 0.2
    assert torch.equal(centers, kmeans_centers(points, 3, seed=0))
    assert capfd.readouterr() == ("", "")


def test_one_center_is_the_mean() -> None:
    points = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 8.0]])
    torch.testing.assert_close(kmeans_centers(points, 1, seed=3), torch.tensor([[2.0, 4.0]]))


def test_no_more_centers_than_different_vectors() -> None:
    points = torch.tensor([[3.0, 1.0], [2.0, 2.0], [3.0, 1.0]])
    assert kmeans_centers(points, 5, seed=0).tolist() == [[2, 2], [3, 1]]
    assert kmeans_centers(points, 2, seed=0).tolist() == [[2, 2], [3, 1]]


def test_kmeans_gives_scikit_learns_partition_and_inertia() -> None:
    points, labels = blobs(4)
    centers = kmeans_centers(points, 4, seed=0)
    expected = KMeans(4, n_init=5, random_state=0).fit(points.numpy())
    assert adjusted_rand_score(nearest_centers(points, centers), labels) == 1
    assert adjusted_rand_score(nearest_centers(points, centers), expected.labels_) == 1
    assert inertia(points, centers) == pytest.approx(expected.inertia_, rel=1e-5)


def test_kmeans_ends_where_scikit_learn_ends_from_the_same_centers() -> None:
    points = torch.randn(150, 3, generator=torch.Generator().manual_seed(1))  # without any clusters
    centers = kmeans_centers(points, 6, seed=0)
    continued = KMeans(6, init=centers.numpy(), n_init=1, tol=0).fit(points.numpy())
    np.testing.assert_allclose(continued.cluster_centers_, centers.numpy(), atol=1e-4)
    assert inertia(points, centers) == pytest.approx(continued.inertia_, rel=1e-4)


def test_nearest_center_is_the_first_of_equally_near_ones() -> None:
    centers = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 0.0]])
    points = torch.tensor([[1.0, 0.0], [3.0, 1.0], [2.0, 0.0]])
    assert nearest_centers(points, centers).tolist() == [0, 1, 0]


@pytest.mark.parametrize(("shape", "num_components"), [((200, 12), 4), ((9, 40), 9), ((30, 6), 99)])
def test_principal_components_are_scikit_learns(shape: tuple[int, int], num_components: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scales = torch.linspace(3, 0.5, shape[1])
    vectors = 5 + torch.randn(shape, generator=generator) * scales
    ours = principal_components(vectors, num_components)
    kept = min(num_components, *shape)
    expected = PCA(kept, svd_solver="full").fit(vectors.numpy())
    assert ours.axes.shape == (kept, shape[1])
    np.testing.assert_allclose(ours.mean, expected.mean_, rtol=1e-5)
    # Centered vectors have no more than M - 1 directions; the last of M is arbitrary.
    meaningful = min(kept, shape[0] - 1)
    cosines = (ours.axes.numpy() * expected.components_).sum(axis=1)[:meaningful]
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-4)
    coordinates = expected.transform(vectors.numpy()) * np.sign((ours.axes.numpy() * expected.components_).sum(axis=1))
    np.testing.assert_allclose(ours.project(vectors)[:, :meaningful], coordinates[:, :meaningful], atol=2e-3)


def test_signs_of_axes_do_not_depend_on_the_solver() -> None:
    vectors = torch.randn(50, 7, generator=torch.Generator().manual_seed(2))
    axes = principal_components(vectors, 7).axes
    assert (axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)) > 0).all()
    # The same data in another order of rows gives the same axes, not their opposites.
    torch.testing.assert_close(principal_components(vectors.flip(0), 7).axes, axes, atol=1e-5, rtol=0)


def test_equal_vectors_have_finite_components() -> None:
    components = principal_components(torch.ones(6, 4), 3)
    assert components.axes.isfinite().all()
    assert components.project(torch.ones(6, 4)).abs().max() == 0


def test_silhouette_is_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(60, 4, generator=generator)
    labels = torch.randint(0, 4, (60,), generator=generator) * 2  # numbers in between are not used
    labels[0] = 9  # alone
    expected = silhouette_score(points.numpy(), labels.numpy())
    assert silhouette(points, labels) == pytest.approx(expected, abs=1e-5)
    monkeypatch.setattr(clustering, "_ROWS_PER_CHUNK", 7)
    assert silhouette(points, labels) == pytest.approx(expected, abs=1e-5)


def test_silhouette_of_one_cluster_and_of_equal_points_is_0() -> None:
    assert silhouette(torch.randn(5, 2), torch.zeros(5, dtype=torch.long)) == 0
    assert silhouette(torch.ones(4, 2), torch.tensor([0, 0, 1, 1])) == 0


@pytest.mark.parametrize("num_clusters", [2, 3, 5])
def test_the_number_of_clusters_is_found(num_clusters: int) -> None:
    assert best_num_clusters(blobs(num_clusters)[0], range(2, 9), seed=0) == num_clusters


@pytest.mark.parametrize("seed", range(6))
def test_connected_parts_are_scipys(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, (13, 9))
    parts = connected_parts(torch.from_numpy(labels)).numpy()
    expected, count = np.zeros_like(parts), 0
    for label in range(3):
        numbered, found = ndimage.label(labels == label)
        expected += np.where(numbered > 0, numbered + count, 0)
        count += found
    assert parts.max() + 1 == count
    assert len(np.unique(np.stack([parts, expected]).reshape(2, -1), axis=1).T) == count  # one to one
    first_cells = np.unique(parts, return_index=True)[1]
    assert (np.diff(first_cells) > 0).all()


def test_a_spiral_is_one_part() -> None:
    spiral = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]])
    assert connected_parts(spiral).tolist() == (1 - spiral).tolist()


def test_cells_that_share_a_corner_only_are_apart() -> None:
    assert connected_parts(torch.tensor([[1, 0], [0, 1]])).tolist() == [[0, 1], [2, 3]]
