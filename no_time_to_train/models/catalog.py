"""Every model the package knows by name. Importing this loads no other package."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from no_time_to_train.errors import InputError, InputFileNotFoundError, missing_package
from no_time_to_train.settings.suggestions import did_you_mean

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_SATELLITE_MEAN = (0.430, 0.411, 0.296)
_SATELLITE_STD = (0.213, 0.156, 0.143)
HUB_FOLDER = ("config.json", "*processor_config.json", "model*.safetensors*")
"""Patterns of the files of a network with an image processor on the hub."""
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
"""An ``owner/repository`` of the hub."""
TIMM, HF = "timm/", "hf/"
"""How names of networks begin that the catalog does not list: of timm, and of transformers."""
_META_FILES = "https://dl.fbaipublicfiles.com"


@dataclass(frozen=True)
class ModelSpec:
    """What is needed to find, build and feed one model.

    Attributes:
        name: the name used in configs, memory banks and ``nttt weights``.
        kind: ``encoder`` or ``mask_model``, also the config group; or ``detector``.
        family: ``dinov2``, ``dinov2_with_registers``, ``dinov3_vit``, ``owlv2`` (transformers' model types) or
            ``sam2``; ``timm`` or ``hf`` for a network of timm or of transformers that is not in the catalog.
        image_size: default side of the square input in pixels; 0: as the network's own files say.
        size_mb: approximate download in megabytes; 0: not known.
        license: license of the weights.
        hub_id: repository on the Hugging Face hub, None for bundled models.
        hub_files: patterns of the files needed from it.
        gated: the hub asks for an accepted license before the download.
        official_file: file name under which the authors publish the weights, None for bundled models.
        official_url: where the authors publish that file, None where a form has to be filled in first.
        patch_size: side of a patch in pixels (encoders).
        feature_dim: channels of a patch feature (encoders).
        mean, std: normalization of RGB values in 0..1.
        architecture: settings of transformers' config class (encoders); builds the network when a file brings none.
        config_file: YAML inside the ``sam2`` package, or in the bundled folder (mask models).
        bundled_folder: folder below ``demo_data_folder()`` for models that come with this package.
        local_folder: folder of the weights for models that are named by it.
    """

    name: str
    kind: Literal["encoder", "mask_model", "detector"]
    family: Literal["dinov2", "dinov2_with_registers", "dinov3_vit", "owlv2", "sam2", "timm", "hf"]
    image_size: int
    size_mb: float
    license: str = "Apache-2.0"
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
    local_folder: str | None = None

    @property
    def takes_folder(self) -> bool:
        """Return whether the weights may be a folder in transformers' layout."""
        return self.family not in ("sam2", "timm")

    @property
    def takes_file(self) -> bool:
        """Return whether the weights may be a single file."""
        return self.family not in ("owlv2", "hf")

    @property
    def setting(self) -> str:
        """Return the setting that names other weights."""
        return "proposals.boxes.detector" if self.kind == "detector" else f"{self.kind}.weights"


def get_spec(name: str) -> ModelSpec:
    """Return the entry called ``name``, or describe the network that ``timm/NAME`` or ``hf/NAME`` stands for.

    Raises:
        InputError: no such name; the message has the closest known one.
        EnvironmentProblemError: ``timm/NAME`` without timm.
    """
    if name in CATALOG:
        return CATALOG[name]
    if name.startswith(TIMM):
        return _timm_spec(name)
    if name.startswith(HF):
        return _hf_spec(name)
    close = difflib.get_close_matches(name.replace("-", "_").lower(), CATALOG, n=1)
    hint = f"Did you mean '{close[0]}'?" if close else "Known names:"
    listing = "" if close else f" {', '.join(CATALOG)}."
    raise InputError(f"'{name}' is not a model name. {hint}{listing} `nttt weights list` shows all of them.")


def _timm_spec(name: str) -> ModelSpec:
    """Describe a network of timm by what timm knows of it; without a tag it is that of timm's default weights."""
    try:
        import timm
    except ImportError as error:
        raise missing_package(error) from error
    model = name.removeprefix(TIMM)
    try:
        known = timm.get_pretrained_cfg(model)
    except RuntimeError:  # no weights of that tag
        known = None
    if known is None:
        names = [*timm.list_models(pretrained=True), *timm.list_models()]
        hint = did_you_mean(model, names)
        raise InputError(f"encoder={name}: timm {timm.__version__} has no network of that name.{hint}")
    return ModelSpec(
        name=TIMM + (f"{known.architecture}.{known.tag}" if known.tag else model),
        kind="encoder",
        family="timm",
        image_size=known.input_size[-1],
        size_mb=0,
        license=known.license or "see its source",
        hub_id=known.hf_hub_id,
        hub_files=(known.hf_hub_filename or "model.safetensors",),
        official_file=known.hf_hub_filename,
        mean=cast("tuple[float, float, float]", known.mean),
        std=cast("tuple[float, float, float]", known.std),
    )


def _hf_spec(name: str) -> ModelSpec:
    """Describe a promptable mask model of transformers, named by its hub id or its folder."""
    source = name.removeprefix(HF)
    folder = Path(source).expanduser()
    if not folder.is_dir() and not HUB_ID.fullmatch(source):
        raise InputFileNotFoundError(
            f"mask_model={name}: {source or 'nothing'} is no folder, and not a hub id such as "
            "facebook/sam2.1-hiera-tiny."
        )
    return ModelSpec(
        name=name,
        kind="mask_model",
        family="hf",
        image_size=0,
        size_mb=0,
        license="see its source",
        hub_id=None if folder.is_dir() else source,
        hub_files=HUB_FOLDER,
        local_folder=str(folder.absolute()) if folder.is_dir() else None,
    )


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
            license="DINOv3 License",
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


def _detector_specs() -> Iterator[ModelSpec]:
    for name, repository, side, megabytes in (
        ("owlv2", "owlv2-base-patch16-ensemble", 960, 620),
        ("owlv2_large", "owlv2-large-patch14-ensemble", 1008, 1750),
    ):
        yield ModelSpec(
            name=name,
            kind="detector",
            family="owlv2",
            image_size=side,
            size_mb=megabytes,
            hub_id=f"google/{repository}",
            hub_files=HUB_FOLDER,
        )


CATALOG: Mapping[str, ModelSpec] = MappingProxyType(
    {
        spec.name: spec
        for specs in (_dinov2_specs(), _dinov3_specs(), _sam2_specs(), _detector_specs(), _demo_specs())
        for spec in specs
    }
)
"""Every known model by name."""
