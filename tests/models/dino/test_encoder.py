"""The loaded encoders against a plain implementation of the published networks, on weights in Meta's own format."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.models.catalog import IMAGENET_MEAN, IMAGENET_STD, ModelSpec, get_spec
from no_time_to_train.models.dino.encoder import load_dino
from no_time_to_train.models.interfaces import FeatureEncoder
from no_time_to_train.models.patch_encoder import PatchEncoder

WIDTH, LAYERS, HEADS, PATCH, GRID = 48, 3, 4, 14, 3
SIDE = PATCH * GRID
Weights = dict[str, Tensor]


# Checkpoints in Meta's format -------------------------------------------------------------------------------------


def meta_weights(*, registers: int = 0, swiglu: bool = False, dinov3: bool = False, seed: int = 0) -> Weights:
    """Random weights under the names and in the shapes of Meta's files."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.3

    hidden = 4 * WIDTH
    weights = {
        "cls_token": rand(1, 1, WIDTH),
        "mask_token": rand(1, WIDTH),
        "patch_embed.proj.weight": rand(WIDTH, 3, PATCH, PATCH) * 0.2,
        "patch_embed.proj.bias": rand(WIDTH),
        "norm.weight": 1 + rand(WIDTH),
        "norm.bias": rand(WIDTH),
    }
    if dinov3:
        weights["storage_tokens"] = rand(1, 4, WIDTH)
        weights["rope_embed.periods"] = rope_periods()
        weights["local_cls_norm.weight"] = rand(WIDTH)
    else:
        weights["pos_embed"] = rand(1, 1 + GRID * GRID, WIDTH)
        if registers:
            weights["register_tokens"] = rand(1, registers, WIDTH)
    for i in range(LAYERS):
        block = {
            "norm1.weight": 1 + rand(WIDTH),
            "norm1.bias": rand(WIDTH),
            "attn.qkv.weight": rand(3 * WIDTH, WIDTH),
            "attn.qkv.bias": rand(3 * WIDTH),
            "attn.proj.weight": rand(WIDTH, WIDTH),
            "attn.proj.bias": rand(WIDTH),
            "ls1.gamma": rand(WIDTH),
            "norm2.weight": 1 + rand(WIDTH),
            "norm2.bias": rand(WIDTH),
            "ls2.gamma": rand(WIDTH),
        }
        if dinov3:
            block["attn.qkv.bias_mask"] = torch.tensor([1.0, 0.0, 1.0]).repeat_interleave(WIDTH)
        if swiglu and dinov3:
            for name, shape in {"w1": (hidden, WIDTH), "w2": (hidden, WIDTH), "w3": (WIDTH, hidden)}.items():
                block |= {f"mlp.{name}.weight": rand(*shape), f"mlp.{name}.bias": rand(shape[0])}
        elif swiglu:
            gated = (int(hidden * 2 / 3) + 7) // 8 * 8
            block |= {"mlp.w12.weight": rand(2 * gated, WIDTH), "mlp.w12.bias": rand(2 * gated)}
            block |= {"mlp.w3.weight": rand(WIDTH, gated), "mlp.w3.bias": rand(WIDTH)}
        else:
            block |= {"mlp.fc1.weight": rand(hidden, WIDTH), "mlp.fc1.bias": rand(hidden)}
            block |= {"mlp.fc2.weight": rand(WIDTH, hidden), "mlp.fc2.bias": rand(WIDTH)}
        weights |= {f"blocks.{i}.{name}": tensor for name, tensor in block.items()}
    return weights


