from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.evaluation.proposal_recall import ImageCoverage
from no_time_to_train.reports.recall_plot import plot_recall, recall_curve


def coverage(ranks: list[float], num_proposals: int) -> ImageCoverage:
    """Objects that are matched to the masks of these ranks at every threshold."""
    ones = np.ones(len(ranks))
    return ImageCoverage(np.tile(np.array(ranks), (10, 1)), ones, ones.astype(int), num_proposals)


def test_the_curve_ends_with_the_proposals() -> None:
    curve = recall_curve([coverage([0, 2, np.inf], 6), coverage([4], 1)])
    assert curve == {1: 25, 2: 25, 3: 50, 5: 75, 7: 75}
    assert list(recall_curve([coverage([0], 5000)]))[-1] == 1000


def test_plot_is_a_small_picture(tmp_path: Path) -> None:
    curves = {"grid": {1: 5.0, 10: 40.0, 100: 80.0}, "boxes": {1: 20.0, 10: 60.0}}
    plot_recall(curves, tmp_path / "out" / "recall.png")
    assert Image.open(tmp_path / "out" / "recall.png").size == (720, 460)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["recall.png"]
