"""DINOv2 and DINOv3 as frozen encoders: one feature vector per patch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from no_time_to_train.errors import InputError
from no_time_to_train.models.catalog import IMAGENET_MEAN, IMAGENET_STD, ModelSpec, get_spec
from no_time_to_train.models.checkpoints import raise_mismatch, read_state_dict
from no_time_to_train.models.dino.meta_weights import is_meta_layout, to_hub_layout
from no_time_to_train.models.frozen_encoder import prepare_encoder
from no_time_to_train.models.precision import forward_precision
from no_time_to_train.models.weights import find_weights

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_UNUSED_WEIGHTS = re.compile(r"(^|\.)(classifier|head|rope_embeddings)\.")
"""Heads, and tables of positions that the network computes itself."""


class DinoEncoder:
    """A frozen vision transformer that gives one feature vector per patch (a ``FeatureEncoder``).

    The features are the patch tokens after the final normalisation; class and register tokens are dropped. At the
    resolution of training (518 for DINOv2) they equal Meta's to rounding. At other resolutions transformers resizes
    the position embeddings of DINOv2 to the exact grid, Meta's code by a scale with an offset of 0.1 patches.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        model_id: str,
        patch_size: int,
        feature_dim: int,
        image_size: int,
        num_prefix_tokens: int = 1,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Wrap an already built network.

        Args:
            module: maps normalized images (B, 3, H, W) to an object whose ``last_hidden_state`` is (B, T, D), the T
                tokens being ``num_prefix_tokens`` others and then the patches in row order. It is frozen in place.
            model_id: identity of the weights; stored with whatever is made from the features.
            patch_size: side of a patch in pixels.
            feature_dim: D.
            image_size: side of the square input in pixels, a multiple of ``patch_size``.
            num_prefix_tokens: class and register tokens before the patches.
            mean, std: normalisation of RGB values in 0..1.
            device: where the network runs.
            dtype: ``torch.float32``, or the format of autocast.

        Raises:
            InputError: ``image_size`` is not a multiple of ``patch_size``.
        """
        _check_multiple("encoder.image_size", image_size, patch_size, model_id)
        self.module = module.to(device).eval().requires_grad_(False)
        self.model_id = model_id
        self.image_size = image_size
        self.patch_size = patch_size
        self.feature_dim = feature_dim
        self.num_prefix_tokens = num_prefix_tokens
        self.device = torch.device(device)
        self.dtype = dtype
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(std, device=device).view(3, 1, 1)

    def encode(self, images: Tensor) -> Tensor:
        """Return the features of every patch.

        Args:
            images: (B, 3, H, W) RGB float in 0..1, not normalized; H and W are multiples of the patch (both are
                ``image_size`` in the pipeline).

        Returns:
            (B, H / patch, W / patch, D) float32.

        Raises:
            InputError: another shape or type, or a side that is not a multiple of the patch.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise InputError(
                f"images must be (B, 3, H, W) float in 0..1, got {tuple(images.shape)} {str(images.dtype)[6:]}."
            )
        height, width = images.shape[-2:]
        _check_multiple("image height", height, self.patch_size, self.model_id)
        _check_multiple("image width", width, self.patch_size, self.model_id)
        normalized = (images.to(self.device, torch.float32) - self._mean) / self._std
        with forward_precision(self.device, self.dtype):
            tokens = self.module(normalized).last_hidden_state[:, self.num_prefix_tokens :]
        grid = (height // self.patch_size, width // self.patch_size)
        return tokens.float().unflatten(1, grid)


def load_dino(
    model: str | ModelSpec,
    *,
    weights: str | Path | None = None,
    image_size: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    compile: bool = False,
) -> DinoEncoder:
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
        _check_multiple("encoder.image_size", image_size or spec.image_size, spec.patch_size, spec.name)
    source = find_weights(spec, weights)
    module = _load_folder(source, spec) if source.is_dir() else _load_file(source, spec)
    settings = module.config
    prepare_encoder(module, torch.device(device), dtype)
    if compile:
        module.compile()
    return DinoEncoder(
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
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    if config.model_type not in _model_classes():
        raise InputError(
            f"{folder}/config.json describes a '{config.model_type}' model. "
            f"encoder.weights must be one of: {', '.join(_model_classes())}."
        )
    return _from_pretrained(config, spec, source=folder, pretrained_model_name_or_path=folder, local_files_only=True)


def _load_file(path: Path, spec: ModelSpec) -> PreTrainedModel:
    """Load a network from one file in the hub's or Meta's layout.

    The architecture is the catalog's.
    """
    from transformers import AutoConfig

    state_dict = read_state_dict(path)
    if is_meta_layout(state_dict):
        state_dict = to_hub_layout(state_dict, spec.family)
    architecture = dict(spec.architecture)
    positions = state_dict.get("embeddings.position_embeddings")
    if positions is not None and spec.patch_size:
        # Fine-tuned checkpoints may have been trained at another resolution than the published ones.
        architecture["image_size"] = math.isqrt(positions.shape[1] - 1) * spec.patch_size
    config = AutoConfig.for_model(spec.family, **architecture)
    return _from_pretrained(config, spec, source=path, pretrained_model_name_or_path=None, state_dict=state_dict)


def _from_pretrained(config: PreTrainedConfig, spec: ModelSpec, *, source: Path, **arguments: Any) -> PreTrainedModel:
    """Load as transformers does, which maps the hub's names; misfits are errors."""
    with quiet_transformers():
        module, report = _model_classes()[config.model_type].from_pretrained(
            config=config,
            dtype=torch.float32,
            attn_implementation="sdpa",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported, and raised below with everything else
            **arguments,
        )
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


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bar and report: what matters becomes an error."""
    from transformers.utils import logging

    verbosity, had_progress_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_progress_bar:
            logging.enable_progress_bar()


def _check_multiple(what: str, size: int, patch_size: int, model_id: str) -> None:
    """Raise unless ``size`` is a multiple of the patch, naming the two nearest sizes that are."""
    if size < patch_size or size % patch_size:
        below = max(size // patch_size, 1) * patch_size
        raise InputError(
            f"{what}={size} is not a multiple of {model_id}'s patch {patch_size}. Use {below} or {below + patch_size}."
        )
