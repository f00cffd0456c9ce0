from __future__ import annotations

import statistics

import pytest

from no_time_to_train.reports.published import (
    published_curve,
    published_of_seed,
    published_tables,
    published_value,
)

METHOD = {
    "encoder.name": "dinov2_large",
    "mask_model.name": "sam2_large",
    "matching.name": "class_mean",
    "merging.name": "semantic_soft",
    "proposals.name": "point_grid",
}
COCO = METHOD | {"benchmark.name": "coco_fsod"}


@pytest.mark.parametrize("shots", [1, 2, 3, 5, 10, 30])
@pytest.mark.parametrize("metric", ["box nAP", "mask nAP"])
def test_means_and_deviations_agree_with_the_seeds_they_are_of(metric: str, shots: int) -> None:
    seeds = (42, 13, 27, 36, 88, 33, 69, 55, 77, 99)
    numbers = [published_of_seed(metric, shots, seed, COCO) for seed in seeds]
    value = published_value(metric, shots, COCO)
    assert value is not None and value.std is not None
    assert value.mean == pytest.approx(statistics.mean(numbers), abs=0.051)
    assert value.std == pytest.approx(statistics.stdev(numbers), abs=0.051)


def test_single_numbers() -> None:
    voc = METHOD | {"benchmark.name": "pascal_voc"}
    assert published_value("box nAP50", 5, voc | {"benchmark.split": 2}).mean == 75.9
    assert (
        published_value("box nAP", 5, METHOD | {"benchmark.name": "cd_fsod", "benchmark.domain": "uodd"}).mean == 20.2
    )
    assert published_value("box nAP", 10, COCO | {"merging.name": "hard"}).mean == 31.2
    assert published_value("box nAP50", 10, COCO).std is None
    toy = METHOD | {"benchmark.name": "custom", "benchmark.annotations": "data/boats_and_birds/annotations/t.json"}
    assert published_value("mask nAP", 1, toy).mean == 45.8


@pytest.mark.parametrize(
    "settings",
    [
        COCO | {"encoder.name": "dinov3_large"},
        COCO | {"mask_model.name": "sam2_tiny"},
        COCO | {"merging.name": "none"},
        METHOD | {"benchmark.name": "coco_20i"},
        METHOD | {"benchmark.name": "custom", "benchmark.annotations": None},
    ],
)
def test_what_is_not_known_stays_blank(settings: dict) -> None:
    assert published_value("box nAP", 10, settings) is None
    assert published_of_seed("box nAP", 10, 33, settings) is None


def test_what_no_table_has_stays_blank() -> None:
    assert published_value("box nAP", 20, COCO) is None
    assert published_value("mask nAP50", 10, COCO) is None
    assert published_of_seed("box nAP", 10, 1, COCO) is None


def test_the_curve_of_the_paper_does_not_ask_for_the_method() -> None:
    curve = published_curve("box nAP", {"benchmark.name": "coco_fsod", "merging.name": "none"})
    assert {shots: value.mean for shots, value in curve.items()} == {
        **{1: 24.5, 2: 29.5, 3: 32.3},
        **{5: 34.4, 10: 35.9, 30: 37.0},
    }
    assert published_curve("box nAP", {"benchmark.name": "lvis"}) == {}


def test_every_table_has_one_number_per_metric() -> None:
    for table in published_tables():
        for numbers in (*table.values.values(), *(n for of_seed in table.seeds.values() for n in of_seed.values())):
            assert len(numbers) == len(table.metrics), table.source
