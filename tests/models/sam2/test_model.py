from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from no_time_to_train.errors import InputError
from no_time_to_train.models.catalog import ModelSpec, get_spec
from no_time_to_train.models.interfaces import MaskModel, PromptBatch
from no_time_to_train.models.sam2.model import Sam2MaskModel, build_sam2, load_sam2

SIDE = 128
IMAGE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
PIXELS = torch.from_numpy(IMAGE).permute(2, 0, 1)[None].float() / 255
POINTS = torch.tensor([[[10.5, 20.5]], [[100.0, 64.0]], [[64.5, 3.0]], [[1.0, 127.0]], [[77.0, 77.0]]])
LABELS = torch.ones(5, 1, dtype=torch.int64)
BOXES = torch.tensor([[5.0, 6, 60, 70], [0, 0, 128, 128], [40, 40, 41, 90], [2, 3, 4, 5], [9, 9, 99, 99]])
MASKS = torch.randn(5, SIDE // 4, SIDE // 4, generator=torch.Generator().manual_seed(1)) * 5


@pytest.fixture
def model(tiny_sam2: tuple[ModelSpec, Path, torch.nn.Module]) -> Sam2MaskModel:
    spec, checkpoint, _ = tiny_sam2
    return load_sam2(spec, weights=checkpoint, decoder="plain", prompts_per_batch=2)


@pytest.fixture
def predictor(tiny_sam2: tuple[ModelSpec, Path, torch.nn.Module]):
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor = SAM2ImagePredictor(tiny_sam2[2])
    predictor._bb_feat_sizes = [(SIDE // 4, SIDE // 4), (SIDE // 8, SIDE // 8), (SIDE // 16, SIDE // 16)]
    predictor.set_image(IMAGE)
    return predictor


def test_is_a_mask_model(model: Sam2MaskModel) -> None:
    assert isinstance(model, MaskModel)
    assert (model.image_size, model.mask_size, model.model_id) == (128, 32, "tiny")
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_image_embedding_equals_the_predictors(model: Sam2MaskModel, predictor) -> None:
    embeddings = model.encode_images(torch.cat([torch.zeros_like(PIXELS), PIXELS]))
    assert len(embeddings) == 2
    torch.testing.assert_close(embeddings[1].embedding, predictor._features["image_embed"], atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(embeddings[1].high_res_features, predictor._features["high_res_feats"], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", ["points", "boxes", "boxes_and_points", "points_and_masks", "masks"])
def test_predictions_equal_the_predictors(model: Sam2MaskModel, predictor, kind: str, multimask: bool) -> None:
    prompts = PromptBatch(
        points_xy=POINTS if "points" in kind else None,
        point_labels=LABELS if "points" in kind else None,
        boxes_xyxy=BOXES if "boxes" in kind else None,
        mask_logits=MASKS if "masks" in kind else None,
    )
    prediction = model.predict(model.encode_images(PIXELS)[0], prompts, multimask=multimask)
    assert prediction.logits.shape == (5, 3 if multimask else 1, 32, 32)
    for i in range(5):  # one by one: the predictor cannot take several masks without points
        _, ious, logits = predictor._predict(
            None if prompts.points_xy is None else prompts.points_xy[i : i + 1],
            None if prompts.point_labels is None else prompts.point_labels[i : i + 1].int(),
            None if prompts.boxes_xyxy is None else prompts.boxes_xyxy[i : i + 1],
            None if prompts.mask_logits is None else prompts.mask_logits[i : i + 1, None],
            multimask_output=multimask,
        )
        torch.testing.assert_close(prediction.logits[i].clamp(-32, 32), logits[0], atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(prediction.predicted_ious[i], ious[0], atol=1e-5, rtol=1e-5)


def test_single_mask_falls_back_to_the_multimask_outputs_where_unstable(model: Sam2MaskModel) -> None:
    embedding = model.encode_images(PIXELS)[0]
    prompts = PromptBatch(points_xy=POINTS, point_labels=LABELS)
    dynamic = model.predict(embedding, prompts, multimask=False)
    model.module.sam_mask_decoder.dynamic_multimask_via_stability = False
    single = model.predict(embedding, prompts, multimask=False)
    three = model.predict(embedding, prompts, multimask=True)
    best = three.predicted_ious.max(dim=1, keepdim=True).values
    expected = (dynamic.predicted_ious == single.predicted_ious) | (dynamic.predicted_ious == best)
    assert expected.all()
    model.module.sam_mask_decoder.dynamic_multimask_stability_thresh = 2.0  # never stable
    model.module.sam_mask_decoder.dynamic_multimask_via_stability = True
    assert torch.equal(model.predict(embedding, prompts, multimask=False).predicted_ious, best)


def test_predict_best_picks_by_predicted_iou_above_the_minimum(model: Sam2MaskModel) -> None:
    embedding = model.encode_images(PIXELS)[0]
    prompts = PromptBatch(points_xy=POINTS, point_labels=LABELS)
    three = model.predict(embedding, prompts, multimask=True)
    best_ious, best_outputs = three.predicted_ious.max(dim=1)
    minimum = best_ious.median().item()  # itself not above the minimum: two of five are kept
    best = model.predict_best(embedding, prompts, min_predicted_iou=minimum)
    kept = [i for i in range(5) if best_ious[i] > minimum]
    assert best.prompt_indices.tolist() == kept and len(kept) == 2
    assert torch.equal(best.predicted_ious, best_ious[kept])
    assert torch.equal(best.logits, three.logits[kept, best_outputs[kept]])


@pytest.mark.parametrize("decoder", ["plain", "folded"])
def test_predict_above_takes_every_output_above_the_minimum(tiny_sam2, decoder: str) -> None:
    model = load_sam2(tiny_sam2[0], weights=tiny_sam2[1], decoder=decoder, prompts_per_batch=2)
    embedding = model.encode_images(PIXELS)[0]
    prompts = PromptBatch.of_clicks(POINTS[:, 0])
    three = model.predict(embedding, prompts, multimask=True)
    minimum = three.predicted_ious.median().item()  # itself not above the minimum: 7 of 15 are kept
    above = model.predict_above(embedding, prompts, min_predicted_iou=minimum)
    kept = three.predicted_ious > minimum
    assert above.prompt_indices.tolist() == kept.nonzero()[:, 0].tolist() and len(above.logits) == 7
    torch.testing.assert_close(above.predicted_ious, three.predicted_ious[kept])
    torch.testing.assert_close(above.logits, three.logits[kept], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("multimask", [True, False])
def test_the_folded_decoder_gives_the_same_masks(tiny_sam2, model: Sam2MaskModel, multimask: bool) -> None:
    folded = load_sam2(tiny_sam2[0], weights=tiny_sam2[1])
    embedding = model.encode_images(PIXELS)[0]
    for prompts in (PromptBatch(points_xy=POINTS, point_labels=LABELS), PromptBatch(boxes_xyxy=BOXES)):
        expected = model.predict(embedding, prompts, multimask=multimask)
        result = folded.predict(embedding, prompts, multimask=multimask)
        torch.testing.assert_close(result.logits, expected.logits, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(result.predicted_ious, expected.predicted_ious, atol=1e-4, rtol=1e-4)


def test_no_prompts_give_no_masks(model: Sam2MaskModel) -> None:
    embedding = model.encode_images(PIXELS)[0]
    none = PromptBatch(points_xy=POINTS[:0], point_labels=LABELS[:0])
    assert model.predict(embedding, none, multimask=True).logits.shape == (0, 3, 32, 32)
    assert model.predict_best(embedding, none, min_predicted_iou=0.0).logits.shape == (0, 32, 32)
    assert model.predict_above(embedding, none, min_predicted_iou=0.0).logits.shape == (0, 32, 32)


def test_bfloat16_is_close_and_comes_back_as_float32(tiny_sam2, model: Sam2MaskModel) -> None:
    spec, checkpoint, _ = tiny_sam2
    reduced = load_sam2(spec, weights=checkpoint, decoder="plain", dtype=torch.bfloat16)
    prompts = PromptBatch(points_xy=POINTS, point_labels=LABELS)
    exact = model.predict(model.encode_images(PIXELS)[0], prompts, multimask=True)
    coarse = reduced.predict(reduced.encode_images(PIXELS)[0], prompts, multimask=True)
    assert coarse.logits.dtype == coarse.predicted_ious.dtype == torch.float32
    difference = (coarse.predicted_ious - exact.predicted_ious).abs().max()
    assert 0 < difference < 0.1


def test_memory_shortage_halves_the_batch_and_gives_the_same_masks(
    model: Sam2MaskModel, caplog: pytest.LogCaptureFixture
) -> None:
    embedding = model.encode_images(PIXELS)[0]
    prompts = PromptBatch(points_xy=POINTS, point_labels=LABELS)
    expected = model.predict_best(embedding, prompts, min_predicted_iou=-1)
    decode = model._decoder.predict_best

    def with_little_memory(embedding, batch, minimum):
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(embedding, batch, minimum)

    model._decoder.predict_best = with_little_memory
    result = model.predict_best(embedding, prompts, min_predicted_iou=-1)
    assert "GPU out of memory at 2 points per batch; continuing with 1." in caplog.messages
    assert torch.equal(result.prompt_indices, expected.prompt_indices)
    torch.testing.assert_close(result.logits, expected.logits, atol=1e-4, rtol=1e-5)


def test_safetensors_of_the_same_names_load(tiny_sam2, tmp_path: Path) -> None:
    from no_time_to_train.models.checkpoints import convert_checkpoint

    spec, checkpoint, module = tiny_sam2
    converted = convert_checkpoint(checkpoint, tmp_path / "tiny.safetensors")
    loaded = load_sam2(spec, weights=converted, decoder="plain").module
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), module.parameters(), strict=True))


def test_weights_of_another_model_are_refused(tiny_sam2, tmp_path: Path) -> None:
    spec, _, module = tiny_sam2
    state_dict = module.state_dict()
    state_dict["surplus"] = state_dict.pop("no_mem_embed")
    torch.save({"model": state_dict}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"tiny: 1 missing \(no_mem_embed\); 1 unexpected \(surplus\)"):
        load_sam2(spec, weights=tmp_path / "other.pt", decoder="plain")


def test_wrong_images_decoders_and_kinds_are_named(tiny_sam2, model: Sam2MaskModel) -> None:
    with pytest.raises(InputError, match=r"\(B, 3, 128, 128\) float in 0..1, got \(1, 3, 64, 64\) float32"):
        model.encode_images(torch.zeros(1, 3, 64, 64))
    with pytest.raises(InputError, match="mask_model.decoder=fast is not a choice"):
        load_sam2(tiny_sam2[0], weights=tiny_sam2[1], decoder="fast")
    with pytest.raises(InputError, match="Use it as encoder=dinov2_large"):
        load_sam2("dinov2_large")


def test_hydra_is_left_as_found() -> None:
    code = (
        "from hydra import initialize_config_dir\n"
        "from hydra.core.global_hydra import GlobalHydra\n"
        "from no_time_to_train.models.catalog import get_spec\n"
        "from no_time_to_train.models.sam2.model import build_sam2\n"
        "build_sam2(get_spec('sam2_demo'))\n"
        "assert not GlobalHydra.instance().is_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_bundled_demo_loads() -> None:
    model = load_sam2("sam2_demo", decoder="plain")
    assert (model.image_size, model.mask_size) == (256, 64)
    embedding = model.encode_images(torch.rand(1, 3, 256, 256))[0]
    prompts = PromptBatch(points_xy=POINTS, point_labels=LABELS)
    assert model.predict_best(embedding, prompts, min_predicted_iou=-1).logits.shape == (5, 64, 64)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam2_large", "sam2.1_large", "sam2.1_tiny"])
def test_full_size_official_checkpoints_load(name: str, tmp_path: Path) -> None:
    spec = get_spec(name)
    official = build_sam2(spec)
    torch.save({"model": official.state_dict()}, tmp_path / spec.official_file)
    model = load_sam2(name, weights=tmp_path / spec.official_file, decoder="plain")
    assert model.image_size == 1024 and model.mask_size == 256
    assert model.module.sam_mask_decoder.dynamic_multimask_via_stability
    assert torch.equal(model.module.no_mem_embed, official.no_mem_embed)
