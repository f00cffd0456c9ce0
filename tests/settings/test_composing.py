"""Composing gives what Hydra gives, and a sweep here what Hydra's own sweeper and launcher give."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from no_time_to_train import build
from no_time_to_train.config import BenchConfig
from no_time_to_train.errors import InputError
from no_time_to_train.runs.run_folder import run_folder
from no_time_to_train.settings import composing
from no_time_to_train.settings.composing import SweepJob

SWEEPS = [
    ["preset=demo", "seed=1,2", "seed=3,4", "shots=2"],
    ["shots=1,2", "seed=range(0,2)", "limit=4"],
    ["merging=soft,hard", "merging.nms_iou_threshold=0.3"],
    ["benchmark=custom", "categories=[boat],[traffic light]", "references='a,b.json'", "runs=x y"],
    ["encoder=glob(dinov2_*)", "proposals.points_per_side=8"],
    ["experiment=merging_ablation", "merging=choice(soft,hard)", "runs=${benchmark.name}/x"],
]


def jobs_of(overrides: list[str], folder: Path) -> list[tuple[BenchConfig, SweepJob]]:
    found: list[tuple[BenchConfig, SweepJob]] = []
    build.sweep_bench_configs(overrides, folder, lambda config, job: found.append((config, job)))
    return found


@pytest.mark.parametrize(
    "overrides", [SWEEPS[0], *(pytest.param(sweep, marks=pytest.mark.slow) for sweep in SWEEPS[1:])]
)
def test_a_sweep_here_is_that_of_hydras_own_launcher(overrides: list[str], tmp_path: Path) -> None:
    here, there = jobs_of(overrides, tmp_path), jobs_of([*overrides, "hydra/launcher=basic"], tmp_path)
    assert len(here) > 1
    assert [(config, job.folder) for config, job in here] == [(config, job.folder) for config, job in there]


@pytest.mark.parametrize("overrides", SWEEPS)
def test_a_job_knows_its_settings_and_has_a_folder(overrides: list[str], tmp_path: Path) -> None:
    jobs = jobs_of(overrides, tmp_path / "sweep")
    assert [job.folder for _, job in jobs] == [tmp_path / "sweep" / str(number) for number in range(len(jobs))]
    for config, job in jobs:
        assert job.folder.is_dir() and run_folder(build.compose_bench_config(job.overrides)) == run_folder(config)


@pytest.mark.parametrize(
    "overrides",
    [
        ["preset=paper", "encoder=dinov2_small", "merging.exponent=0.7", "merging=soft", "shots=3", "shots=4"],
        ["experiment=pascal_voc", "split=2", "proposals.min_predicted_iou=0.3", "runs=${benchmark.root}/runs"],
        ["benchmark.categories=[]", "references=null", "proposals=union", "proposals.sources=[point_grid]"],
    ],
)
def test_values_upon_options_are_what_hydra_composes(overrides: list[str]) -> None:
    composer = build._composer("bench")
    given = composer.grammar.read(overrides)
    by_hydra: Any = OmegaConf.to_object(composing._by_hydra(composer, given))
    assert composing._with_values(composer, given) == by_hydra
    assert composing._with_values(composer, given) == by_hydra  # the first one spoilt nothing


def test_a_config_is_the_callers_own() -> None:
    config = build.compose_bench_config(["shots=3"])
    config.benchmark.categories.append("boat")
    assert build.compose_bench_config(["shots=3"]).benchmark.categories == []
    assert build.compose_bench_config(["shots=4"]).benchmark.categories == []


def test_files_are_composed_once_for_many_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    by_hydra = composing._by_hydra
    monkeypatch.setattr(
        composing, "_by_hydra", lambda composer, texts: given.append(texts) or by_hydra(composer, texts)
    )
    composing._composed_options.cache_clear()
    assert len(jobs_of(["benchmark=demo", "merging=soft,hard", "seed=range(0,20)"], tmp_path)) == 40
    assert sorted(given) == [("benchmark=demo", "merging=hard"), ("benchmark=demo", "merging=soft")]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("shots=1,x", "^shots=1,x cannot be read. Allowed: whole number"),
        ("shots=1,0", "^shots=0 is out of range"),
        ("seed=interval(0,9)", r"^seed=interval\(0,9\): an interval has no single values. Use seed=range"),
        ("shots=range(1", "^shots=range"),
        ("merging=soft,sfot", "merging=sfot: no such option.*Did you mean 'soft'"),
        ("merging.hard.ios_threshold=0.1,0.2", "would change nothing: it is used with merging=hard"),
        ("merging.exponent=${nothing}", "merging.exponent"),
    ],
)
def test_no_job_begins_where_one_is_wrong(override: str, message: str, tmp_path: Path) -> None:
    begun: list[SweepJob] = []
    with pytest.raises(InputError, match=message):
        build.sweep_bench_configs(["limit=3", override], tmp_path, lambda config, job: begun.append(job))
    assert begun == []


@pytest.mark.parametrize("launcher", [[], pytest.param(["hydra/launcher=basic"], marks=pytest.mark.slow)])
def test_a_job_that_fails_stops_no_other_but_ctrl_c_stops_all(launcher: list[str], tmp_path: Path) -> None:
    begun: list[int] = []

    def fail(config: BenchConfig, job: SweepJob) -> None:
        begun.append(config.shots)
        raise KeyboardInterrupt if config.shots == 7 else ValueError(str(config.shots))

    with pytest.raises(ValueError, match="^1$"):
        build.sweep_bench_configs(["shots=1,2,3", *launcher], tmp_path, fail)
    assert begun == [1, 2, 3]
    with pytest.raises(KeyboardInterrupt):
        build.sweep_bench_configs(["shots=6,7,8", *launcher], tmp_path, fail)
    assert begun == [1, 2, 3, 6, 7]


@pytest.mark.slow
def test_a_sweepers_own_settings_go_to_it(tmp_path: Path) -> None:
    found = jobs_of(["shots=1,2,3", "hydra.sweeper.max_batch_size=2"], tmp_path)
    assert [config.shots for config, _ in found] == [1, 2, 3]
    assert [re.sub(r".*/", "", job.folder.as_posix()) for _, job in found] == ["0", "1", "2"]
