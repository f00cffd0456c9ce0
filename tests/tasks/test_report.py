"""``nttt report`` on small run folders."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest
from PIL import Image

from no_time_to_train import commands
from tests.run_folders import ap, write_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    categories = {"cat_a": {"box": {"nAP": 10}}, "dog": {"box": {"nAP": 30}}}
    for shots in (1, 10):
        for seed, box in ((33, 30.0 + shots), (42, 32.0 + shots)):
            write_run(tmp_path / "runs", "coco_fsod", shots, seed, ap(box, box - 2, per_category=categories))
    write_run(tmp_path / "runs", "coco_fsod", 10, 99, None)
    write_run(tmp_path / "runs", "demo", 3, 0, ap(51.5, None, seconds_per_image=0.5), "demo+demo")
    return tmp_path / "runs"


def test_report_is_printed_and_written(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["report", str(runs)]) == 0
    printed = capsys.readouterr().out
    # 31 and 33: mean 32, sample deviation sqrt(2); published for one shot: 24.5 +- 1.5, seed 33 25.6.
    assert (
        "| dinov2_large + sam2.1_large | 1 | 2 | 32.0 ± 1.4 | 24.5 ± 1.5 (a) | 30.0 ± 1.4 | 22.9 ± 1.6 (a) |" in printed
    )
    assert "- (a): the authors' ten seeds" in printed
    assert "Left out, 1 of 6 runs" in printed and "seed=99: unfinished" in printed
    report = (runs / "report" / "report.md").read_text()
    assert "| 1 | 33 | 31.0 | 25.6 | 29.0 | 24.1 |" in report
    assert "## demo" in report and "| 51.5 | 0.50 |" in report
    assert "coco_fsod_shots.png" in report


def test_numbers_for_programs_and_papers(runs: Path) -> None:
    assert commands.main(["report", str(runs), "--out", str(runs.parent / "out")]) == 0
    with (runs.parent / "out" / "report.csv").open() as file:
        lines = list(csv.DictReader(file))
    [line] = [x for x in lines if (x["shots"], x["metric"]) == ("10", "mask nAP")]
    assert (line["benchmark"], line["seeds"], line["num_seeds"]) == ("coco_fsod", "33 42", "2")
    assert float(line["mean"]) == 39 and float(line["std"]) == pytest.approx(2**0.5)
    assert (line["published_mean"], line["published_std"]) == ("33.4", "0.5")
    [line] = [x for x in lines if x["benchmark"] == "demo"]
    assert (line["std"], line["published_mean"]) == ("", "")
    latex = (runs.parent / "out" / "report.tex").read_text()
    assert r"dinov2\_large + sam2.1\_large & 1 & 2 & 32.0 $\pm$ 1.4 & 24.5 $\pm$ 1.5 (a) & " in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\bottomrule") == 2


def test_plots(runs: Path) -> None:
    assert commands.main(["report", str(runs)]) == 0
    sizes = {path.name: Image.open(path).size for path in (runs / "report" / "plots").iterdir()}
    assert set(sizes) == {"coco_fsod_shots.png", "coco_fsod_categories_1.png", "demo_shots.png"}
    assert sizes["coco_fsod_shots.png"][0] > sizes["demo_shots.png"][0]  # boxes and masks side by side


def test_without_matplotlib_there_are_tables(runs: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert commands.main(["report", str(runs)]) == 0
    assert "No plots: matplotlib is not installed" in capsys.readouterr().out
    assert (runs / "report" / "report.md").is_file() and not (runs / "report" / "plots").exists()


def test_no_runs_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["report", str(tmp_path)]) == 1
    assert "holds no finished run" in capsys.readouterr().err
