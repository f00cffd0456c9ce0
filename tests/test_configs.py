"""Every config composes, is validated, and says clearly what is wrong with a bad one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from no_time_to_train.build import build_proposals, compose_bench_config, compose_config
from no_time_to_train.config import BenchConfig, config_hash
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.models.catalog import CATALOG
from no_time_to_train.runs.run_folder import run_folder
from no_time_to_train.settings import settings_of

CONFIGS = Path(__file__).parents[1] / "no_time_to_train/configs"
PRESETS = sorted(f"preset={path.stem}" for path in CONFIGS.glob("preset/*.yaml"))
OPTIONS = [
    f"{s.key.removesuffix('.name')}={choice}"
    for s in settings_of(compose_config())
    if s.key in ("proposals.name", "matching.name", "merging.name")
    for choice in s.facts.choices or ()
]
NEEDED = {
    "proposals=boxes": ["proposals.boxes.detector=a/b"],
    "proposals=union": ["proposals.sources=[point_grid,automatic_masks]"],
    "preset=fsod_vfm": ["proposals.boxes.detector=a/b"],
}
"""What an option asks for besides itself."""
MODELS = [f"{spec.kind}={spec.name}" for spec in CATALOG.values() if spec.kind != "detector"]


@pytest.mark.parametrize("override", OPTIONS + MODELS + PRESETS)
def test_every_option_composes(override: str) -> None:
    config = compose_config([override, *NEEDED.get(override, [])])
    group, option = override.split("=")
    if group not in ("preset", "scoring"):
        assert getattr(config, group).name == option
    build_proposals(config)


def test_every_preset_sets_its_image_size_with_its_encoder() -> None:
    assert compose_config([]).encoder.image_size == 518
    assert compose_config(["preset=demo"]).encoder.image_size == CATALOG["dinov2_demo"].image_size


def test_networks_of_timm_come_with_their_image_size() -> None:
    pytest.importorskip("timm")
    name = "timm/vit_small_patch14_dinov2"
    config = compose_config([f"encoder={name}", "preset=paper"])
    assert (config.encoder.name, config.encoder.image_size) == (f"{name}.lvd142m", 518)
    assert config_hash(config) == config_hash(compose_config(["preset=paper", f"encoder={name}.lvd142m"]))
    smaller = compose_config(["encoder.image_size=224", f"encoder={name}"])
    assert smaller.encoder.image_size == 224
    with pytest.raises(InputError, match="encoder=timm/vit_smal: timm .* has no network of that name"):
        compose_config(["encoder=timm/vit_smal"])
    with pytest.raises(InputError, match="Known: .*dinov2_demo, timm/NAME"):
        compose_config(["encoder=vit"])


@pytest.mark.parametrize("folder", ["tiny", "a folder, with=odd (signs)/tiny", "."])
def test_mask_models_of_transformers_are_named_by_id_or_folder(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_hub = "hf/facebook/sam2.1-hiera-tiny"
    assert compose_config([f"mask_model={on_the_hub}"]).mask_model.name == on_the_hub
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name in (f"hf/{folder}", f"hf/{tmp_path / folder}"):
        assert compose_config([f"mask_model={name}"]).mask_model.name == name
        config = compose_bench_config([f"mask_model={name}", "benchmark=demo"])
        assert run_folder(config).relative_to("runs").parts[1].startswith("dinov2_large+hf_")
    with pytest.raises(InputFileNotFoundError, match="mask_model=hf/nowhere: nowhere is no folder"):
        compose_config(["mask_model=hf/nowhere"])


def test_folders_of_two_models_are_never_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/b", "a_b"):
        (tmp_path / name).mkdir(parents=True)
    folders = {run_folder(compose_bench_config([f"mask_model=hf/{name}"])) for name in ("a/b", "a_b")}
    assert len(folders) == 2


def test_paper_preset_is_the_published_table() -> None:
    config = compose_config(["preset=paper"])
    assert (config.encoder.name, config.mask_model.name) == ("dinov2_large", "sam2_large")
    assert (config.encoder.image_size, config.precision) == (518, "float32")
    assert config.proposals.name == "point_grid"
    assert (config.proposals.point_grid.points_per_side, config.proposals.point_grid.min_predicted_iou) == (32, 0.4)
    assert config.merging.name == "semantic_soft"
    assert (config.merging.nms_iou_threshold, config.merging.max_masks) == (0.5, 800)
    assert (config.merging.exponent, config.merging.max_detections) == (0.5, 100)
    assert (config.references.context_ratio, config.output.box_convention) == (0.2, "inclusive")
    assert config.mask_model.add_no_memory_embedding is False


def test_fsod_vfm_preset_is_the_published_recipe() -> None:
    config = compose_config(["preset=fsod_vfm", "proposals.boxes.boxes_file=boxes.json"])
    assert (config.encoder.name, config.mask_model.name) == ("dinov2_large", "sam2.1_large")
    assert (config.proposals.name, config.merging.name, config.merging.exponent) == ("boxes", "graph_diffusion", 0.5)
    diffusion = config.merging.graph_diffusion
    assert (diffusion.alpha, diffusion.steps, diffusion.normalize_rows) == (0.3, 30, False)


@pytest.mark.parametrize("source", ["point_grid", "automatic_masks"])
def test_presets_of_small_models_use_fewer_points(source: str) -> None:
    for preset, points in (("fast", 16), ("demo", 28)):
        proposals = compose_config([f"preset={preset}", f"proposals={source}"]).proposals
        assert getattr(proposals, source).points_per_side == points


def test_boxes_come_from_one_place() -> None:
    both = ["proposals.boxes.boxes_file=boxes.json", "proposals.boxes.detector=a/b"]
    for source in (["proposals=boxes"], ["proposals=union", "proposals.sources=[point_grid,boxes]"]):
        with pytest.raises(InputError, match="not none and not both"):
            compose_config([*source, *both])
        assert compose_config([*source, both[0]]).proposals.boxes.boxes_file == "boxes.json"


def test_command_line_wins_over_the_preset() -> None:
    config = compose_config(["preset=paper", "encoder=dinov2_small", "merging.exponent=0.7", "merging=soft"])
    assert (config.encoder.name, config.merging.name, config.merging.exponent) == ("dinov2_small", "soft", 0.7)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("features=dinov2_lagre", "features=dinov2_lagre: no such option.*Did you mean 'dinov2_large'"),
        ("features=dino", r"Did you mean 'dinov2_\w+', 'dinov2_\w+' or 'dinov2_\w+'"),
        ("propsals=boxes", r"propsals: no such setting. Did you mean 'proposals'\?"),
        ("merging=sfot", "merging=sfot: no such option.*graph_diffusion.*Did you mean 'soft'"),
        ("preset=papr", "preset=papr: no such option.*Did you mean 'paper'"),
        ("merging.exponentt=1", "merging.exponentt: no such setting. Did you mean 'merging.exponent'"),
        ("mergin.exponent=1", "mergin.exponent: no such setting. Did you mean 'merging.exponent'"),
        ("points_per_side=9", "Did you mean 'proposals.point_grid.points_per_side'"),
        ("merging.exponent=high", "merging.exponent=high"),
        ("merging.nms_iou_threshold=1.5", "merging.nms_iou_threshold=1.5 is out of range.*between 0 and 1"),
        ("merging.nms_iou_threshold=nan", "merging.nms_iou_threshold=nan must be a finite number"),
        ("mask_model.decoder=quick", "mask_model.decoder=quick is not a choice.*folded, plain"),
        ("proposals.point_grid.prefilter=semantic", "needs one of proposals.point_grid.prefilter_min_similarity"),
        ("proposals=boxes", "needs one of proposals.boxes.boxes_file and proposals.boxes.detector"),
        ("proposals=union", "proposals=union puts different sources together; name some of point_grid"),
        ("proposals.sources=[union]", "is not a choice"),
        ("precision=double", "precision=double is not a choice"),
        ("split=2", r"split: no such setting. It is a setting of `nttt bench` \(benchmark.split\)"),
        ("shots=2", "It is a setting of `nttt bench`"),
        ("experiment=cd_fsod", "It is a setting of `nttt bench`"),
        ("proposals.point_grid=3", "It is a section, e.g. proposals.point_grid."),
        ("+new=1", "cannot be added or removed, only changed: write new=VALUE"),
        ("~merging", "cannot be added or removed"),
        ("+merging._target_=os.system", "cannot be added"),
        ("merging._target_=os.system", "Hydra's own"),
        ("merging@x=hard", "Hydra's own"),
        ("hydra.run.dir=/tmp/x", "nothing of `hydra.` can be set"),
        ("merging.max_masks=1,2", "one value is expected"),
        ("tiles=big", "tiles=big must be none, auto or the side of a tile"),
        ("tiles=20", "64 to 65536 pixels"),
        ("images.exif=sideways", "upright, ignore"),
        ("proposals.point_grid.points_per_side=abc", "^proposals.point_grid.points_per_side=abc cannot be read"),
        ("proposals.points_per_side=abc", r"^proposals.points_per_side=abc cannot be read. Allowed: whole number"),
        ("encoder.image_size=x=y", "^encoder.image_size=x=y cannot be read. Allowed: whole number from"),
        ("proposals.sources=boxes", "proposals.sources=boxes cannot be read. Allowed: some of point_grid"),
        ("encoder.image_size=1)", r"encoder.image_size=1\) cannot be read"),
    ],
)
def test_a_bad_override_is_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compose_config([override])


_LISTS_OF_NUMBERS = [setting.key for setting in settings_of(BenchConfig()) if setting.type == "list[int]"]


@pytest.mark.parametrize("key", _LISTS_OF_NUMBERS)
@pytest.mark.parametrize(
    "value", ["[[1],{a:b}]", "[[1]]", "[{a:1}]", "[1,x=y]", "[1,a]", "[1,null]", "[nan]", "x=y", "3"]
)
def test_lists_of_numbers_hold_numbers(key: str, value: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(key)}=.* cannot be read. Allowed: list of whole numbers"):
        compose_config(["proposals=semantic_clusters", f"{key}={value}"])


def test_a_misspelled_experiment_is_refused() -> None:
    with pytest.raises(InputError, match="experiment=cd_fsdo: no such option.*Did you mean 'cd_fsod'"):
        compose_bench_config(["experiment=cd_fsdo"])


@pytest.mark.parametrize(
    "overrides",
    [
        ["proposals=point_grid", "proposals.n_clusters=[3]"],
        ["proposals.semantic_clusters.seed=3"],
        ["proposals.boxes.max_boxes=3"],
        ["proposals.point_grid.prefilter_top_k=5"],
        ["proposals.min_consistency=0.5"],
        ["proposals.sources=[boxes]"],
        ["merging=hard", "merging.diffusion_alpha=0.9"],
        ["merging=none", "merging.exponent=0.9"],
        ["matching.num_neighbors=3"] and ["matching.nearest_instances.num_neighbors=3"],
    ],
)
def test_a_setting_without_effect_is_refused_with_the_reason(overrides: list[str]) -> None:
    with pytest.raises(InputError, match=rf"^{overrides[-1].split('=')[0]}=.* would change nothing: it is used with "):
        compose_config(overrides)


def test_a_setting_without_effect_may_come_from_a_preset_and_changes_no_hash() -> None:
    config = compose_config(["preset=fsod_vfm", "proposals=point_grid", "merging=hard"])
    assert config.merging.graph_diffusion.normalize_rows is False
    before = config_hash(config)
    config.merging.graph_diffusion.normalize_rows = True
    config.proposals.semantic_clusters.n_clusters = [3]
    config.merging.exponent = 0.9
    assert config_hash(config) == before


@pytest.mark.parametrize(
    "path",
    ["runs/cd_fsod/domain=uodd/x (1).json", "it's here.json", "a,b/[c].json", "C:\\data\\x\\", "{a}", "~/ü.json"],
)
def test_paths_are_taken_as_they_are_typed(path: str) -> None:
    config = compose_bench_config([f"benchmark.references={path}", f"runs={path}"])
    assert (config.benchmark.references, config.runs) == (path, path)


def test_lists_and_nothing_are_taken_as_they_are_typed() -> None:
    given = ["benchmark=custom", "categories=[traffic light,x (1),a=b]", "references=null"]
    config = compose_bench_config(given)
    assert config.benchmark.categories == ["traffic light", "x (1)", "a=b"] and config.benchmark.references is None
    assert compose_bench_config(["references='a,b'"]).benchmark.references == "a,b"
    assert compose_bench_config(["references=${runs}/x"]).benchmark.references == "runs/x"


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
