"""The demo SAM 2.1 network: building, structured initialization, image-mode forward pass, saving.

Every module comes from the `sam2` package; this file only builds them from a YAML of the official structure and
chooses the initial values.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)
STRIDE = 16  # of the image embedding
LOW_RES_STRIDE = 4  # of the mask logits
SLOW_FREQUENCY = 0.25  # the position code sees 2 pi f (2 x - 1): half a period over the image


def build_model(config_path: Path, overrides: dict[str, object] | None = None) -> nn.Module:
    """Instantiate `model` of a SAM 2 YAML; `overrides` replaces top-level keys (`_target_`, for the predictor)."""
    config = OmegaConf.load(config_path)
    for key, value in (overrides or {}).items():
        OmegaConf.update(config, f"model.{key}", value, force_add=True)
    OmegaConf.resolve(config)
    return instantiate(config.model, _recursive_=True)


def set_working_size(model: nn.Module, size: int) -> None:
    """Make the prompt encoder accept images of size x size, so that training may start small.

    Position codes are normalized by the image size, hence the weights carry over between sizes.
    """
    encoder = model.sam_prompt_encoder
    encoder.input_image_size = (size, size)
    encoder.image_embedding_size = (size // STRIDE, size // STRIDE)
    encoder.mask_input_size = (size // LOW_RES_STRIDE, size // LOW_RES_STRIDE)


def normalize_images(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 -> float, with SAM 2's preprocessing."""
    mean = torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(PIXEL_STD).view(1, 3, 1, 1)
    return (images.float() / 255.0 - mean) / std


# ---------------------------------------------------------------------------------------------------------------------
# Initialization


def _set_slow_frequencies(matrix: Tensor, num_heads: int) -> None:
    """Overwrite the first 2 * num_heads of the (2, F) random frequencies by slow ones, an orthogonal pair per head.

    With q and k both carrying the sines and cosines of a pair, q.k = cos(pi u.d) + cos(pi v.d) for the offset d between
    the two places: one bump and no side lobes, which the random (faster) frequencies would have.
    """
    for head in range(num_heads):
        angle = 0.5 * math.pi * head / num_heads
        matrix[:, 2 * head] = SLOW_FREQUENCY * torch.tensor([math.cos(angle), math.sin(angle)])
        matrix[:, 2 * head + 1] = SLOW_FREQUENCY * torch.tensor([-math.sin(angle), math.cos(angle)])


