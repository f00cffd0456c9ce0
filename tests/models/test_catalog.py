from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from no_time_to_train.errors import InputError
from no_time_to_train.models.catalog import CATALOG, get_spec


def test_names() -> None:
    sizes = ("small", "base", "large", "giant")
    expected = {f"dinov2_{size}{suffix}" for size in sizes for suffix in ("", "_registers")}
    expected |= {f"dinov3_{size}" for size in ("small", "small_plus", "base", "large", "huge_plus", "7b")}
    expected |= {"dinov3_sat_large", "dinov3_sat_7b", "dinov2_demo", "sam2_demo"}
    expected |= {f"{version}_{size}" for version in ("sam2", "sam2.1") for size in ("tiny", "small", "large")}
    expected |= {"sam2_base_plus", "sam2.1_base_plus", "owlv2", "owlv2_large"}
    assert set(CATALOG) == expected
    assert all(name == spec.name for name, spec in CATALOG.items())


@pytest.mark.parametrize(
    ("name", "hub_id", "official_file"),
    [
        ("dinov2_giant", "facebook/dinov2-giant", "dinov2_vitg14_pretrain.pth"),
        ("dinov2_base_registers", "facebook/dinov2-with-registers-base", "dinov2_vitb14_reg4_pretrain.pth"),
        ("dinov3_huge_plus", "facebook/dinov3-vith16plus-pretrain-lvd1689m", None),
        ("dinov3_sat_7b", "facebook/dinov3-vit7b16-pretrain-sat493m", None),
        ("sam2_base_plus", "facebook/sam2-hiera-base-plus", "sam2_hiera_base_plus.pt"),
        ("sam2.1_large", "facebook/sam2.1-hiera-large", "sam2.1_hiera_large.pt"),
    ],
)
def test_published_names(name: str, hub_id: str, official_file: str | None) -> None:
    spec = get_spec(name)
    assert spec.hub_id == hub_id
    if official_file:
        assert spec.official_file == official_file and spec.official_url.endswith(f"/{official_file}")


def test_default_sizes_fit_the_patches() -> None:
    for spec in CATALOG.values():
        if spec.patch_size:
            assert spec.image_size % spec.patch_size == 0, spec.name


def test_satellite_models_are_normalized_differently() -> None:
    assert get_spec("dinov3_sat_large").mean == (0.430, 0.411, 0.296)
    assert get_spec("dinov3_large").mean == get_spec("dinov2_large").mean == (0.485, 0.456, 0.406)


def test_sam2_names_agree_with_the_package() -> None:
    from no_time_to_train.models.sam2.model import hydra_left_as_found

    with hydra_left_as_found():
        from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES

    ours = {spec.hub_id: (spec.config_file, spec.official_file) for spec in CATALOG.values() if spec.family == "sam2"}
    ours.pop(None)
    assert ours == HF_MODEL_ID_TO_FILENAMES


def test_unknown_names_get_the_closest_known_one() -> None:
    with pytest.raises(InputError, match="Did you mean 'sam2.1_large'"):
        get_spec("sam2.1-Large")
    with pytest.raises(InputError, match="Known names: dinov2_small, "):
        get_spec("resnet")


def test_importing_loads_no_heavy_package() -> None:
    code = "import sys, no_time_to_train.models.catalog; print('torch' in sys.modules, 'numpy' in sys.modules)"
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert result.stdout.split() == ["False", "False"]
