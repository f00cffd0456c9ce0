"""Every config composes, is validated, and says clearly what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.build import build_proposals, compose_config, config_hash
from no_time_to_train.errors import InputError
from no_time_to_train.models.catalog import CATALOG

CONFIGS = Path(__file__).parents[1] / "no_time_to_train/configs"
BENCH_GROUPS = ("benchmark", "experiment")
OPTIONS = sorted(
    f"{path.parent.name}={path.stem}" for path in CONFIGS.glob("*/*.yaml") if path.parent.name not in BENCH_GROUPS
)
NEEDED = {"proposals=boxes": ["proposals.detector=a/b"], "preset=fsod_vfm": ["proposals.detector=a/b"]}
"""What an option asks for besides itself."""
MODELS = [f"{spec.kind}={spec.name}" for spec in CATALOG.values()]


@pytest.mark.parametrize("override", OPTIONS + MODELS)
def test_every_option_composes(override: str) -> None:
    config = compose_config([override, *NEEDED.get(override, [])])
    group, option = override.split("=")
    if group not in ("preset", "scoring"):
        assert getattr(config, group).name == option
    build_proposals(config)


def test_every_preset_sets_its_image_size_with_its_encoder() -> None:
    assert compose_config([]).features.image_size == 518
    assert compose_config(["preset=demo"]).features.image_size == CATALOG["dinov2_demo"].image_size


def test_paper_preset_is_the_published_table() -> None:
    config = compose_config(["preset=paper"])
    assert (config.features.name, config.mask_model.name) == ("dinov2_large", "sam2_large")
    assert (config.features.image_size, config.precision) == (518, "float32")
    assert config.mask_model.add_no_memory_embedding is False
    assert (config.proposals.points_per_side, config.proposals.min_predicted_iou) == (32, 0.4)
    assert config.merging.name == "semantic_soft"
    assert (config.merging.nms_iou_threshold, config.merging.max_masks) == (0.5, 800)
    assert (config.merging.exponent, config.merging.max_detections) == (0.5, 100)
    assert (config.references.context_ratio, config.output.box_convention) == (0.2, "inclusive")


def test_fsod_vfm_preset_is_the_published_recipe() -> None:
    config = compose_config(["preset=fsod_vfm", "proposals.boxes_file=boxes.json"])
    assert (config.features.name, config.mask_model.name) == ("dinov2_large", "sam2.1_large")
    assert (config.proposals.name, config.merging.name) == ("boxes", "graph_diffusion")
    assert (config.merging.diffusion_alpha, config.merging.exponent, config.merging.diffusion_steps) == (0.3, 0.5, 30)
    assert not config.merging.normalise_rows


def test_boxes_come_from_one_place() -> None:
    both = ["proposals.boxes_file=boxes.json", "proposals.detector=a/b"]
    for source in (["proposals=boxes"], ["proposals=union", "proposals.sources=[point_grid,boxes]"]):
        with pytest.raises(InputError, match="not none and not both"):
            compose_config([*source, *both])
        assert compose_config([*source, both[0]]).proposals.boxes_file == "boxes.json"
    compose_config(both)  # not used by the point grid


def test_command_line_wins_over_the_preset() -> None:
    config = compose_config(["preset=paper", "features=dinov2_small", "merging.exponent=0.7", "merging=soft"])
    assert (config.features.name, config.merging.name, config.merging.exponent) == ("dinov2_small", "soft", 0.7)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("features=dinov2_lagre", "features=dinov2_lagre: no such option.*Did you mean 'dinov2_large'"),
        ("merging=sfot", "merging=sfot: no such option.*graph_diffusion.*Did you mean 'soft'"),
        ("merging.exponentt=1", "merging.exponentt: no such setting. Did you mean 'merging.exponent'"),
        ("mergin.exponent=1", "mergin.exponent: no such setting. Did you mean 'merging.exponent'"),
        ("merging.exponent=high", "merging.exponent"),
        ("merging.nms_iou_threshold=1.5", "merging.nms_iou_threshold=1.5 is out of range.*between 0 and 1"),
        ("mask_model.decoder=quick", "mask_model.decoder=quick is not a choice.*folded, plain"),
        ("proposals.prefilter=semantic", "needs one of proposals.prefilter_min_similarity"),
        ("proposals=boxes", "needs one of proposals.boxes_file and proposals.detector"),
        ("precision=double", "precision=double is not a choice"),
    ],
)
def test_a_bad_override_is_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compose_config([override])


def test_hash_follows_what_changes_results_and_nothing_else() -> None:
    base = config_hash(compose_config([]))
    same = ["device=cpu", "mask_model.decoder=plain", "mask_model.prompts_per_batch=7", "output.draw_min_score=0.9"]
    for override in same:
        assert config_hash(compose_config([override])) == base, override
    changed = ["merging=soft", "features=dinov2_small", "proposals.points_per_side=8", "precision=float32"]
    for override in [*changed, "mask_model.add_no_memory_embedding=false"]:
        assert config_hash(compose_config([override])) != base, override


def test_hash_knows_the_contents_of_a_boxes_file(tmp_path: Path) -> None:
    file = tmp_path / "boxes.json"
    settings = ["proposals=boxes", f"proposals.boxes_file={file}"]
    file.write_text("[]")
    before = config_hash(compose_config(settings))
    file.write_text("[ ]")
    assert config_hash(compose_config(settings)) != before
    moved = file.rename(tmp_path / "moved.json")
    moved.write_text("[]")
    assert config_hash(compose_config([settings[0], f"proposals.boxes_file={moved}"])) == before
