"""The folder of a run follows from what can change its result, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.build import compose_bench_config
from no_time_to_train.errors import InputError
from no_time_to_train.runs.run_folder import RunFolder, run_folder
from tests.small_benchmark import small_config


def folder(*overrides: str) -> str:
    return run_folder(compose_bench_config(list(overrides))).as_posix()


def test_default_settings_have_a_readable_folder() -> None:
    assert folder() == "runs/demo/dinov2_large+sam2.1_large/shots=10/seed=33"
    assert (
        folder("benchmark=coco_fsod", "encoder=dinov2_small", "mask_model=sam2_tiny", "shots=3", "seed=0", "runs=a/b")
        == "a/b/coco_fsod/dinov2_small+sam2_tiny/shots=3/seed=0"
    )
    assert folder("benchmark=pascal_voc", "split=2").startswith("runs/pascal_voc/split=2/dinov2_large+sam2.1_large/")


@pytest.mark.parametrize(
    "override",
    [
        "device=cpu",
        "trainer.devices=4",
        "trainer.num_workers=3",
        "trainer.logger=none",
        "cache.enabled=true",
        "encoder.batch_size=2",
        "benchmark.root=/elsewhere",
        "evaluator.engine=faster-coco-eval",
        "evaluator.name=semantic",
    ],
)
def test_how_it_is_computed_does_not_count(override: str) -> None:
    assert folder(override) == folder()


@pytest.mark.parametrize(
    "override",
    [
        "merging=soft",
        "precision=float32",
        "proposals.points_per_side=16",
        "encoder.image_size=504",
        "limit=12",
        "sampler=paper",
        "evaluator.name=episodes",
    ],
)
def test_what_changes_results_gives_another_folder(override: str) -> None:
    path = Path(folder(override))
    assert path.parts[:2] == ("runs", "demo") and path.parts[2].startswith("dinov2_large+sam2.1_large-")
    assert path.parts[3:] == ("shots=10", "seed=33")


def test_every_difference_has_its_own_hash() -> None:
    variants = ["limit=12", "limit=13", "merging=soft", "merging=hard"]
    assert len({folder(variant) for variant in variants}) == 4
    assert folder("limit=12", "merging=soft") not in {folder(variant) for variant in variants}


def test_of_given_files_the_contents_count(tmp_path: Path) -> None:
    config = small_config(tmp_path / "data")
    before = run_folder(config)
    moved = tmp_path / "data" / "moved.json"
    moved.write_bytes(Path(config.benchmark.references).read_bytes())
    config.benchmark.references = str(moved)
    assert run_folder(config) == before
    moved.write_text(moved.read_text().replace("boat", "ship"))
    assert run_folder(config) != before


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "Expecting value"),
        ("{}", "it holds no box and no mask metrics"),
        ("[]", "it holds no metrics"),
        ("7", "it holds no metrics"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"nonsense": true}', "it holds no box and no mask metrics"),
        ('{"box": {}, "mask": 3}', "it holds no mask metrics"),
        ('{"box": {"nAP": "high"}, "mask": {}}', "box nAP must be a number, got 'high'"),
        ('{"box": {}, "mask": {}, "per_category": [3]}', "it holds no metrics"),
        ('{"box": {}, "mask": {}, "per_category": {"a": {"mask": {"nAP": "x"}}}}', "mask nAP must be a number"),
    ],
)
def test_damaged_metrics_do_not_count_as_finished(tmp_path: Path, content: str, problem: str) -> None:
    run = RunFolder(compose_bench_config([f"runs={tmp_path}"]))
    run.metrics.parent.mkdir(parents=True)
    run.metrics.write_text(content)
    with pytest.raises(InputError, match=rf"metrics\.json cannot be read \({problem}.* Remove it and run the same"):
        run.read_metrics()
