from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.build import compose_bench_config
from no_time_to_train.config import BenchConfig, Config
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.evaluation.episodes import fold_classes
from no_time_to_train.ops.rle import decode_rle, encode_mask
from no_time_to_train.reports.metrics_table import format_metrics
from no_time_to_train.structures import Category, Detections, ReferenceSet, TargetImage
from no_time_to_train.tasks.episodes import run_episodes

FOLD = 1
CLASSES = fold_classes(FOLD)
NAMES = [f"val2014/COCO_val2014_{i:012}.jpg" for i in range(3)]
HEIGHT, STRIPE = 6, 2


class StripeSegmenter:
    """Finds its one category by the red value, in two halves: the left columns of the stripe, and the right ones."""

    config = Config()

    def __init__(self, left_score: float, right_score: float) -> None:
        self._scores = (left_score, right_score)
        self.references: list[ReferenceSet] = []
        self.targets: list[TargetImage] = []

    def build_memory(self, references: ReferenceSet) -> SimpleNamespace:
        self.references.append(references)
        return SimpleNamespace(categories=references.categories)

    def segment_batch(
        self, images: Sequence[np.ndarray], memory: SimpleNamespace, targets: Sequence[TargetImage]
    ) -> list[Detections]:
        self.targets += targets
        (image,), (category,) = images, memory.categories
        stripe = image[..., 0] == category.id
        left = stripe & np.roll(stripe, -1, axis=1)
        return [detections(zip((left, stripe & ~left), self._scores, strict=True), category, stripe.shape)]


def detections(found, category: Category, size_hw: tuple[int, int]) -> Detections:
    found = sorted(found, key=lambda entry: -entry[1])
    return Detections.from_rles(
        [encode_mask(mask) for mask, _ in found],
        scores=[score for _, score in found],
        category_ids=[category.id] * len(found),
        predicted_ious=[1.0] * len(found),
        image_size_hw=size_hw,
        categories=(category,),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three pictures that show all of the fold's classes side by side, each a stripe of its value."""
    folder = tmp_path / "COCO2014"
    values = np.repeat(np.array(CLASSES, np.uint8) + 1, STRIPE)[None].repeat(HEIGHT, axis=0)
    for name in NAMES:
        image, mask = folder / name, (folder / "annotations" / name).with_suffix(".png")
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([values] * 3, axis=2)).save(image, format="PNG")  # lossless under the name of a JPEG
        Image.fromarray(values).save(mask)
    split = folder / "splits" / "val" / f"fold{FOLD}.pkl"
    split.parent.mkdir(parents=True)
    split.write_bytes(pickle.dumps({index: NAMES if index in CLASSES else [] for index in range(80)}))
    return tmp_path


@pytest.fixture
def configure(root: Path) -> Callable[..., BenchConfig]:
    return lambda *overrides: compose_bench_config(
        [
            "benchmark=coco_20i",
            f"benchmark.root={root}",
            f"fold={FOLD}",
            "evaluator.name=episodes",
            "seed=0",
            *overrides,
        ]
    )


def test_all_found_scores_100(configure: Callable[..., BenchConfig]) -> None:
    segmenter, done = StripeSegmenter(0.9, 0.6), []
    metrics = run_episodes(
        configure("shots=2", "evaluator.num_episodes=150"),
        segmenter=segmenter,
        on_progress=lambda *progress: done.append(progress),
    )
    assert (metrics["miou"], metrics["fb_iou"]) == (100, 100)
    assert list(metrics["per_category"])[:3] == ["bicycle", "bus", "traffic light"]
    assert len(metrics["per_category"]) == 20
    assert {values["miou"] for values in metrics["per_category"].values()} == {100}
    assert (metrics["num_episodes"], metrics["num_images"], metrics["notes"]) == (150, 3, [])
    assert metrics["box"]["nAP"] is None and metrics["seconds_per_image"] > 0
    assert done[0] == (1, 150) and done[-1] == (150, 150)