def rope_periods() -> Tensor:
    head = WIDTH // HEADS
    return 100.0 ** (2 * torch.arange(head // 4) / (head // 2))


# The networks, written from the papers ----------------------------------------------------------------------------


def plain_features(weights: Weights, images: Tensor, *, eps: float) -> Tensor:
    """Patch tokens after the final norm of a ViT with Meta's weights, (B, h, w, D)."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    patches = F.conv2d(
        (images - mean) / std, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=PATCH
    )
    height, width = patches.shape[-2:]
    tokens = torch.cat([weights["cls_token"].expand(len(images), -1, -1), patches.flatten(2).mT], dim=1)
    if "pos_embed" in weights:
        tokens = tokens + weights["pos_embed"]
    registers = weights.get("register_tokens", weights.get("storage_tokens", torch.zeros(1, 0, WIDTH)))
    tokens = torch.cat([tokens[:, :1], registers.expand(len(images), -1, -1), tokens[:, 1:]], dim=1)
    rotation = rotary_angles(height, width) if "rope_embed.periods" in weights else None
    for i in range(LAYERS):
        block = {name.removeprefix(f"blocks.{i}."): w for name, w in weights.items() if name.startswith(f"blocks.{i}.")}
        normed = F.layer_norm(tokens, (WIDTH,), block["norm1.weight"], block["norm1.bias"], eps)
        tokens = tokens + block["ls1.gamma"] * attention(block, normed, rotation)
        normed = F.layer_norm(tokens, (WIDTH,), block["norm2.weight"], block["norm2.bias"], eps)
        tokens = tokens + block["ls2.gamma"] * mlp(block, normed)
    tokens = F.layer_norm(tokens, (WIDTH,), weights["norm.weight"], weights["norm.bias"], eps)
    return tokens[:, -height * width :].unflatten(1, (height, width))


def attention(block: Weights, x: Tensor, rotation: Tensor | None) -> Tensor:
    bias = block["attn.qkv.bias"] * block.get("attn.qkv.bias_mask", torch.ones(()))
    qkv = F.linear(x, block["attn.qkv.weight"], bias).unflatten(-1, (3, HEADS, WIDTH // HEADS))
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    if rotation is not None:
        query, key = rotate(query, rotation), rotate(key, rotation)
    scores = query @ key.mT / math.sqrt(WIDTH // HEADS)
    mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    return F.linear(mixed, block["attn.proj.weight"], block["attn.proj.bias"])


def mlp(block: Weights, x: Tensor) -> Tensor:
    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, block[f"mlp.{name}.weight"], block[f"mlp.{name}.bias"])

    if "mlp.fc1.weight" in block:
        return linear("fc2", F.gelu(linear("fc1", x)))
    gate, value = linear("w12", x).chunk(2, dim=-1) if "mlp.w12.weight" in block else (linear("w1", x), linear("w2", x))
    return linear("w3", F.silu(gate) * value)


def rotary_angles(height: int, width: int) -> Tensor:
    """(h * w, head size): angles of every patch center in -1..1, the row's in the first quarter, twice over."""
    rows = (torch.arange(height) + 0.5) / height * 2 - 1
    columns = (torch.arange(width) + 0.5) / width * 2 - 1
    centers = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)
    return (2 * math.pi * centers[:, :, None] / rope_periods()).flatten(1).tile(2)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    prefix, patches = x[..., : -len(angles), :], x[..., -len(angles) :, :]
    first, second = patches.chunk(2, dim=-1)
    turned = patches * angles.cos() + torch.cat([-second, first], dim=-1) * angles.sin()
    return torch.cat([prefix, turned], dim=-2)


# Tests ------------------------------------------------------------------------------------------------------------


def tiny_spec(*, family: str = "dinov2", registers: int = 0, swiglu: bool = False) -> ModelSpec:
    architecture = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "patch_size": PATCH,
    }
    if family == "dinov3_vit":
        architecture |= {
            "intermediate_size": 4 * WIDTH,
            "num_register_tokens": 4,
            "use_gated_mlp": swiglu,
            "hidden_act": "silu" if swiglu else "gelu",
        }
    else:
        architecture |= {"use_swiglu_ffn": swiglu}
        if registers:
            architecture |= {"num_register_tokens": registers}
    return replace(
        get_spec("dinov2_small"),
        name="tiny",
        family=family,
        image_size=SIDE,
        patch_size=PATCH,
        feature_dim=WIDTH,
        architecture=architecture,
    )


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("swiglu", [False, True], ids=["mlp", "swiglu"])
@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2_features_of_metas_weights(tmp_path: Path, images: Tensor, registers: int, swiglu: bool) -> None:
    weights = meta_weights(registers=registers, swiglu=swiglu)
    torch.save(weights, tmp_path / "meta.pth")
    family = "dinov2_with_registers" if registers else "dinov2"
    spec = tiny_spec(family=family, registers=registers, swiglu=swiglu)
    encoder = load_dino(spec, weights=tmp_path / "meta.pth")
    features = encoder.encode(images)
    assert features.shape == (2, GRID, GRID, WIDTH)
    torch.testing.assert_close(features, plain_features(weights, images, eps=1e-6), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("swiglu", [False, True], ids=["mlp", "swiglu"])
def test_dinov3_features_of_metas_weights(tmp_path: Path, images: Tensor, swiglu: bool) -> None:
    weights = meta_weights(dinov3=True, swiglu=swiglu)
    torch.save(weights, tmp_path / "meta.pth")
    encoder = load_dino(tiny_spec(family="dinov3_vit", swiglu=swiglu), weights=tmp_path / "meta.pth")
    torch.testing.assert_close(encoder.encode(images), plain_features(weights, images, eps=1e-5), atol=2e-5, rtol=1e-5)


def test_training_checkpoints_load_as_well(tmp_path: Path, images: Tensor) -> None:
    """Self-distillation checkpoints keep the teacher's backbone beside its heads, blocks in groups."""
    weights = meta_weights()
    grouped = {name.replace("blocks.", "blocks.0."): tensor for name, tensor in weights.items()}
    teacher = {f"backbone.{name}": tensor for name, tensor in grouped.items()} | {"dino_head.mlp": torch.zeros(3)}
    torch.save({"teacher": teacher}, tmp_path / "teacher.pth")
    encoder = load_dino(tiny_spec(), weights=tmp_path / "teacher.pth")
    torch.testing.assert_close(encoder.encode(images), plain_features(weights, images, eps=1e-6), atol=1e-5, rtol=1e-5)


def test_folders_in_the_hubs_layout_load(tmp_path: Path, images: Tensor) -> None:
    torch.save(meta_weights(registers=4), tmp_path / "meta.pth")
    spec = tiny_spec(family="dinov2_with_registers", registers=4)
    encoder = load_dino(spec, weights=tmp_path / "meta.pth")
    encoder.module.save_pretrained(tmp_path / "hub")
    assert torch.equal(load_dino(spec, weights=tmp_path / "hub").encode(images), encoder.encode(images))
    from_file = load_dino(spec, weights=tmp_path / "hub" / "model.safetensors")
    assert torch.equal(from_file.encode(images), encoder.encode(images))


@pytest.fixture
def encoder(tmp_path: Path) -> PatchEncoder:
    torch.save(meta_weights(), tmp_path / "meta.pth")
    return load_dino(tiny_spec(), weights=tmp_path / "meta.pth")


def test_is_a_frozen_feature_encoder(encoder: PatchEncoder) -> None:
    assert isinstance(encoder, FeatureEncoder)
    assert (encoder.model_id, encoder.patch_size, encoder.feature_dim, encoder.image_size) == ("tiny", 14, 48, 42)
    assert not encoder.module.training
    assert not any(parameter.requires_grad for parameter in encoder.module.parameters())


def test_other_input_sizes_need_not_be_square(encoder: PatchEncoder) -> None:
    assert encoder.encode(torch.rand(1, 3, 28, 70)).shape == (1, 2, 5, WIDTH)


def test_bfloat16_is_close_and_comes_back_as_float32(tmp_path: Path, encoder: PatchEncoder, images: Tensor) -> None:
    reduced = load_dino(tiny_spec(), weights=tmp_path / "meta.pth", dtype=torch.bfloat16).encode(images)
    exact = encoder.encode(images)
    assert reduced.dtype == torch.float32
    similarity = F.cosine_similarity(reduced, exact, dim=-1)
    assert not torch.equal(reduced, exact) and similarity.min() > 0.99


@pytest.mark.parametrize(
    ("name", "size", "choices"),
    [("dinov2_large", 512, "504 or 518"), ("dinov3_large", 518, "512 or 528"), ("dinov2_large", 5, "14 or 28")],
)
def test_image_size_must_be_a_multiple_of_the_patch(name: str, size: int, choices: str) -> None:
    with pytest.raises(InputError, match=f"encoder.image_size={size} is not a multiple of {name}'s .* Use {choices}"):
        load_dino(name, image_size=size)


def test_images_of_the_wrong_form_are_named(encoder: PatchEncoder) -> None:
    with pytest.raises(InputError, match="image width=43"):
        encoder.encode(torch.rand(1, 3, 42, 43))
    with pytest.raises(InputError, match=r"got \(3, 42, 42\) float32"):
        encoder.encode(torch.rand(3, 42, 42))
    with pytest.raises(InputError, match="uint8"):
        encoder.encode(torch.zeros(1, 3, 42, 42, dtype=torch.uint8))


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    weights = meta_weights()
    del weights["norm.bias"]
    weights["surplus"] = torch.zeros(1)
    weights["cls_token"] = torch.zeros(1, 1, 7)
    torch.save(weights, tmp_path / "bad.pth")
    with pytest.raises(InputError) as error:
        load_dino(tiny_spec(), weights=tmp_path / "bad.pth")
    for part in ("1 missing (layernorm.bias)", "1 unexpected (surplus)", "is (1, 1, 7), must be (1, 1, 48)"):
        assert part in str(error.value)


def test_weights_of_a_folder_that_lost_its_settings_say_so(tmp_path: Path) -> None:
    weights = meta_weights() | {"cls_token": torch.zeros(1, 1, 7)}
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"has no config\.json; read without it, model\.safetensors does not hold"):
        load_dino(tiny_spec(), weights=tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "converted.safetensors")  # needs no settings beside it
    with pytest.raises(InputError, match=r"converted\.safetensors does not hold") as error:
        load_dino(tiny_spec(), weights=tmp_path / "converted.safetensors")
    assert "config.json" not in str(error.value)


