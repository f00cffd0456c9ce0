"""Principal components, K-means and connected parts: clusters of vectors, and of the patches of a feature map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.errors import missing_package

_ROWS_PER_CHUNK = 1024  # of the M x M distances of the silhouette


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """The directions in which vectors vary most.

    Attributes:
        mean: (D,) float32 of the vectors.
        axes: (K, D) float32 orthonormal, largest variance first.
    """

    mean: Tensor
    axes: Tensor

    def project(self, vectors: Tensor) -> Tensor:
        """Project (M, D) vectors to (M, K) float32 coordinates along the axes."""
        return (vectors.float() - self.mean) @ self.axes.T


def principal_components(vectors: Tensor, num_components: int) -> PrincipalComponents:
    """Find the principal components, by the eigenvectors of the covariance matrix.

    Args:
        vectors: (M, D) float, M >= 1.
        num_components: axes wanted.

    Returns:
        K axes: ``num_components``, or min(M, D) where that is less. The entry of the largest magnitude of each is
        positive, so that equal vectors give equal axes on every machine.
    """
    vectors = vectors.float()
    mean = vectors.mean(dim=0)
    centered = vectors - mean
    _, eigenvectors = torch.linalg.eigh(centered.T @ centered)  # ascending
    axes = eigenvectors.T.flip(0)[: min(num_components, *vectors.shape)]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return PrincipalComponents(mean, axes * largest.sign())


def kmeans_centers(vectors: Tensor, k: int, seed: int) -> Tensor:
    """Return the centers of k clusters.

    Args:
        vectors: (M, D) float, M >= 1.
        k: clusters wanted.
        seed: of the initial choice of centers; equal seeds give equal centers.

    Returns:
        (K, D) float32 on the vectors' device. K is k, or the number of different vectors where that is not more than
        k; the centers are then these vectors, sorted.
    """
    points = np.ascontiguousarray(vectors.detach().cpu().float().numpy())
    distinct = np.unique(points, axis=0)
    centers = distinct if len(distinct) <= k else _faiss_centers(points, k, seed)
    return torch.from_numpy(centers).to(vectors.device)


def nearest_centers(vectors: Tensor, centers: Tensor) -> Tensor:
    """Return the (M,) int64 index of the nearest of (K, D) centers.

    Of equally near centers it is the first.
    """
    return torch.cdist(vectors, centers, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)


def silhouette(vectors: Tensor, labels: Tensor) -> float:
    """Measure how well clusters are separated: the mean of (b - a) / max(a, b).

    a is the mean distance to the other vectors of the own cluster, b that to the nearest other cluster (Rousseeuw
    1987). Vectors alone in their cluster count 0.

    Args:
        vectors: (M, D) float.
        labels: (M,) int64, at least 0.

    Returns:
        -1..1; 0 where there is only one cluster.
    """
    members = torch.nn.functional.one_hot(labels).to(vectors.dtype)
    members = members[:, members.any(dim=0)]
    if members.shape[1] < 2:
        return 0.0
    sizes = members.sum(dim=0)
    rows = zip(vectors.split(_ROWS_PER_CHUNK), members.bool().split(_ROWS_PER_CHUNK), strict=True)
    return float(sum(_silhouettes(chunk, own, vectors, members, sizes).sum() for chunk, own in rows)) / len(vectors)


def _silhouettes(chunk: Tensor, own: Tensor, vectors: Tensor, members: Tensor, sizes: Tensor) -> Tensor:
    """Of some of the vectors; ``own`` (m, K) bool marks their clusters, ``members`` (M, K) those of all."""
    sums = torch.cdist(chunk, vectors, compute_mode="donot_use_mm_for_euclid_dist") @ members
    inside = sums[own] / (sizes - 1).clamp(min=1).expand_as(sums)[own]
    outside = (sums / sizes).masked_fill(own, torch.inf).amin(dim=1)
    larger = torch.maximum(inside, outside)
    is_alone = sizes.expand_as(sums)[own] == 1
    return ((outside - inside) / larger.where(larger > 0, 1.0)).masked_fill(is_alone, 0.0)


def best_num_clusters(vectors: Tensor, candidates: Sequence[int], seed: int) -> int:
    """Choose the number of clusters with the best silhouette, the least of equals."""
    scores = {k: silhouette(vectors, nearest_centers(vectors, kmeans_centers(vectors, k, seed))) for k in candidates}
    return max(candidates, key=lambda k: (scores[k], -k))


def connected_parts(labels: Tensor) -> Tensor:
    """Split a label map into parts that touch by an edge and have one label.

    Args:
        labels: (h, w) int.

    Returns:
        (h, w) int64 on the CPU: a number for every part, 0.. in the order of their first cells, row by row.
    """
    labels = labels.cpu()
    same_beside, same_below = labels[:, 1:] == labels[:, :-1], labels[1:] == labels[:-1]
    first = torch.arange(labels.numel()).view(labels.shape)  # of each part, as far as it is known yet
    while True:
        before = first.clone()
        for one, other, same in (
            (first[:, :-1], first[:, 1:], same_beside),
            (first[:-1], first[1:], same_below),
        ):
            least = torch.minimum(one, other)[same]
            one[same] = least
            other[same] = torch.minimum(other[same], least)  # `one` and `other` share cells
        first = first.flatten()[first]  # a cell's first cell may know an earlier one by now
        if torch.equal(first, before):
            return first.unique(return_inverse=True)[1]


def _faiss_centers(points: np.ndarray, k: int, seed: int) -> np.ndarray:
    try:
        import faiss
    except ImportError as error:
        raise missing_package(error) from error
    kmeans = faiss.Kmeans(
        points.shape[1],
        k,
        niter=50,
        nredo=5,
        seed=seed,
        min_points_per_centroid=1,  # fewer than 39 are fine; only a printed warning depends on it
        max_points_per_centroid=len(points),  # or FAISS would train on a sample
    )
    kmeans.train(points)
    return np.array(kmeans.centroids)
