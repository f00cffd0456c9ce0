"""Every model the package knows by name. Pure data: importing this loads no other package."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from no_time_to_train.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_SATELLITE_MEAN = (0.430, 0.411, 0.296)
_SATELLITE_STD = (0.213, 0.156, 0.143)
_META_FILES = "https://dl.fbaipublicfiles.com"


@dataclass(frozen=True)
class ModelSpec:
    """What is needed to find, build and feed one model.

    Attributes:
        name: the name used in configs, memory banks and ``nttt weights``.
        kind: ``encoder`` or ``mask_model``; also the config group.
        family: ``dinov2``, ``dinov2_with_registers``, ``dinov3_vit`` (transformers' model types) or ``sam2``.
        image_size: default side of the square input in pixels.
        size_mb: approximate download in megabytes.
        licence: licence of the weights.
        hub_id: repository on the Hugging Face hub, None for bundled models.
        hub_files: patterns of the files needed from it.
        gated: the hub asks for an accepted licence before the download.
        official_file: file name under which the authors publish the weights, None for bundled models.
        official_url: where the authors publish that file, None where a form has to be filled in first.
        patch_size: side of a patch in pixels (encoders).
        feature_dim: channels of a patch feature (encoders).
        mean, std: normalisation of RGB values in 0..1.
        architecture: settings of transformers' config class (encoders); builds the network when a file brings none.
        config_file: YAML inside the ``sam2`` package, or in the bundled folder (mask models).
        bundled_folder: folder below ``demo_data_folder()`` for models that come with this package.
    """

    name: str
    kind: Literal["encoder", "mask_model"]
    family: Literal["dinov2", "dinov2_with_registers", "dinov3_vit", "sam2"]
    image_size: int
    size_mb: float
    licence: str = "Apache-2.0"
    hub_id: str | None = None
    hub_files: tuple[str, ...] = ()
    gated: bool = False
    official_file: str | None = None
    official_url: str | None = None
    patch_size: int | None = None
    feature_dim: int | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    architecture: Mapping[str, Any] = field(default_factory=dict, hash=False)
    config_file: str | None = None
    bundled_folder: str | None = None


def get_spec(name: str) -> ModelSpec:
    """Return the entry called ``name``; raise InputError with the closest known name."""
    if name in CATALOG:
        return CATALOG[name]
    close = difflib.get_close_matches(name.replace("-", "_").lower(), CATALOG, n=1)
    hint = f"Did you mean '{close[0]}'?" if close else "Known names:"
    listing = "" if close else f" {', '.join(CATALOG)}."
    raise InputError(f"'{name}' is not a model name. {hint}{listing} `nttt weights list` shows all of them.")


def _dinov2_specs() -> Iterator[ModelSpec]:
    sizes = {  # name: (letter, width, layers, heads, megabytes)
        "small": ("s", 384, 12, 6, 88),
        "base": ("b", 768, 12, 12, 346),
        "large": ("l", 1024, 24, 16, 1217),
        "giant": ("g", 1536, 40, 24, 4546),
    }
    for with_registers in (False, True):
        for size, (letter, width, layers, heads, megabytes) in sizes.items():
            architecture = {
                "hidden_size": width,
                "num_hidden_layers": layers,
                "num_attention_heads": heads,
                "mlp_ratio": 4,
                "image_size": 518,
                "patch_size": 14,
                "use_swiglu_ffn": size == "giant",
            }
            if with_registers:
                architecture["num_register_tokens"] = 4
            file = f"dinov2_vit{letter}14{'_reg4' if with_registers else ''}_pretrain.pth"
            yield ModelSpec(
                name=f"dinov2_{size}{'_registers' if with_registers else ''}",
                kind="encoder",
                family="dinov2_with_registers" if with_registers else "dinov2",
                image_size=518,
                size_mb=megabytes,
                hub_id=f"facebook/dinov2-{'with-registers-' if with_registers else ''}{size}",
                hub_files=("config.json", "model*.safetensors*"),
                official_file=file,
                official_url=f"{_META_FILES}/dinov2/dinov2_vit{letter}14/{file}",
                patch_size=14,
                feature_dim=width,
                architecture=MappingProxyType(architecture),
            )


def _dinov3_specs() -> Iterator[ModelSpec]:
    sizes = {  # name: (hub letters, width, layers, heads, width of the MLP, gated MLP, bias of q and v, megabytes)
        "small": ("s16", 384, 12, 6, 1536, False, True, 86),
        "small_plus": ("s16plus", 384, 12, 6, 1536, True, True, 115),
        "base": ("b16", 768, 12, 12, 3072, False, True, 343),
        "large": ("l16", 1024, 24, 16, 4096, False, True, 1213),
        "huge_plus": ("h16plus", 1280, 32, 20, 5120, True, True, 3362),
        "7b": ("7b16", 4096, 40, 32, 8192, True, False, 26864),
    }
    releases = {  # name: (size, training images, hash at the end of the official file name)
        "dinov3_small": ("small", "lvd1689m", "08c60483"),
        "dinov3_small_plus": ("small_plus", "lvd1689m", "4057cbaa"),
        "dinov3_base": ("base", "lvd1689m", "73cec8be"),
        "dinov3_large": ("large", "lvd1689m", "8aa4cbdd"),
        "dinov3_huge_plus": ("huge_plus", "lvd1689m", "7c1da9a5"),
        "dinov3_7b": ("7b", "lvd1689m", "a955f4ea"),
        "dinov3_sat_large": ("large", "sat493m", "eadcf0ff"),
        "dinov3_sat_7b": ("7b", "sat493m", "a6675841"),
    }
    for name, (size, data, digest) in releases.items():
        letters, width, layers, heads, mlp_width, gated_mlp, bias, megabytes = sizes[size]
        satellite = data == "sat493m"
        yield ModelSpec(
            name=name,
            kind="encoder",
            family="dinov3_vit",
            image_size=512,
            size_mb=megabytes,
            licence="DINOv3 License",
            hub_id=f"facebook/dinov3-vit{letters}-pretrain-{data}",
            hub_files=("config.json", "model*.safetensors*"),
            gated=True,
            official_file=f"dinov3_vit{letters}_pretrain_{data}-{digest}.pth",
            patch_size=16,
            feature_dim=width,
            mean=_SATELLITE_MEAN if satellite else IMAGENET_MEAN,
            std=_SATELLITE_STD if satellite else IMAGENET_STD,
            architecture=MappingProxyType(
                {
                    "hidden_size": width,
                    "num_hidden_layers": layers,
                    "num_attention_heads": heads,
                    "intermediate_size": mlp_width,
                    "use_gated_mlp": gated_mlp,
                    "hidden_act": "silu" if gated_mlp else "gelu",
                    "query_bias": bias,
                    "value_bias": bias,
                    "patch_size": 16,
                    "num_register_tokens": 4,
                }
            ),
        )


def _sam2_specs() -> Iterator[ModelSpec]:
    sizes = {"tiny": ("t", 156), "small": ("s", 184), "base_plus": ("b+", 324), "large": ("l", 898)}
    for version, release_date in (("sam2", "072824"), ("sam2.1", "092824")):
        for size, (letter, megabytes) in sizes.items():
            file = f"{version}_hiera_{size}.pt"
            yield ModelSpec(
                name=f"{version}_{size}",
                kind="mask_model",
                family="sam2",
                image_size=1024,
                size_mb=megabytes,
                hub_id=f"facebook/{version}-hiera-{size.replace('_', '-')}",
                hub_files=(file,),
                official_file=file,
                official_url=f"{_META_FILES}/segment_anything_2/{release_date}/{file}",
                config_file=f"configs/{version}/{version}_hiera_{letter}.yaml",
            )


def _demo_specs() -> Iterator[ModelSpec]:
    yield ModelSpec(
        name="dinov2_demo",
        kind="encoder",
        family="dinov2",
        image_size=224,
        size_mb=4,
        patch_size=14,
        feature_dim=192,
        bundled_folder="dinov2_demo",
    )
    yield ModelSpec(
        name="sam2_demo",
        kind="mask_model",
        family="sam2",
        image_size=256,
        size_mb=8,
        config_file="sam2_demo.yaml",
        bundled_folder="sam2_demo",
    )


CATALOG: Mapping[str, ModelSpec] = MappingProxyType(
    {spec.name: spec for specs in (_dinov2_specs(), _dinov3_specs(), _sam2_specs(), _demo_specs()) for spec in specs}
)
"""Every known model by name."""