def _position_dims(num_heads: int, width: int) -> Tensor:
    """(num_heads, 4) dimensions of the position code that hold each head's two slow sines and two slow cosines."""
    sines = torch.arange(2 * num_heads).view(num_heads, 2)
    return torch.cat([sines, sines + width // 2], dim=1)


def _init_point_attention(attention: nn.Module, sharpness: float) -> None:
    """Make q.k peak where the query and the key carry the position code of the same place.

    Four dimensions of each head do it (a bump of about 1 / (pi sqrt(sharpness)) of the image); the others stay free.
    """
    dims = _position_dims(attention.num_heads, attention.embedding_dim)
    per_head = attention.internal_dim // attention.num_heads
    rows = (torch.arange(attention.num_heads) * per_head).unsqueeze(1) + torch.arange(dims.shape[1])
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight[rows.flatten()] = 0.0
        projection.weight[rows.flatten(), dims.flatten()] = math.sqrt(sharpness * math.sqrt(per_head))
        projection.bias.zero_()


def _init_prompt_reading(attention: nn.Module, label_embeddings: Tensor, peak: float) -> None:
    """Make every token read the prompt tokens: one dimension per head answers to the prompt's label embedding."""
    direction = label_embeddings.sum(dim=0)
    direction = direction / (label_embeddings @ direction).mean()  # 1 for a typical prompt token
    per_head = attention.internal_dim // attention.num_heads
    first = torch.arange(attention.num_heads) * per_head
    attention.q_proj.bias[first] = math.sqrt(peak * math.sqrt(per_head))
    attention.k_proj.weight[first] = math.sqrt(peak * math.sqrt(per_head)) * direction
    attention.v_proj.weight.copy_(torch.eye(attention.internal_dim))
    attention.out_proj.weight.copy_(torch.eye(attention.internal_dim))
    attention.v_proj.bias.zero_()
    attention.out_proj.bias.zero_()


def _silence_rows(model: nn.Module, dims: Tensor) -> None:
    """Keep contents out of the slow position dimensions at the start, of the image's side and of the tokens'."""
    encoder, decoder = model.sam_prompt_encoder, model.sam_mask_decoder
    for embedding in (
        *encoder.point_embeddings,
        encoder.not_a_point_embed,
        encoder.no_mask_embed,
        decoder.iou_token,
        decoder.mask_tokens,
        decoder.obj_score_token,
    ):
        embedding.weight.mul_(0.5)
        embedding.weight[:, dims] = 0.0
    writers = [encoder.mask_downscaling[-1], *(level.conv for level in model.image_encoder.neck.convs[:2])]
    for layer in decoder.transformer.layers:
        writers += [layer.self_attn.out_proj, layer.cross_attn_token_to_image.out_proj, layer.mlp.layers[-1]]
        writers.append(layer.cross_attn_image_to_token.out_proj)
    for writer in writers:
        writer.weight[dims] = 0.0
        writer.bias[dims] = 0.0


@torch.no_grad()
def init_decoder(model: nn.Module) -> None:
    """Let the mask decoder look at the prompted place from the first step on (instead of having to discover it).

    To be called after `init_scales`.
    """
    transformer = model.sam_mask_decoder.transformer
    num_heads, width = transformer.num_heads, transformer.embedding_dim
    _set_slow_frequencies(model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix, num_heads)
    _silence_rows(model, _position_dims(num_heads, width).flatten())
    labels = torch.cat([embedding.weight for embedding in model.sam_prompt_encoder.point_embeddings])
    _init_prompt_reading(transformer.layers[0].self_attn, labels, peak=4.0)
    for layer, sharpness in zip(transformer.layers, (16.0, 10.0), strict=True):
        _init_point_attention(layer.cross_attn_token_to_image, sharpness)
        _init_point_attention(layer.cross_attn_image_to_token, 1.5)
    _init_point_attention(transformer.final_attn_token_to_image, 4.0)


@torch.no_grad()
def init_scales(model: nn.Module) -> None:
    """Give the image part's layers unit gain.

    PyTorch's default gain (1 / sqrt 3) makes stacks of narrow layers fade: the masks would hardly depend on the prompt
    at the start, and that dependence is what has to be learned first.
    """
    for owner in (model.image_encoder, model.sam_mask_decoder):
        for module in owner.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.ConvTranspose2d):  # stride = kernel: each output sees one input position
                nn.init.normal_(module.weight, std=module.weight.shape[0] ** -0.5)
                nn.init.zeros_(module.bias)
    for head in model.sam_mask_decoder.output_hypernetworks_mlps:
        for layer in head.layers[:-1]:
            layer.weight.mul_(math.sqrt(2.0))  # for the ReLUs
        head.layers[-1].weight.mul_(0.3)  # logits of moderate size
    for block in model.image_encoder.trunk.blocks:
        block.attn.proj.weight.mul_(0.5)  # near the identity: residual branches grow when they are of use
        block.mlp.layers[-1].weight.mul_(0.5)
    nn.init.trunc_normal_(model.image_encoder.trunk.pos_embed, std=0.02)
    nn.init.trunc_normal_(model.image_encoder.trunk.pos_embed_window, std=0.02)


# ---------------------------------------------------------------------------------------------------------------------
# Image mode


def encode_images(model: nn.Module, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """(B, 3, H, W) normalized -> [stride 4, stride 8, stride 16 embedding] for the decoder, and the same unprojected.

    The second list holds the neck's own outputs, all (B, d_model, h, w), for the auxiliary losses.
    """
    pyramid = model.image_encoder(images)["backbone_fpn"]
    decoder = model.sam_mask_decoder
    embedding = pyramid[2] + model.no_mem_embed.view(1, -1, 1, 1)
    return [decoder.conv_s0(pyramid[0]), decoder.conv_s1(pyramid[1]), embedding], pyramid


def repeat_features(features: list[Tensor], times: int) -> list[Tensor]:
    """Repeats each image's features for its `times` prompts (image-major)."""
    return [feature.repeat_interleave(times, dim=0) for feature in features]


def decode(
    model: nn.Module, features: list[Tensor], coords: Tensor, labels: Tensor, masks: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """All four masks of every prompt.

    Args:
        features: of `repeat_features`, one row per prompt.
        coords: (P, N, 2) x, y in pixels of the working size.
        labels: (P, N) 1 foreground, 0 background, 2 and 3 the corners of a box.
        masks: (P, 1, h, w) logits of a previous round.

    Returns:
        logits (P, 4, h, w), predicted IoU (P, 4), object score logits (P,).
    """
    sparse, dense = model.sam_prompt_encoder(points=(coords, labels), boxes=None, masks=masks)
    logits, ious, _, scores = model.sam_mask_decoder.predict_masks(
        image_embeddings=features[2],
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        repeat_image=False,
        high_res_features=features[:2],
    )
    return logits.float(), ious.float(), scores.float().squeeze(1)


# ---------------------------------------------------------------------------------------------------------------------
# Weights


def save_weights(model_state: dict[str, Tensor], path: Path) -> None:
    """Write a flat fp16 state dict, atomically (the file may be read while the training runs)."""
    halves = {name: value.detach().half().contiguous() for name, value in model_state.items()}
    partial = path.with_suffix(".partial")
    save_file(halves, str(partial))
    partial.chmod(0o644)  # safetensors writes files that only their owner may read
    partial.replace(path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load what `save_weights` wrote, strictly."""
    model.load_state_dict({name: value.float() for name, value in load_file(str(path)).items()}, strict=True)
