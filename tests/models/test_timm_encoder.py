"""Encoders of timm against our own DINOv2 and DINOv3 on the same random weights in Meta's format."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from no_time_to_train.errors import EnvironmentProblemError, InputError, WeightsNotFoundError
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.models.dino.encoder import load_dino
from no_time_to_train.models.interfaces import FeatureEncoder
from no_time_to_train.models.loading import load_encoder
from no_time_to_train.models.timm_encoder import load_timm

timm = pytest.importorskip("timm")

DINOV2, DINOV3 = "timm/vit_small_patch14_dinov2.lvd142m", "timm/vit_small_patch16_dinov3.lvd1689m"


def random_weights(name: str, seed: int = 0) -> dict[str, Tensor]:
    """Of timm's network of this name, large enough that all of it matters; without a head."""
    network = timm.create_model(name.removeprefix("timm/"), pretrained=False, num_classes=0)
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for parameter, tensor in network.state_dict().items():
        fan_in = tensor[0].numel() if tensor.ndim > 1 else 4
        weights[parameter] = torch.randn(tensor.shape, generator=generator) / fan_in**0.5
    return weights


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 518, 518, generator=torch.Generator().manual_seed(0))


def test_dinov2_equals_our_own(tmp_path: Path, images: Tensor) -> None:
    weights = random_weights(DINOV2)
    torch.save(weights, tmp_path / "timm.pth")
    torch.save({**weights, "mask_token": torch.zeros(1, 384)}, tmp_path / "meta.pth")
    expected = load_dino("dinov2_small", weights=tmp_path / "meta.pth")
    spec = get_spec(DINOV2)
    for file in ("timm.pth", "meta.pth"):
        encoder = load_timm(spec, weights=tmp_path / file)
        torch.testing.assert_close(encoder.encode(images[:1]), expected.encode(images[:1]), atol=2e-4, rtol=1e-4)
    assert isinstance(encoder, FeatureEncoder)
    assert (encoder.patch_size, encoder.feature_dim, encoder.image_size) == (14, 384, 518)
    assert not encoder.module.training and not any(p.requires_grad for p in encoder.module.parameters())


def test_position_embeddings_are_resized(tmp_path: Path, images: Tensor) -> None:
    from safetensors.torch import save_file

    weights = random_weights(DINOV2)
    weights["pos_embed"] = torch.nn.functional.avg_pool1d(
        weights["pos_embed"].mT, 9, 1, 4
    ).mT  # smooth, as trained ones
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, tmp_path / "model.safetensors")
    torch.save({**weights, "mask_token": torch.zeros(1, 384)}, tmp_path / "meta.pth")
    small = images[:, :, :224, :224]
    found = load_encoder(DINOV2, weights=tmp_path, image_size=224).encode(small)
    expected = load_dino("dinov2_small", weights=tmp_path / "meta.pth", image_size=224).encode(small)
    assert found.shape == (2, 16, 16, 384)
    assert torch.cosine_similarity(found, expected, dim=-1).min() > 0.95  # timm resizes with antialiasing


def test_dinov3_equals_our_own(tmp_path: Path, images: Tensor) -> None:
    """Register tokens are dropped, and images are normalized as timm says."""
    weights = random_weights(DINOV3)
    spec = get_spec(DINOV3)
    torch.save(weights, tmp_path / "timm.pth")
    renamed = {}
    for name, tensor in weights.items():
        for theirs, metas in (("reg_token", "storage_tokens"), (".gamma_1", ".ls1.gamma"), (".gamma_2", ".ls2.gamma")):
            name = name.replace(theirs, metas)
        renamed[name] = tensor
    for i in range(12):  # timm leaves out the biases that are all 0, or masked out
        renamed.setdefault(f"blocks.{i}.attn.qkv.bias", torch.zeros(3 * 384))
    renamed["mask_token"] = torch.zeros(1, 384)
    torch.save(renamed, tmp_path / "meta.pth")
    small = images[:, :, :256, :256]
    found = load_timm(spec, weights=tmp_path / "timm.pth").encode(small)
    expected = load_dino("dinov3_small", weights=tmp_path / "meta.pth", image_size=256).encode(small)
    assert found.shape == (2, 16, 16, 384)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_networks_that_average_their_tokens_normalize_each(tmp_path: Path) -> None:
    name = "timm/eva02_tiny_patch14_224.mim_in22k"
    torch.save(random_weights(name), tmp_path / "eva.pth")
    encoder = load_timm(get_spec(name), weights=tmp_path / "eva.pth", image_size=56)
    features = encoder.encode(torch.rand(1, 3, 56, 56))
    norm = encoder.module.network.fc_norm
    undone = (features - norm.bias) / norm.weight
    torch.testing.assert_close(undone.mean(-1), torch.zeros(1, 4, 4), atol=1e-3, rtol=0)
    torch.testing.assert_close(undone.std(-1, unbiased=False), torch.ones(1, 4, 4), atol=1e-3, rtol=0)
    reduced = load_timm(get_spec(name), weights=tmp_path / "eva.pth", image_size=56, dtype=torch.bfloat16)
    coarse = reduced.encode(torch.rand(1, 3, 56, 56))
    assert coarse.dtype == torch.float32 and coarse.isfinite().all()


def test_a_head_in_the_file_is_left_out(tmp_path: Path) -> None:
    name = "timm/vit_tiny_patch16_224.augreg_in21k"
    weights = random_weights(name)
    torch.save({**weights, "head.weight": torch.zeros(7, 192), "head.bias": torch.zeros(7)}, tmp_path / "vit.pth")
    encoder = load_timm(get_spec(name), weights=tmp_path / "vit.pth")
    assert encoder.encode(torch.rand(1, 3, 224, 224)).shape == (1, 14, 14, 192)
    assert encoder._mean.flatten().tolist() == [0.5, 0.5, 0.5]


def test_names() -> None:
    spec = get_spec("timm/vit_small_patch14_dinov2")  # timm's default weights of it
    assert (spec.name, spec.hub_id, spec.image_size) == (DINOV2, DINOV2, 518)
    for name, hint in (("vit_smal_patch14_dinov2", "vit_small_patch14"), ("vit_small_patch14_dinov2.wrong", "dinov2")):
        with pytest.raises(InputError, match=f"encoder=timm/{name}: timm .* has no network of that name. .*{hint}"):
            get_spec(f"timm/{name}")


def test_weights_that_are_not_here_or_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "timm/vit_tiny_patch16_224.augreg_in21k"
    with pytest.raises(
        WeightsNotFoundError, match=f"{name}. Looked in .* nttt weights get {name}. Offline: copy model.s"
    ):
        load_encoder(name)
    weights = random_weights(name)
    del weights["norm.weight"]
    torch.save({**weights, "cls_token": torch.zeros(1, 1, 5)}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"1 missing \(norm.weight\); 1 wrong shape \(cls_token is \(1, 1, 5\)"):
        load_encoder(name, weights=tmp_path / "bad.pth")
    torch.save({"something": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="does not hold the weights of timm/vit_tiny"):
        load_encoder(name, weights=tmp_path / "other.pth")
    with pytest.raises(InputError, match="encoder.image_size=225 is not a multiple of timm/vit_tiny.*Use 224 or 240"):
        load_encoder(name, image_size=225)


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224", "vitamin_small_224"])
def test_networks_without_square_patches_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="gives no features of square patches. Use a plain vision transformer"):
        load_encoder(f"timm/{name}")


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(EnvironmentProblemError, match=r"encoder=timm/... needs timm: pip install '.\[timm\]'"):
        get_spec(DINOV2)
