from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.benchmarks.registry import BENCHMARKS, task_name
from no_time_to_train.config import BenchConfig, BenchmarkConfig, validate
from no_time_to_train.data.coco import write_coco
from tests.benchmarks.datasets_on_disk import released_objects, write_cd_fsod, write_lvis, write_pascal_voc


def test_every_benchmark_has_its_settings() -> None:
    options = Path(__file__).parents[2] / "no_time_to_train/configs/benchmark"
    assert {path.stem for path in options.glob("*.yaml")} == set(BENCHMARKS)
    for name in BENCHMARKS:
        assert validate(BenchConfig(benchmark=BenchmarkConfig(name))).benchmark.name == name


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (BenchmarkConfig("coco_fsod"), "coco_fsod"),
        (BenchmarkConfig("pascal_voc", split=3), "pascal_voc/split=3"),
        (BenchmarkConfig("cd_fsod", domain="uodd"), "cd_fsod/domain=uodd"),
        (BenchmarkConfig("lvis"), "lvis/subset=all"),
    ],
)
def test_names(settings: BenchmarkConfig, name: str) -> None:
    assert task_name(settings) == name


def test_demo_needs_nothing(load) -> None:
    task = load("demo", "shots=2", "limit=3")
    assert (len(task.references), len(task.targets)) == (20, 3)
    assert all(target.path.is_file() for target in task.targets)
    assert task.reference_dataset.categories == task.ground_truth.categories


WRITERS = {
    "pascal_voc shots=2": write_pascal_voc,
    "lvis shots=3": write_lvis,
    "cd_fsod domain=deepfish shots=1": lambda root: write_cd_fsod(root, "deepfish", {2416: (0, 0)}),
    "cd_fsod domain=uodd shots=5 first_annotation_only=true": lambda root: write_cd_fsod(
        root, "uodd", released_objects("uodd", 5)
    ),
}


@pytest.mark.parametrize("line", WRITERS)
def test_references_of_a_run_given_back_are_the_same(load, tmp_path, line: str) -> None:
    """Also where the same object is a reference several times."""
    WRITERS[line](tmp_path)
    first = load(*line.split())
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    write_coco(first.reference_dataset, files[0])
    again = load(*line.split(), f"references={files[0]}", "seed=5")
    write_coco(again.reference_dataset, files[1])
    assert files[0].read_bytes() == files[1].read_bytes()
    assert [vars(i) for i in again.references.instances] == [vars(i) for i in first.references.instances]
