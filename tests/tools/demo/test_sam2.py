"""The training script of the demo SAM 2.1: a smoke run, and the parts whose mistakes a smoke run would not show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tools.demo.sam2 import data, losses, train
from tools.demo.sam2.dense import CODE_SIZE, code_maps
from tools.demo.sam2.model import build_model, init_decoder, init_scales, load_weights, set_working_size


@pytest.mark.slow
def test_smoke_run_writes_loadable_weights(tmp_path: Path) -> None:
    train.main(["--smoke", "--seed", "1", "--out", str(tmp_path)])
    model = build_model(tmp_path / train.CONFIG_NAME)
    load_weights(model, tmp_path / train.WEIGHTS_NAME)
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_decoder_looks_at_the_prompted_place_from_the_start() -> None:
    torch.manual_seed(0)
    model = build_model(train.DEMO_DIR / train.CONFIG_NAME)
    init_scales(model)
    init_decoder(model)
    set_working_size(model, 256)
    attention = model.sam_mask_decoder.transformer.layers[0].cross_attn_token_to_image
    place = torch.tensor([[[67.5, 195.5]]])  # the pixel in the middle of cell (12, 4) of the 16 x 16 embedding
    with torch.no_grad():
        token, _ = model.sam_prompt_encoder(points=(place, torch.ones(1, 1)), boxes=None, masks=None)
        keys = model.sam_prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)
        query = attention._separate_heads(attention.q_proj(token[:, :1]), attention.num_heads)
        key = attention._separate_heads(attention.k_proj(keys), attention.num_heads)
    scores = (query @ key.transpose(-1, -2)).sum(dim=1).flatten()
    assert divmod(scores.argmax().item(), 16) == (12, 4)


def test_augmentation_keeps_ids_on_their_pixels() -> None:
    ids = np.arange(64, dtype=np.uint8).reshape(8, 8)
    image = np.repeat(ids[..., None], 3, axis=2)
    for seed in range(8):
        turned, turned_ids = data.augment(np.random.default_rng(seed), image, ids)
        np.testing.assert_array_equal(turned, np.repeat(turned_ids[..., None], 3, axis=2))


@pytest.mark.parametrize("use_boxes", [False, True])
def test_prompts_lie_on_their_objects(use_boxes: bool) -> None:
    ids = np.zeros((2, 64, 64), dtype=np.uint8)
    ids[:, 8:40, 16:56] = 1
    prompts = data.draw_prompts(np.random.default_rng(0), ids, 20, use_boxes, background_share=0.5)
    assert prompts.targets.shape == (40, 16, 16)
    assert prompts.coords.shape == (40, 2 if use_boxes else 1, 2)
    if use_boxes:
        assert prompts.on_object.all()
        np.testing.assert_allclose(prompts.coords.mean(dim=0).numpy(), [[16, 8], [55, 39]], atol=2)
    else:
        x, y = prompts.coords[:, 0].long().unbind(dim=1)
        assert torch.equal(torch.from_numpy(ids[0] == 1)[y, x], prompts.on_object)
        assert 5 < prompts.on_object.sum() < 35


def test_correction_clicks_the_error() -> None:
    targets = torch.zeros(1, 8, 8)
    targets[0, 2:6, 2:6] = 1
    prompts = data.PromptBatch(targets, torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.long), torch.tensor([True]))
    logits = 10 * targets - 5
    logits[0, 3, 4] = -5  # a missed cell
    corrected = data.add_correction(prompts, logits, torch.Generator().manual_seed(0))
    assert corrected.labels.tolist() == [[1, 1]]
    assert corrected.coords[0, 1].tolist() == [4 * 4 + 1.5, 3 * 4 + 1.5]


def test_losses_are_least_for_the_right_masks() -> None:
    targets = torch.zeros(2, 8, 8)
    targets[:, 2:6, 2:6] = 1
    right = (20 * targets - 10).unsqueeze(1).expand(-1, 4, -1, -1)
    on_object = torch.tensor([True, True])
    ious, scores = torch.ones(2, 4), torch.full((2,), 10.0)
    best, iou = losses.prompt_losses(right, ious, scores, targets, on_object, share_all=0.2, iou_weight=1.0)
    worst, _ = losses.prompt_losses(-right, ious, scores, targets, on_object, share_all=0.2, iou_weight=1.0)
    assert best < 0.01 < worst
    assert iou == 1


def test_code_maps_tell_objects_apart() -> None:
    ids = np.zeros((1, 32, 32), dtype=np.uint8)
    ids[0, :16, :16], ids[0, 20:32, 20:32] = 1, 2
    codes = code_maps(ids)
    assert codes.shape == (1, CODE_SIZE, 8, 8)
    assert torch.equal(codes[0, :, 0, 0], codes[0, :, 3, 3])
    assert (codes[0, :, 0, 0] - codes[0, :, 7, 7]).abs().max() > 0.5
    assert (codes[0, :, 7, 0] == 0).all()
