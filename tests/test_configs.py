"""Every option and preset composes."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.build import build_proposals, compose_bench_config, compose_config
from no_time_to_train.config import config_hash
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
