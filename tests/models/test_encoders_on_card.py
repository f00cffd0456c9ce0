"""The encoders of every library on a GPU that is not there: nothing is left on the CPU, and the numbers are its."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from no_time_to_train.models.frozen_encoder import prepare_encoder
from no_time_to_train.models.patch_encoder import PatchEncoder
from no_time_to_train.models.timm_encoder import _Tokens
from tests.models.conftest import randomise
from tests.pretend_card import CardTensor, on_host, pretend_card

SIDE, PATCH, DIM = 48, 16, 32


def dinov2_with_registers() -> tuple[nn.Module, int]:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = Dinov2WithRegistersConfig(
        hidden_size=DIM, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=PATCH
    )
    return Dinov2WithRegistersModel(config), 1 + config.num_register_tokens


def dinov3() -> tuple[nn.Module, int]:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=DIM,
        intermediate_size=2 * DIM,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
        num_register_tokens=4,
    )
    return DINOv3ViTModel(config), 5


def of_timm() -> tuple[nn.Module, int]:
    timm = pytest.importorskip("timm")
    network = timm.create_model("vit_tiny_patch16_224", img_size=SIDE, depth=1, embed_dim=DIM, num_heads=2)
    return _Tokens(network), network.num_prefix_tokens


def of_timm_with_rotary_positions() -> tuple[nn.Module, int]:
    timm = pytest.importorskip("timm")
    network = timm.create_model(
        "vit_small_patch16_dinov3", img_size=SIDE, depth=1, embed_dim=DIM, num_heads=2, num_classes=0
    )
    return _Tokens(network), network.num_prefix_tokens


BUILDS = (dinov2_with_registers, dinov3, of_timm, of_timm_with_rotary_positions)


def encode(module: nn.Module, num_prefix_tokens: int, device: str, dtype: torch.dtype) -> torch.Tensor:
    module = copy.deepcopy(module)
    prepare_encoder(module, torch.device(device), dtype)
    encoder = PatchEncoder(
        module,
        model_id="tiny",
        patch_size=PATCH,
        feature_dim=DIM,
        image_size=SIDE,
        num_prefix_tokens=num_prefix_tokens,
        device=device,
        dtype=dtype,
    )
    return encoder.encode(torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device))


@pytest.mark.parametrize("build", BUILDS)
def test_features_are_those_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[], tuple[nn.Module, int]]
) -> None:
    module, num_prefix_tokens = build()
    randomise(module.eval(), seed=1)
    expected = encode(module, num_prefix_tokens, "cpu", torch.float32)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.3), (torch.float16, 0.05)):
        with pretend_card(monkeypatch, "cuda:1") as card:
            features = encode(module, num_prefix_tokens, "cuda:1", dtype)
        assert isinstance(features, CardTensor) and features.dtype == torch.float32
        torch.testing.assert_close(on_host(features), expected, atol=tolerance, rtol=0.1)
        assert not any(place.startswith("models.patch_encoder.encode") for place in card.waits)