def test_references_are_the_supports_whole_class_masks(configure: Callable[..., BenchConfig], root: Path) -> None:
    segmenter = StripeSegmenter(0.9, 0.6)
    run_episodes(configure("shots=2", "evaluator.num_episodes=5"), segmenter=segmenter)
    for references, target in zip(segmenter.references, segmenter.targets, strict=True):
        assert len(references) == 2
        assert target.path == root / "COCO2014" / target.file_name
        for instance in references.instances:
            assert instance.image_path.is_file() and instance.image_path != target.path
            column = CLASSES.index(instance.category.id - 1) * STRIPE
            assert instance.box_xyxy == (column, 0, column + STRIPE, HEIGHT)
            assert decode_rle(instance.mask).sum() == STRIPE * HEIGHT


def test_low_scores_are_left_out_but_the_best_one_never_is(configure: Callable[..., BenchConfig]) -> None:
    # The left half of every stripe scores above evaluator.min_score, the right one not. Half of the foreground is
    # found; the missed half counts as background: 38 of its 39 columns are right.
    config = configure("evaluator.num_episodes=150")
    half = run_episodes(config, segmenter=StripeSegmenter(0.9, 0.4))
    assert half["miou"] == pytest.approx(50, abs=0.5)  # 518 is not a multiple of the 40 columns
    assert half["fb_iou"] == pytest.approx((50 + 100 * 38 / 39) / 2, abs=0.5)
    assert run_episodes(config, segmenter=StripeSegmenter(0.3, 0.2))["miou"] == half["miou"]


def test_notes_say_what_differs(configure: Callable[..., BenchConfig]) -> None:
    metrics = run_episodes(configure("evaluator.num_episodes=1", "seed=33"), segmenter=StripeSegmenter(0.9, 0.6))
    assert metrics["miou"] == pytest.approx(5)  # one class of 20
    assert "classes never drawn count as 0" in metrics["notes"][0]
    assert metrics["notes"][1] == "episodes are drawn with seed 0 as published; seed=33 has no effect"
    lines = format_metrics(metrics).splitlines()
    assert lines[0].startswith("COCO-20i fold 1 in 1 episodes (shots=10) as in Matcher")
    assert lines[1].split() == ["category", "mIoU", "FB-IoU"]


def test_missing_files_are_counted_before_anything_runs(configure: Callable[..., BenchConfig], root: Path) -> None:
    (root / "COCO2014" / NAMES[1]).unlink()
    segmenter = StripeSegmenter(0.9, 0.6)
    with pytest.raises(InputFileNotFoundError, match=r"1 of 6 images and masks .*000001\.jpg.*val2014/\*\.jpg"):
        run_episodes(configure("evaluator.num_episodes=50"), segmenter=segmenter)
    assert not segmenter.references


def test_other_benchmarks_have_no_episodes(configure: Callable[..., BenchConfig]) -> None:
    with pytest.raises(InputError, match="is for benchmark=coco_20i, got benchmark=demo"):
        config = configure()
        config.benchmark.name = "demo"
        run_episodes(config)


@pytest.mark.slow
def test_with_the_demo_models(configure: Callable[..., BenchConfig], root: Path) -> None:
    """Every class has two pictures of its own: a square of its color on gray, in another place in each."""
    folder, names = root / "COCO2014", {}
    for index in CLASSES:
        color = np.random.default_rng(index).permutation([220, 120, 20])
        names[index] = [f"val2014/{index}_{number}.jpg" for number in range(2)]
        for number, name in enumerate(names[index]):
            pixels, mask = np.full((96, 128, 3), 90, np.uint8), np.zeros((96, 128), np.uint8)
            area = slice(20 + 10 * number, 60 + 10 * number), slice(10 + 50 * number, 50 + 50 * number)
            pixels[area], mask[area] = color, index + 1
            Image.fromarray(pixels).save(folder / name, format="PNG")
            Image.fromarray(mask).save((folder / "annotations" / name).with_suffix(".png"))
    (folder / "splits" / "val" / f"fold{FOLD}.pkl").write_bytes(pickle.dumps(names))
    overrides = ("preset=demo", "device=cpu", "proposals.points_per_side=12", "shots=1", "evaluator.num_episodes=6")
    metrics = run_episodes(configure(*overrides))
    drawn = [values["miou"] for values in metrics["per_category"].values() if values["miou"] is not None]
    assert min(drawn) > 80 and metrics["fb_iou"] > 80
