"""Grouping, means and deviations, computed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.build import compose_bench_config
from no_time_to_train.config import BenchConfig, to_dict
from no_time_to_train.reports.read_runs import collect_runs, flatten
from no_time_to_train.reports.summarize import (
    Statistic,
    _short_names,
    average_over_parts,
    curve_of_paper,
    headline_metric,
    shown_metrics,
    summarize,
    variant_of,
)
from no_time_to_train.settings import settings_of
from tests.run_folders import ap, write_run


def summarized(folder: Path):
    return summarize(collect_runs(folder)[0])


def test_statistic_is_the_samples() -> None:
    assert Statistic.of([2.0, 4.0, 9.0]) == Statistic(5.0, pytest.approx(13**0.5), 3)  # (9 + 1 + 16) / 2
    assert Statistic.of([7.0]) == Statistic(7.0, None, 1)


def test_seeds_are_averaged_and_nothing_else(tmp_path: Path) -> None:
    for seed, box in ((1, 30.0), (2, 32.0), (3, 37.0)):
        write_run(tmp_path, "coco_fsod", 10, seed, ap(box, 10.0 if seed == 1 else None, seconds_per_image=seed))
    write_run(tmp_path, "coco_fsod", 1, 1, ap(20.0))
    write_run(tmp_path, "coco_fsod", 10, 1, ap(5.0), "dinov2_large+sam2.1_large-ab", merging={"name": "hard"})
    rows = summarized(tmp_path)
    assert [(row.variant, row.shots, row.seeds) for row in rows] == [
        ("", 1, (1,)),
        ("", 10, (1, 2, 3)),
        ("merging=hard", 10, (1,)),
    ]
    assert rows[1].metrics == {
        "box nAP": Statistic(33.0, pytest.approx(13**0.5), 3),
        "mask nAP": Statistic(10.0, None, 1),
    }
    assert [row.seconds_per_image for row in rows] == [3, 3, None]  # of the slowest run, whatever its shots
    assert {name: value.mean for name, value in rows[1].published.items()} == {"box nAP": 35.9, "mask nAP": 33.4}
    assert {name: value.mean for name, value in rows[2].published.items()} == {"box nAP": 31.2}
    assert rows[1].label == "dinov2_large + sam2.1_large"


def test_categories_are_averaged(tmp_path: Path) -> None:
    for seed, cat in ((1, 10.0), (2, 20.0)):
        categories = {"cat": {"box": {"nAP": cat}}} | ({"dog": {"box": {"nAP": 3}}} if seed == 2 else {})
        write_run(tmp_path, "coco_fsod", 10, seed, ap(30, per_category=categories))
    [row] = summarized(tmp_path)
    assert row.per_category["cat"]["box nAP"].mean == 15
    assert row.per_category["dog"]["box nAP"] == Statistic(3, None, 1)


def test_parts_are_averaged_where_all_have_the_metric(tmp_path: Path) -> None:
    for split, (ap50, ap_all) in {1: (70.0, 40.0), 2: (50.0, None)}.items():
        metrics = {"box": {"nAP50": ap50, "nAP": ap_all}, "mask": {}}
        write_run(tmp_path, f"pascal_voc/split={split}", 1, 33, metrics, benchmark={"split": split})
    write_run(tmp_path, "pascal_voc/split=1", 2, 33, {"box": {"nAP50": 60}, "mask": {}}, benchmark={"split": 1})
    rows = summarized(tmp_path)
    [average] = average_over_parts(rows)
    assert (average.part, average.shots) == ("mean of 2", 1)
    assert average.metrics == {"box nAP50": Statistic(60.0, None, 2)}
    assert average.published["box nAP50"].mean == pytest.approx((70.8 + 54.5) / 2)


def test_metrics_shown(tmp_path: Path) -> None:
    write_run(tmp_path, "coco_20i/fold=0", 1, 1, ap(10, miou=50, fb_iou=60))
    write_run(tmp_path, "pascal_voc/split=1", 1, 1, {"box": {"nAP": 40, "nAP50": 70, "nAP_small": 3}, "mask": {}})
    semantic, voc = summarized(tmp_path)
    assert shown_metrics([semantic]) == ["box nAP", "fb_iou", "miou"]
    assert headline_metric([semantic]) == "miou"
    assert shown_metrics([voc]) == ["box nAP", "box nAP50"]
    assert headline_metric([voc]) == "box nAP50"


@pytest.mark.parametrize(
    ("overrides", "variant"),
    [
        ([], ""),
        (
            [
                "shots=3",
                "seed=5",
                "benchmark=pascal_voc",
                "split=2",
                "trainer.devices=4",
                "device=cpu",
                "encoder=dinov2_small",
            ],
            "",
        ),
        (["merging=hard", "proposals.points_per_side=16"], "point_grid.points_per_side=16, merging=hard"),
        (
            ["preset=paper"],
            "add_no_memory_embedding=False, predicted_iou_exponent=0.0, stability_exponent=0.0, "
            "rank_similarity_exponent=0.0, rank_stability_exponent=0.0, merging.nms_iou_threshold=0.5, "
            "box_convention=inclusive, precision=float32",
        ),
        (["preset=demo"], ""),  # what these models need
        (["preset=demo", "proposals.point_grid.points_per_side=16"], "point_grid.points_per_side=16"),
        (["preset=best"], "second_look.max_masks=20"),
        (["merging.max_masks=20"], "merging.max_masks=20"),
        (["encoder.image_size=448", "limit=5"], "image_size=448, limit=5"),
    ],
)
def test_variant_names_what_is_not_the_default(overrides: list[str], variant: str) -> None:
    assert variant_of(flatten(to_dict(compose_bench_config(overrides)))) == variant


def test_no_two_settings_are_called_alike() -> None:
    keys = [setting.key for setting in settings_of(BenchConfig())]
    short = {key: _short_names()[key] for key in keys}
    assert len(set(short.values())) == len(keys) > 60
    assert short["merging.name"] == "merging" and short["precision"] == "precision"
    for key, name in short.items():
        shown = key.removesuffix(".name")
        assert shown == name or shown.endswith(f".{name}")
        shorter = name.partition(".")[2]  # is that of several settings
        assert not shorter or sum(f".{other.removesuffix('.name')}".endswith(f".{shorter}") for other in keys) > 1


def test_no_published_curve_beside_the_demo_models(tmp_path: Path) -> None:
    demo = {"features": {"name": "dinov2_demo"}, "mask_model": {"name": "sam2_demo"}}
    write_run(tmp_path / "real", "coco_fsod", 10, 1, ap(20))
    write_run(tmp_path / "demo", "coco_fsod", 10, 1, ap(20), "dinov2_demo+sam2_demo", **demo)
    assert curve_of_paper(summarized(tmp_path / "real"), "box nAP")
    assert not curve_of_paper(summarized(tmp_path / "demo"), "box nAP")


def test_equal_labels_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "a-1f"):
        write_run(tmp_path, "coco_fsod", 1, 1, ap(20), name)
    assert [row.variant for row in summarized(tmp_path)] == ["[a-1f]", "[a]"]
