"""Meta's own DINOv2 and DINOv3 checkpoints, renamed to the layout of the Hugging Face hub.

The hub's names are a file format that transformers maps to its modules on loading; the modules' own names have
changed between its releases, so nothing here refers to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

_Renames = tuple[tuple[re.Pattern[str], str], ...]


def _compile(*renames: tuple[str, str]) -> _Renames:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in renames)


_COMMON = (
    (r"^(cls_token|mask_token|register_tokens)$", r"embeddings.\1"),
    (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
)
_DINOV2 = _compile(
    *_COMMON,
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^blocks\.(?:\d+\.)?(\d+)\.", r"encoder.layer.\1."),  # training checkpoints group the blocks: blocks.0.3.
    (r"\.attn\.(query|key|value)\.", r".attention.attention.\1."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.mlp\.w12\.", ".mlp.weights_in."),
    (r"\.mlp\.w3\.", ".mlp.weights_out."),
    (r"^norm\.", "layernorm."),
)
_DINOV3 = _compile(
    *_COMMON,
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings."),
    (r"^storage_tokens$", "embeddings.register_tokens"),
    (r"^blocks\.(\d+)\.", r"layer.\1."),
    (r"\.attn\.query\.", ".attention.q_proj."),
    (r"\.attn\.key\.", ".attention.k_proj."),
    (r"\.attn\.value\.", ".attention.v_proj."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.mlp\.w1\.", ".mlp.gate_proj."),
    (r"\.mlp\.(w2|fc1)\.", ".mlp.up_proj."),
    (r"\.mlp\.(w3|fc2)\.", ".mlp.down_proj."),
)
_DINOV3_UNUSED = re.compile(
    r"rope_embed\.periods"  # recomputed from the base period
    r"|(local_)?cls_norm\."  # norms of the class token where it has its own; only patch tokens are used
    r"|\.attn\.qkv\.bias_mask"  # says that keys have no bias
    r"|\.attn\.key\.bias"  # masked out by it
)


def is_meta_layout(state_dict: Mapping[str, Tensor]) -> bool:
    """Return whether the names are those of Meta's repositories."""
    return "patch_embed.proj.weight" in state_dict


def to_hub_layout(state_dict: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    """Rename Meta's weights as the hub's, with query, key and value split.

    Args:
        state_dict: names and tensors of a DINOv2 or DINOv3 checkpoint of Meta.
        family: ``dinov2``, ``dinov2_with_registers`` or ``dinov3_vit``.
    """
    is_dinov3 = family == "dinov3_vit"
    converted = {}
    for name, tensor in _split_joint_projections(state_dict):
        if is_dinov3 and _DINOV3_UNUSED.search(name):
            continue
        for pattern, replacement in _DINOV3 if is_dinov3 else _DINOV2:
            name = pattern.sub(replacement, name)
        if is_dinov3 and name == "embeddings.mask_token":
            tensor = tensor.reshape(1, 1, -1)
        converted[name] = tensor
    return converted


def _split_joint_projections(state_dict: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in state_dict.items():
        stem, joint, parameter = name.partition(".attn.qkv.")
        if joint and parameter in ("weight", "bias"):
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                yield f"{stem}.attn.{part}.{parameter}", piece
        else:
            yield name, tensor
