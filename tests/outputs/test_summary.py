from __future__ import annotations

from no_time_to_train.outputs.summary import ImageSummary, RunSummary
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category


def test_counts_rows_and_best_scores() -> None:
    images = (ImageSummary("a.jpg", (9, 9, 16), (0.9, 0.5, 0.3)), ImageSummary("b.jpg", (), ()))
    summary = RunSummary(images, (Category(9, "boat"), Category(16, "bird")), MinScores(0.5))
    assert summary.header == ("image", "boat", "bird", "objects", "best_score")
    assert list(summary.rows()) == [("a.jpg", 2, 0, 2, "0.9000"), ("b.jpg", 0, 0, 0, "")]
    assert (summary.counts, summary.num_objects, summary.best_score) == ({"boat": 2, "bird": 0}, 2, 0.9)
    assert RunSummary((), summary.categories, MinScores(0.5)).best_score is None
