from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.reports.read_runs import collect_runs
from tests.run_folders import ap, write_run


def test_a_run_is_read_with_its_part_and_numbers(tmp_path: Path) -> None:
    content = ap(30.5, None, per_category={"cat": {"box": {"nAP": 7}, "mask": None}}, seconds_per_image=0.25)
    content |= {
        "semantic": {"mIoU": 40.5, "classes": ["a"]},
        "fb": 3,
        "notes": ["n"],
        "exact": True,
        "evaluator": "coco",
    }
    folder = write_run(tmp_path, "pascal_voc/split=2", 3, 33, content, benchmark={"split": 2})
    [run], problems = collect_runs(tmp_path)
    assert not problems
    assert (run.folder, run.benchmark, run.part, run.shots, run.seed) == (folder, "pascal_voc", "split=2", 3, 33)
    assert run.metrics == {"box nAP": 30.5, "semantic mIoU": 40.5, "fb": 3}
    assert run.per_category == {"cat": {"box nAP": 7}}
    assert run.seconds_per_image == 0.25
    assert run.settings["benchmark.split"] == 2 and run.models_folder == folder.parents[1]


def test_any_folder_on_the_way_will_do(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "coco_fsod", 10, 33, ap(36))
    for given in (tmp_path, tmp_path / "coco_fsod", folder.parent, folder):
        [run], _ = collect_runs(given)
        assert (run.part, run.seed) == ("", 33)


def test_what_is_not_finished_is_listed_with_its_reason(tmp_path: Path) -> None:
    write_run(tmp_path, "coco_fsod", 10, 1, ap(36))
    write_run(tmp_path, "coco_fsod", 10, 2, None)
    (write_run(tmp_path, "coco_fsod", 10, 3, ap(1)) / "metrics.json").write_text('{"box": {"nAP"')
    (write_run(tmp_path, "coco_fsod", 10, 4, ap(1)) / "config.yaml").unlink()
    (write_run(tmp_path, "coco_fsod", 10, 5, ap(1)) / "config.yaml").write_text("benchmark: [")
    (write_run(tmp_path, "coco_fsod", 10, 6, ap(1)) / "config.yaml").write_text("device: cpu")
    (write_run(tmp_path, "coco_fsod", 10, 7, ap(1)) / "metrics.json").write_text("[]")
    (tmp_path / "coco_fsod" / "seed=9").mkdir()  # no folder of shots above it
    runs, problems = collect_runs(tmp_path)
    assert [run.seed for run in runs] == [1]
    reasons = {path.name: reason for path, reason in problems}
    assert list(reasons) == [f"seed={seed}" for seed in range(2, 8)]
    assert "unfinished" in reasons["seed=2"] and "metrics.json cannot be read" in reasons["seed=3"]
    assert "config.yaml is missing" in reasons["seed=4"] and "config.yaml cannot be read" in reasons["seed=5"]
    assert "does not name a benchmark" in reasons["seed=6"] and "metrics.json cannot be read" in reasons["seed=7"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("metrics.json", b'{"nonsense": 3}', "metrics.json cannot be read (it holds no box and no mask metrics)"),
        (
            "metrics.json",
            b'{"box": {}, "mask": {}, "seconds_per_image": "fast"}',
            "seconds_per_image must be a number, got 'fast'",
        ),
        ("metrics.json", b'{"box": {"nAP": NaN}, "mask": {}}', "box nAP must be a number, got 'nan'"),
        ("metrics.json", b'{"per_category": {"a": {"box": {"nAP": "x"}}}}', "metrics.json cannot be read"),
        ("metrics.json", b'{"per_category": [1]}', "metrics.json cannot be read"),
        ("metrics.json", b"[" * 10**5, "metrics.json cannot be read"),
        ("config.yaml", b"device: \xe9", "config.yaml cannot be read"),
        ("config.yaml", b"[" * 10**4, "config.yaml cannot be read"),
        ("config.yaml", b"benchmark: {name: [1]}", "does not name a benchmark"),
    ],
)
def test_damaged_files_are_listed(tmp_path: Path, file: str, content: bytes, reason: str) -> None:
    write_run(tmp_path, "coco_fsod", 10, 1, ap(36))
    (write_run(tmp_path, "coco_fsod", 10, 2, ap(36)) / file).write_bytes(content)
    runs, [(path, found)] = collect_runs(tmp_path)
    assert len(runs) == 1 and path.name == "seed=2" and reason in found


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputFileNotFoundError, match="no such folder"):
        collect_runs(tmp_path / "runs")
    with pytest.raises(InputError, match="holds no finished run of nttt bench"):
        collect_runs(tmp_path)
    write_run(tmp_path, "coco_fsod", 10, 2, None)
    with pytest.raises(InputError, match="seed=2: unfinished"):
        collect_runs(tmp_path)
