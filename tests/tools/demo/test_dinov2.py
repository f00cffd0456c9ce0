import numpy as np
import pytest
import torch
from transformers import Dinov2Model

from tools.demo.dinov2 import data, features, train


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_smoke_run_writes_a_loadable_model(tmp_path, capsys):
    train.main(["--smoke", "--out", str(tmp_path)])
    assert "3 steps; accuracy" in capsys.readouterr().out
    model = Dinov2Model.from_pretrained(tmp_path, dtype=torch.float32)
    tokens = features.patch_features(model, torch.rand(1, 3, 224, 224))
    assert tokens.shape == (1, 256, model.config.hidden_size)
    assert (tmp_path / "model.safetensors").stat().st_size < 8_000_000


def test_batches_describe_their_masks():
    batch = data.make_batch(np.random.default_rng(0), num_categories=3, num_scenes=2)
    count = len(batch.masks)
    assert batch.images.shape == (5, 3, 224, 224) and batch.images.min() >= 0 and batch.images.max() <= 1
    assert batch.crop_masks.shape == (3, 16, 16) and batch.crop_masks.sum(dim=(1, 2)).min() > 10
    assert batch.masks.shape == (count, 16, 16)
    assert batch.scene_of_mask.shape == batch.categories.shape == batch.ious.shape == (count,)
    background = batch.categories == -1
    assert background.sum() == 2 and (batch.ious[background] == 0).all()
    assert (batch.ious == 1).any() and (batch.ious < 1)[~background].any()


def test_masked_means_weight_the_tokens():
    tokens = torch.arange(256.0).view(1, 256, 1)
    mask = torch.zeros(1, 16, 16)
    mask[0, 0, 2], mask[0, 1, 0] = 1.0, 0.5
    assert features.masked_means(tokens, mask).item() == pytest.approx((2 * 1 + 16 * 0.5) / 1.5)


def test_loss_prefers_right_cosines_and_doubts_wrong_masks():
    loss = features.CosineLoss()
    categories, ious = torch.tensor([0, 1, 0, -1]), torch.tensor([1.0, 0.9, 0.3, 0.0])
    good = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    swapped = good.flip(1)
    trusting = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert loss(good, categories, ious) < loss(trusting, categories, ious)
    assert loss(good, categories, ious) < loss(swapped, categories, ious)


def test_float16_weights_give_nearly_the_same_features(tmp_path):
    torch.manual_seed(0)
    model = Dinov2Model(train.demo_config()).eval()
    train.save(model, tmp_path)
    reloaded = Dinov2Model.from_pretrained(tmp_path, dtype=torch.float32).eval()
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        before, after = (features.patch_features(m, images) for m in (model, reloaded))
    assert next(model.parameters()).dtype == torch.float32
    assert torch.cosine_similarity(before, after, dim=-1).min() > 0.9999
