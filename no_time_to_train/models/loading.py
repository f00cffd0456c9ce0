"""The frozen networks by name, whichever library has them."""

from __future__ import annotations

from pathlib import Path

import torch

from no_time_to_train.models.catalog import ModelSpec, get_spec
from no_time_to_train.models.interfaces import FeatureEncoder, MaskModel


def load_encoder(
    model: str | ModelSpec,
    *,
    weights: str | Path | None = None,
    image_size: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    compile: bool = False,
) -> FeatureEncoder:
    """Load the frozen encoder called ``model``; arguments and errors as of ``load_dino`` and ``load_timm``."""
    from no_time_to_train.models.dino.encoder import load_dino
    from no_time_to_train.models.timm_encoder import load_timm

    spec = get_spec(model) if isinstance(model, str) else model
    load = load_timm if spec.family == "timm" else load_dino
    return load(spec, weights=weights, image_size=image_size, device=device, dtype=dtype, compile=compile)


def load_mask_model(
    model: str | ModelSpec,
    *,
    weights: str | Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    decoder: str = "auto",
    prompts_per_batch: int | None = None,
    add_no_memory_embedding: bool | None = None,
    compile: bool = False,
) -> MaskModel:
    """Load the frozen mask model called ``model``; arguments and errors as of ``load_sam2`` and ``load_promptable``.

    Args:
        decoder: of SAM 2's own package alone; a network of transformers has its own.
    """
    from no_time_to_train.models.promptable import load_promptable
    from no_time_to_train.models.sam2.model import load_sam2

    spec = get_spec(model) if isinstance(model, str) else model
    if spec.family == "hf":
        return load_promptable(
            spec,
            weights=weights,
            device=device,
            dtype=dtype,
            prompts_per_batch=prompts_per_batch,
            add_no_memory_embedding=add_no_memory_embedding,
            compile=compile,
        )
    return load_sam2(
        spec,
        weights=weights,
        device=device,
        dtype=dtype,
        decoder=decoder,
        prompts_per_batch=prompts_per_batch,
        add_no_memory_embedding=add_no_memory_embedding,
        compile=compile,
    )
