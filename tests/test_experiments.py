"""Every experiment file composes, differs from the paper only where it says so, and its commands are right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from no_time_to_train.benchmarks.registry import load_task
from no_time_to_train.build import build_proposals, compose_bench_config
from no_time_to_train.commands import build_parser
from no_time_to_train.config import BenchConfig, to_dict
from no_time_to_train.errors import InputFileNotFoundError
from no_time_to_train.models.catalog import CATALOG
from no_time_to_train.reports.published import published_value
from no_time_to_train.reports.read_runs import flatten

FILES = sorted((Path(__file__).parents[1] / "no_time_to_train/configs" / "experiment").glob("*.yaml"))
METHOD_SECTIONS = (
    *("encoder", "mask_model", "proposals", "matching", "scoring", "second_look", "merging", "references", "output"),
    "precision",
)
OTHER_THAN_THE_PAPER = {
    "coco_fsod_dinov3": {"encoder.name", "encoder.image_size"},
    "coco_fsod_sam2_1": {"mask_model.name"},
}


def settings(config: BenchConfig) -> dict:
    return flatten(to_dict(config))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_what_it_is_named_after_is_not_the_papers(path: Path) -> None:
    config = compose_bench_config([f"experiment={path.stem}"])
    build_proposals(config)
    assert config.encoder.image_size == CATALOG[config.encoder.name].image_size
    paper, own = settings(compose_bench_config(["preset=paper"])), settings(config)
    changed = {key for key in own if key.split(".")[0] in METHOD_SECTIONS and own[key] != paper[key]}
    assert changed == OTHER_THAN_THE_PAPER.get(path.stem, set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_without_data_it_says_what_to_prepare(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileNotFoundError, match="nttt data prepare|must be a COCO file"):
        load_task(compose_bench_config([f"experiment={path.stem}", f"root={tmp_path}"]))


def commands(path: Path) -> list[str]:
    return re.findall(r"^#   (nttt .*)$", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_its_commands_are_right(path: Path) -> None:
    bench = [shlex.split(line) for line in commands(path) if line.startswith("nttt bench")]
    assert bench
    for words in bench:
        options, rest = build_parser().parse_known_args(words[1:])
        assert f"experiment={path.stem}" in rest
        assert options.multirun == any("," in word for word in rest)
        for position in (0, -1):
            compose_bench_config([re.sub("=.*", f"={w.split('=')[1].split(',')[position]}", w) for w in rest])


@pytest.mark.parametrize(
    ("name", "overrides", "metrics"),
    [
        ("coco_fsod_10shot", [], ["box nAP", "box nAP50", "box nAP75", "mask nAP"]),
        ("coco_fsod_30shot", [], ["box nAP", "box nAP50", "box nAP75", "mask nAP"]),
        ("merging_ablation", ["merging=hard"], ["box nAP"]),
        ("merging_ablation", ["merging=soft"], ["box nAP"]),
        ("boats_and_birds", [], ["box nAP", "mask nAP"]),
        *(("coco_fsod_seeds", [f"shots={shots}"], ["box nAP", "mask nAP"]) for shots in (1, 2, 3, 5, 10, 30)),
        *(("pascal_voc", [f"split={split}", "shots=3"], ["box nAP50"]) for split in (1, 2, 3)),
        *(("cd_fsod", [f"domain={domain}", "shots=5"], ["box nAP"]) for domain in ("artaxor", "uodd", "deepfish")),
    ],
)
def test_it_names_the_published_numbers(name: str, overrides: list[str], metrics: list[str]) -> None:
    config = compose_bench_config([f"experiment={name}", *overrides])
    [path] = [path for path in FILES if path.stem == name]
    for metric in metrics:
        value = published_value(metric, config.shots, settings(config))
        assert value is not None and f"{value.mean:.1f}" in path.read_text(), metric
