"""Which decoder a SAM 2 network gets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import nn

from no_time_to_train.errors import EnvironmentProblemError, InputError
from no_time_to_train.models.mask_decoding import PromptDecoder
from no_time_to_train.models.sam2.plain_decoder import PlainDecoder

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

logger = logging.getLogger(__name__)
_FULL_SIZE = 4096
"""Image tokens from which on one image pays for the seconds that compiling takes, once on a machine."""


def build_decoder(module: SAM2Base, decoder: str, dtype: torch.dtype) -> PromptDecoder:
    """Build the decoder called ``decoder``.

    Which one ``auto`` is depends on the network, the number format and the machine alone, never on what is cached or
    how long a run will be: parts of a run that are computed at different times fit together.

    Args:
        module: the network, on its device.
        decoder: ``plain`` calls the sam2 package's own. ``folded`` gives the same numbers faster. ``compiled`` is
            ``folded`` with C++ in place of torch for what takes most of the time. ``auto``: ``compiled`` for a
            full-size network where that is possible, else ``folded``.
        dtype: ``torch.float32``, or the format of autocast. ``compiled`` computes in float32 with either.

    Raises:
        InputError: no decoder of that name, or not for this network.
        EnvironmentProblemError: ``compiled``, and there is no C++ compiler.
    """
    if decoder == "plain":
        return PlainDecoder(module)
    if decoder not in ("auto", "compiled", "folded"):
        raise InputError(f"mask_model.decoder={decoder} is not a choice. Use one of: auto, compiled, folded, plain.")
    from no_time_to_train.models.sam2.shared_decoder import PointDecoder, arithmetic_dtype

    dtype = arithmetic_dtype(dtype, module.no_mem_embed.device)
    obstacle = _obstacle(module)
    if decoder == "compiled" and obstacle:
        raise InputError(f"mask_model.decoder=compiled is not for {obstacle}. Use mask_model.decoder=auto.")
    if decoder == "folded" or obstacle or (decoder == "auto" and _num_tokens(module) < _FULL_SIZE):
        return PointDecoder(module, dtype)
    from no_time_to_train.models.sam2.compiled_passes import CompiledPasses

    try:
        return PointDecoder(module, torch.float32, CompiledPasses())
    except EnvironmentProblemError as error:
        if decoder == "compiled":
            raise
        logger.warning(
            "%s Masks are decoded without it, which takes about twice as long (mask_model.decoder=folded: on purpose).",
            error,
        )
        return PointDecoder(module, dtype)


def _obstacle(module: SAM2Base) -> str | None:
    """Return for what there is no compiled decoder, or None."""
    from no_time_to_train.models.sam2.compiled_passes import can_be_compiled

    if module.no_mem_embed.device.type != "cpu":
        return f"device={module.no_mem_embed.device.type}"
    decoder = module.sam_mask_decoder
    attention = decoder.transformer.final_attn_token_to_image
    activations = [layer for layer in decoder.output_upscaling if isinstance(layer, nn.GELU)]
    suits = can_be_compiled(_num_tokens(module), attention.internal_dim // attention.num_heads, decoder.transformer_dim)
    if not suits or [layer.approximate for layer in activations] != ["none", "none"]:
        return "a network of these sizes"
    return None


def _num_tokens(module: SAM2Base) -> int:
    height, width = module.sam_prompt_encoder.image_embedding_size
    return int(height * width)