def test_wrong_names_and_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'dinov2_large'"):
        load_dino("dinov2-large")
    with pytest.raises(InputError, match="Use it as mask_model=sam2_large"):
        load_dino("sam2_large")
    with pytest.raises(InputFileNotFoundError, match="no such file"):
        load_dino("dinov2_small", weights=tmp_path / "absent.pth")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "bert" / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="describes a 'bert' model"):
        load_dino("dinov2_small", weights=tmp_path / "bert")


def test_the_bundled_demo_loads() -> None:
    spec = get_spec("dinov2_demo")
    encoder = load_dino("dinov2_demo")
    assert (encoder.patch_size, encoder.feature_dim, encoder.image_size) == (spec.patch_size, spec.feature_dim, 224)
    assert encoder.encode(torch.rand(1, 3, 224, 224)).shape == (1, 16, 16, encoder.feature_dim)


@pytest.mark.slow
def test_full_size_metas_dinov2_large(tmp_path: Path) -> None:
    spec = get_spec("dinov2_large")
    generator = torch.Generator().manual_seed(0)
    shapes = {"cls_token": (1, 1, 1024), "mask_token": (1, 1024), "pos_embed": (1, 1370, 1024), "norm.weight": (1024,)}
    shapes |= {"norm.bias": (1024,), "patch_embed.proj.weight": (1024, 3, 14, 14), "patch_embed.proj.bias": (1024,)}
    for i in range(24):
        for name, width in {"norm1": 1024, "norm2": 1024}.items():
            shapes |= {f"blocks.{i}.{name}.weight": (width,), f"blocks.{i}.{name}.bias": (width,)}
        linears = {"attn.qkv": (3072, 1024), "attn.proj": (1024, 1024)}
        linears |= {"mlp.fc1": (4096, 1024), "mlp.fc2": (1024, 4096)}
        for name, shape in linears.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
        shapes |= {f"blocks.{i}.ls1.gamma": (1024,), f"blocks.{i}.ls2.gamma": (1024,)}
    weights = {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in shapes.items()}
    torch.save(weights, tmp_path / spec.official_file)
    encoder = load_dino("dinov2_large", weights=tmp_path / spec.official_file)
    features = encoder.encode(torch.rand(1, 3, 518, 518, generator=generator))
    assert features.shape == (1, 37, 37, 1024) and features.isfinite().all()
