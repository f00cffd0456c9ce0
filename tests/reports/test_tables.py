from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.reports.read_runs import collect_runs
from no_time_to_train.reports.summarize import ReportRow, summarize
from no_time_to_train.reports.tables import csv_rows, latex_tables, markdown_per_seed, markdown_tables
from tests.run_folders import ap, write_run


def rows_of(runs: Path) -> list[ReportRow]:
    return summarize(collect_runs(runs)[0])


@pytest.fixture
def voc(tmp_path: Path) -> list[ReportRow]:
    for split, value in ((1, 70.0), (2, 56.0)):
        metrics = {"box": {"nAP50": value}, "mask": {}, "voc_ap50_11pt": value + 1}
        write_run(tmp_path, f"pascal_voc/split={split}", 1, 33, metrics, benchmark={"split": split})
    return rows_of(tmp_path)


def test_parts_then_their_mean_beside_what_is_published(voc: list[ReportRow]) -> None:
    lines = markdown_tables(voc).splitlines()
    assert lines[2] == "| run | shots | seeds | box nAP50 | published | VOC AP50 (11 points) | s/image |"
    models = "dinov2_large + sam2.1_large"
    assert lines[4:7] == [
        f"| split=1: {models} | 1 | 1 | 70.0 | 70.8 (a) | 71.0 |  |",
        f"| split=2: {models} | 1 | 1 | 56.0 | 54.5 (a) | 57.0 |  |",
        f"| mean of 2: {models} | 1 | 1 | 63.0 | 62.6 (b) | 64.0 |  |",
    ]
    assert lines[8:10] == ["- (a): the paper's table, seed 33", "- (b): mean of the paper's table, seed 33"]


def test_latex_says_the_same(voc: list[ReportRow]) -> None:
    table = latex_tables(voc)
    assert r"\begin{tabular}{lrrrrrr}" in table
    assert r"split=2: dinov2\_large + sam2.1\_large & 1 & 1 & 56.0 & 54.5 (a) & 57.0 &  \\" in table
    assert "% (b): mean of the paper's table, seed 33" in table


def test_csv_has_the_numbers_as_they_are(voc: list[ReportRow]) -> None:
    found = {(row[1], row[6]): row[7:] for row in csv_rows(voc)}
    assert found["split=1", "box nAP50"] == (1, 70.0, None, 70.8, None, "the paper's table, seed 33")
    assert found["mean of 2", "voc_ap50_11pt"] == (2, 64.0, None, None, None, None)


def test_where_nothing_is_published_there_is_no_column(tmp_path: Path) -> None:
    write_run(tmp_path, "coco_fsod", 20, 1, ap(30.0, None))
    write_run(tmp_path, "coco_fsod", 20, 2, ap(None, None))
    table = markdown_tables(rows_of(tmp_path))
    assert "published" not in table and "| 20 | 2 | 30.0 |  |" in table


def test_seeds_beside_the_same_seeds(tmp_path: Path) -> None:
    for seed in (33, 34):
        write_run(tmp_path, "coco_fsod", 30, seed, ap(37.0, 34.0))
    write_run(tmp_path, "demo", 1, 1, ap(None, None))
    lines = markdown_per_seed(rows_of(tmp_path)).splitlines()
    assert [line.split("|", 2)[2] for line in lines[4:6]] == [
        " 30 | 33 | 37.0 | 37.3 | 34.0 | 34.7 |",
        " 30 | 34 | 37.0 |  | 34.0 |  |",
    ]
    assert "demo" not in "".join(lines)  # nothing to show
