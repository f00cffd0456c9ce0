"""DINOv2 and DINOv3 as frozen encoders: one feature vector per patch.

At the resolution of training (518 for DINOv2) the features equal Meta's to rounding. At other resolutions transformers
resizes the position embeddings of DINOv2 to the exact grid, Meta's code by a scale with an offset of 0.1 patches.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from no_time_to_train.errors import InputError
from no_time_to_train.models.catalog import ModelSpec, get_spec
from no_time_to_train.models.checkpoints import raise_mismatch, read_state_dict
from no_time_to_train.models.dino.meta_weights import is_meta_layout, to_hub_layout
from no_time_to_train.models.frozen_encoder import prepare_encoder
from no_time_to_train.models.patch_encoder import PatchEncoder, check_multiple
from no_time_to_train.models.transformers_folders import CONFIG_FILE, load_network, read_config
from no_time_to_train.models.weight_index import WEIGHTS_FILE
from no_time_to_train.models.weights import find_weights

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_UNUSED_WEIGHTS = re.compile(r"(^|\.)(classifier|head|rope_embeddings)\.")
"""Heads, and tables of positions that the network computes itself."""


def load_dino(
    model: str | ModelSpec,
    *,
    weights: str | Path | None = None,
    image_size: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    compile: bool = False,
) -> PatchEncoder:
    """Load the frozen encoder called ``model``.

    Args:
        model: a name of ``nttt weights list``, or a specification of one's own.
        weights: hub id, local folder or local file to use instead of the model's own. Files may be in the hub's
            layout or Meta's own (``dinov2_vitl14_pretrain.pth``).
        image_size: side of the square input in pixels, a multiple of the patch; None: the model's default.
        device: where the network runs.
        dtype: ``torch.float32``, or the format of autocast.
        compile: ``torch.compile`` the network; the first image then takes a minute.

    Raises:
        InputError: unknown name, a model of another kind, weights that do not fit, an impossible ``image_size``.
        WeightsNotFoundError, InputFileNotFoundError, UnsafeWeightsError: see ``find_weights``, ``read_state_dict``.
    """
    spec = get_spec(model) if isinstance(model, str) else model
    if spec.kind != "encoder":
        raise InputError(f"encoder={spec.name}: {spec.name} is a mask model. Use it as mask_model={spec.name}.")
    if spec.patch_size is not None:
        check_multiple("encoder.image_size", image_size or spec.image_size, spec.patch_size, spec.name)
    source = find_weights(spec, weights)
    module = _load_folder(source, spec) if source.is_dir() else _load_file(source, spec)
    settings = module.config
    prepare_encoder(module, torch.device(device), dtype)
    if compile:
        module.compile()
    return PatchEncoder(
        module,
        model_id=spec.name,
        patch_size=settings.patch_size,
        feature_dim=settings.hidden_size,
        image_size=image_size or spec.image_size,
        num_prefix_tokens=1 + getattr(settings, "num_register_tokens", 0),
        mean=spec.mean,
        std=spec.std,
        device=device,
        dtype=dtype,
    )


def _load_folder(folder: Path, spec: ModelSpec) -> PreTrainedModel:
    """Load a network from a folder in transformers' layout."""
    config = read_config(folder)
    if config.model_type not in _model_classes():
        raise InputError(
            f"{folder}/config.json describes a '{config.model_type}' model. "
            f"encoder.weights must be one of: {', '.join(_model_classes())}."
        )
    return _load(config, spec, folder, source=folder)


def _load_file(path: Path, spec: ModelSpec) -> PreTrainedModel:
    """Load a network from one file in the hub's or Meta's layout.

    The architecture is the catalog's.
    """
    from transformers import AutoConfig

    state_dict = read_state_dict(path)
    if is_meta_layout(state_dict):
        try:
            state_dict = to_hub_layout(state_dict, spec.family)
        except (ValueError, RuntimeError) as error:  # query, key and value cannot be split
            raise InputError(f"{path} does not hold the weights of {spec.name}: {error}.") from error
    architecture = dict(spec.architecture)
    positions = state_dict.get("embeddings.position_embeddings")
    if positions is not None and positions.ndim == 3 and positions.shape[1] > 1 and spec.patch_size:
        # Fine-tuned checkpoints may have been trained at another resolution than the published ones.
        architecture["image_size"] = math.isqrt(positions.shape[1] - 1) * spec.patch_size
    is_left_of_folder = path.name == WEIGHTS_FILE and not (path.parent / CONFIG_FILE).is_file()
    source = f"{path.parent} has no {CONFIG_FILE}; read without it, {path.name}" if is_left_of_folder else path
    return _load(AutoConfig.for_model(spec.family, **architecture), spec, state_dict, source=source)


def _load(
    config: PreTrainedConfig, spec: ModelSpec, weights: Path | Mapping[str, Tensor], *, source: str | Path
) -> PreTrainedModel:
    """Load the network; misfits are errors."""
    network = _model_classes()[config.model_type]
    module, report = load_network(network, config, weights, attn_implementation="sdpa")
    raise_mismatch(
        missing=report["missing_keys"],
        unexpected=[name for name in report["unexpected_keys"] if not _UNUSED_WEIGHTS.search(name)],
        wrong_shapes={name: (tuple(model), tuple(file)) for name, file, model in report["mismatched_keys"]},
        source=source,
        model=spec.name,
    )
    return module


def _model_classes() -> dict[str, Any]:
    from transformers import Dinov2Model, Dinov2WithRegistersModel, DINOv3ViTModel

    return {"dinov2": Dinov2Model, "dinov2_with_registers": Dinov2WithRegistersModel, "dinov3_vit": DINOv3ViTModel}
