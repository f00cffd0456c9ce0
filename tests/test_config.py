"""Hashes of settings, and the names that settings had before."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.build import compose_bench_config, compose_config
from no_time_to_train.config import BenchConfig, config_hash
from no_time_to_train.errors import InputError
from no_time_to_train.settings import settings_of


def test_a_setting_without_effect_may_come_from_a_preset_and_changes_no_hash() -> None:
    config = compose_config(["preset=fsod_vfm", "proposals=point_grid", "merging=hard"])
    assert config.merging.graph_diffusion.normalize_rows is False
    before = config_hash(config)
    config.merging.graph_diffusion.normalize_rows = True
    config.proposals.semantic_clusters.n_clusters = [3]
    config.merging.exponent = 0.9
    assert config_hash(config) == before


def test_hash_follows_what_changes_results_and_nothing_else() -> None:
    base = config_hash(compose_config([]))
    same = [
        *("device=cpu", "encoder.batch_size=2", "encoder.compile=true", "output.draw_min_score=0.9"),
        *("mask_model.decoder=plain", "mask_model.prompts_per_batch=7", "mask_model.compile=true"),
        *("tracking.min_score=0.9", "propose.nms_iou_threshold=0.3"),
    ]
    for override in same:
        assert config_hash(compose_config([override])) == base, override
    different = ["merging=soft", "encoder=dinov2_small", "proposals.point_grid.points_per_side=8", "precision=float32"]
    for override in different:
        assert config_hash(compose_config([override])) != base, override
    stored_pixels = config_hash(compose_config(["images.exif=ignore"]))
    assert stored_pixels != base
    for override in ("evaluator.name=coco", "trainer.devices=2", "shots=1", "cache.enabled=true", "limit=3"):
        assert config_hash(compose_bench_config([override])) == stored_pixels, override


def test_hash_of_a_command_knows_its_own_settings() -> None:
    plain, stricter = compose_config([]), compose_config(["tracking.min_score=0.9"])
    assert config_hash(plain, "track") != config_hash(stricter, "track")
    assert config_hash(plain, "propose") == config_hash(stricter, "propose")


def test_hash_knows_the_contents_of_a_boxes_file(tmp_path: Path) -> None:
    file = tmp_path / "boxes.json"
    settings = ["proposals=boxes", f"proposals.boxes.boxes_file={file}"]
    file.write_text("[]")
    before = config_hash(compose_config(settings))
    file.write_text("[ ]")
    assert config_hash(compose_config(settings)) != before
    moved = file.rename(tmp_path / "moved.json")
    moved.write_text("[]")
    assert config_hash(compose_config([settings[0], f"proposals.boxes.boxes_file={moved}"])) == before


SEMANTIC = ("proposals=semantic_clusters",)
AUTOMATIC = ("proposals=automatic_masks",)
BOXES = ("proposals=boxes", "proposals.boxes.detector=a/b")
CUSTOM = ("benchmark=custom",)
OLD = {
    "features=dinov2_base": (),
    "features.name=dinov2_base": (),
    "features.weights=x": (),
    "features.image_size=448": (),
    "features.batch_size=2": (),
    "features.compile=true": (),
    "mask_model=sam2_tiny": (),
    "mask_model.name=sam2_tiny": (),
    "mask_model.weights=x": (),
    "mask_model.decoder=plain": (),
    "mask_model.prompts_per_batch=8": (),
    "mask_model.compile=true": (),
    "proposals=automatic_masks": (),
    "proposals.name=automatic_masks": (),
    "proposals.sources=[point_grid,semantic_clusters]": ("proposals=union",),
    "proposals.points_per_side=28": (),
    "proposals.points_per_side=29": AUTOMATIC,
    "proposals.min_predicted_iou=0.5": (),
    "proposals.min_predicted_iou=0.6": BOXES,
    "proposals.prefilter=semantic": ("proposals.prefilter_top_k=9",),
    "proposals.prefilter_min_similarity=0.5": ("proposals.prefilter=semantic",),
    "proposals.prefilter_top_k=9": ("proposals.prefilter=semantic",),
    "proposals.n_pca_components=4": SEMANTIC,
    "proposals.n_clusters=[3]": SEMANTIC,
    "proposals.min_cluster_patches=3": SEMANTIC,
    "proposals.box_padding_patches=1": SEMANTIC,
    "proposals.seed=3": SEMANTIC,
    "proposals.pred_iou_thresh=0.5": AUTOMATIC,
    "proposals.stability_score_thresh=0.5": AUTOMATIC,
    "proposals.stability_score_offset=0.5": AUTOMATIC,
    "proposals.box_nms_thresh=0.5": AUTOMATIC,
    "proposals.crop_n_layers=1": AUTOMATIC,
    "proposals.crop_nms_thresh=0.5": AUTOMATIC,
    "proposals.crop_overlap_ratio=0.5": AUTOMATIC,
    "proposals.crop_n_points_downscale_factor=2": AUTOMATIC,
    "proposals.min_mask_region_area=9": AUTOMATIC,
    "proposals.boxes_file=x.json": ("proposals=boxes",),
    "proposals.detector=a/b": ("proposals=boxes",),
    "proposals.min_box_score=0.5": BOXES,
    "proposals.max_boxes=9": BOXES,
    "proposals.consistency=drop": (),
    "proposals.min_consistency=0.5": ("proposals.consistency=drop",),
    "matching=nearest_centres": (),
    "matching.name=nearest_centres": (),
    "matching.labels_per_mask=2": (),
    "matching.num_centres=3": ("matching=nearest_centres",),
    "matching.num_neighbours=3": ("matching=nearest_instances",),
    "matching.seed=3": ("matching=nearest_centres",),
    "merging=soft": (),
    "merging.name=soft": (),
    "merging.nms_iou_threshold=0.6": (),
    "merging.max_masks=9": (),
    "merging.exponent=0.6": (),
    "merging.ios_threshold=0.6": ("merging=hard",),
    "merging.diffusion_alpha=0.6": ("merging=graph_diffusion",),
    "merging.diffusion_steps=6": ("merging=graph_diffusion",),
    "merging.diffusion_tolerance=0.1": ("merging=graph_diffusion",),
    "merging.normalise_rows=false": ("merging=graph_diffusion",),
    "merging.max_detections=9": (),
    "references.context_ratio=0.6": (),
    "references.min_box_coverage=0.6": (),
    "references.keep_instances=true": (),
    "output.min_score=0.6": (),
    "output.draw_min_score=0.6": (),
    "output.box_convention=inclusive": (),
    "device=cpu": (),
    "precision=float32": (),
    "benchmark=lvis": (),
    "benchmark.name=lvis": (),
    "benchmark.root=x": (),
    "benchmark.split=2": ("benchmark=pascal_voc",),
    "benchmark.domain=uodd": ("benchmark=cd_fsod",),
    "benchmark.fold=2": ("benchmark=coco_20i",),
    "benchmark.subset=rare": ("benchmark=lvis",),
    "benchmark.references=x.json": (),
    "benchmark.reference_images=x": (),
    "benchmark.annotations=x.json": CUSTOM,
    "benchmark.images=x": CUSTOM,
    "benchmark.categories=[boat]": CUSTOM,
    "benchmark.sampler=tfa": (),
    "benchmark.first_annotation_only=true": ("benchmark=cd_fsod",),
    "benchmark.limit=5": (),
    "evaluator.name=coco": (),
    "evaluator.engine=faster-coco-eval": (),
    "evaluator.as_published=true": (),
    "evaluator.min_score=0.6": (),
    "evaluator.num_episodes=6": ("evaluator.name=episodes",),
    "trainer.devices=2": (),
    "trainer.num_nodes=2": (),
    "trainer.strategy=ddp": (),
    "trainer.num_workers=2": (),
    "trainer.logger=none": (),
    "cache.enabled=true": (),
    "cache.folder=x": (),
    "shots=5": (),
    "seed=5": (),
    "runs=x": (),
}
"""Every key of the last version, with what it needs to have an effect."""


@pytest.mark.parametrize("override", OLD)
def test_every_earlier_key_composes(override: str) -> None:
    needed = list(OLD[override])
    without = {s.key: s.value for s in settings_of(compose_bench_config(needed))} if _composes(needed) else {}
    config = compose_bench_config([*needed, override])
    now = {s.key: s.value for s in settings_of(config)}
    assert now != without
    value = override.split("=", 1)[1]
    assert (
        any(str(v).lower().replace(" ", "").replace("'", "") == value for v in now.values())
        or "." in value
        or (value == "nearest_centres" and config.matching.name == "nearest_centers")
    )


def _composes(overrides: list[str]) -> bool:
    try:
        compose_bench_config(overrides)
    except InputError:
        return False
    return True


def test_an_earlier_choice_that_has_become_a_setting() -> None:
    assert compose_config(["proposals.consistency=weigh"]).scoring.consistency_exponent == 1


def test_an_earlier_key_reaches_every_source_that_it_stood_for() -> None:
    config = compose_config(["proposals=union", "proposals.sources=[point_grid,boxes]", *BOXES[1:]])
    assert config.proposals.chosen == ("point_grid", "boxes")
    config = compose_config(
        ["proposals=union", "proposals.sources=[point_grid,boxes]", *BOXES[1:], "proposals.min_predicted_iou=0.7"]
    )
    assert (config.proposals.point_grid.min_predicted_iou, config.proposals.boxes.min_predicted_iou) == (0.7, 0.7)


def test_every_setting_says_what_it_is() -> None:
    for setting in settings_of(BenchConfig()):
        assert setting.facts.help.endswith(".") and len(setting.facts.help) > 5, setting.key
        is_number = setting.type.split(" ")[0] in ("int", "float")
        assert setting.facts.between is not None or not is_number, setting.key
