"""What is drawn, read back from the figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from no_time_to_train.reports import plots as report_plots
from no_time_to_train.reports.read_runs import collect_runs
from no_time_to_train.reports.summarize import summarize
from tests.run_folders import ap, write_run


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []
    monkeypatch.setattr(report_plots, "_save", lambda figure, path: figures.append(figure))
    return figures


def test_lines_against_shots(tmp_path: Path, drawn: list[Figure]) -> None:
    for shots, box in ((1, 20.0), (10, 40.0)):
        for seed in (1, 2):
            write_run(tmp_path, "coco_fsod", shots, seed, ap(box + seed, box))
    write_run(tmp_path, "coco_fsod", 10, 1, ap(11.0), "hard", merging={"name": "hard"})
    report_plots.plot_shots(summarize(collect_runs(tmp_path)[0]), tmp_path / "p.png")
    [figure] = drawn
    boxes, masks = figure.axes
    assert (boxes.get_ylabel(), masks.get_ylabel()) == ("box nAP (%)", "mask nAP (%)")
    assert [tick.get_text() for tick in boxes.get_xticklabels()] == ["1", "2", "3", "5", "10", "30"]
    published, (ours, bars), (hard, _) = boxes.lines[0], *((c.lines[0], c.lines[2]) for c in boxes.containers)
    assert published.get_ydata().tolist() == [24.5, 29.5, 32.3, 34.4, 35.9, 37.0]
    assert ours.get_ydata().tolist() == [21.5, 41.5] and hard.get_ydata().tolist() == [11.0]
    half_length = np.diff([segment[:, 1] for segment in bars[0].get_segments()]).ravel() / 2
    np.testing.assert_allclose(half_length, 0.5**0.5)  # the sample deviation of 1 and 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "published",
        "dinov2_large + sam2.1_large",
        "dinov2_large + sam2.1_large, merging=hard",
    ]


def test_bars_of_categories_best_first(tmp_path: Path, drawn: list[Figure]) -> None:
    values = {f"c{number}": {"box": {"nAP": float(number)}} for number in range(50)}
    write_run(tmp_path, "coco_fsod", 10, 7, ap(20.0, per_category=values | {"none": {"box": {"nAP": None}}}))
    [row] = summarize(collect_runs(tmp_path)[0])
    report_plots.plot_categories(row, tmp_path / "p.png")
    [axes] = drawn[0].axes
    labels = [tick.get_text() for tick in axes.get_yticklabels()]  # from below
    assert (labels[0], labels[-1], len(labels)) == ("c0  0.0", "c39  39.0", 40)
    title = drawn[0].get_suptitle()
    assert "10 shots, seed 7, the lowest 40 of 50 categories" in title and axes.get_title() == ""


def test_a_picture_is_written(tmp_path: Path) -> None:
    write_run(tmp_path, "demo", 1, 1, ap(20.0))
    report_plots.plot_shots(summarize(collect_runs(tmp_path)[0]), tmp_path / "plots" / "p.png")
    assert np.asarray(Image.open(tmp_path / "plots" / "p.png")).std() > 0
