"""K-means, for several prototypes per category."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def kmeans_centres(vectors: Tensor, k: int, seed: int) -> Tensor:
    """Centres of k clusters.

    Args:
        vectors: (M, D) float, M >= 1.
        k: clusters wanted.
        seed: of the initial choice of centres; equal seeds give equal centres.

    Returns:
        (K, D) float32 on the vectors' device. K is k, or the number of different vectors where that is not more than
        k; the centres are then these vectors, sorted.
    """
    points = np.ascontiguousarray(vectors.detach().cpu().float().numpy())
    distinct = np.unique(points, axis=0)
    centres = distinct if len(distinct) <= k else _faiss_centres(points, k, seed)
    return torch.from_numpy(centres).to(vectors.device)


def _faiss_centres(points: np.ndarray, k: int, seed: int) -> np.ndarray:
    import faiss

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
