"""Promptable models of transformers against the sam2 package on the same random weights, and in the hub's format."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from no_time_to_train.errors import InputError, InputFileNotFoundError, UnsafeWeightsError, WeightsNotFoundError
from no_time_to_train.models.catalog import ModelSpec, get_spec
from no_time_to_train.models.interfaces import MaskModel, PromptBatch
from no_time_to_train.models.loading import load_mask_model
from no_time_to_train.models.promptable import PromptableModel, load_promptable
from no_time_to_train.models.sam2.model import Sam2MaskModel, load_sam2
from no_time_to_train.models.sam2.video_memory import Sam2VideoMemory
from tests.models.conftest import randomise
from tests.models.sam2.test_model import BOXES, LABELS, MASKS, PIXELS, POINTS

_RENAMES = (
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"\.(norm(?=[1-4]\.)|norm(?=_final))", ".layer_norm"),
    (r"\.out_proj\.", ".o_proj."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    (r"(blocks\.\d+|transformer\.layers\.\d+)\.mlp\.layers\.0\.", r"\1.mlp.proj_in."),
    (r"(blocks\.\d+|transformer\.layers\.\d+)\.mlp\.layers\.1\.", r"\1.mlp.proj_out."),
    (r"(mlps\.\d|head)\.layers\.0\.", r"\1.proj_in."),
    (r"(mlps\.\d|head)\.layers\.1\.", r"\1.layers.0."),
    (r"(mlps\.\d|head)\.layers\.2\.", r"\1.proj_out."),
)
SIZES = [[32, 32], [16, 16], [8, 8]]


def as_transformers_weights(sam2: dict[str, Tensor]) -> dict[str, Tensor]:
    """The sam2 package's weights under the names of transformers."""
    weights = {}
    for name, tensor in sam2.items():
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        weights[name] = tensor
    points = [weights.pop(f"prompt_encoder.point_embeddings.{i}.weight") for i in range(4)]
    weights["prompt_encoder.point_embed.weight"] = torch.cat(points)
    positions = weights["prompt_encoder.shared_embedding.positional_embedding"]
    weights["shared_image_embedding.positional_embedding"] = positions
    return {name: tensor for name, tensor in weights.items() if name not in ("maskmem_tpos_enc", "no_mem_pos_enc")}


def parts(side: int = 128) -> dict[str, dict[str, Any]]:
    return {
        "prompt_encoder_config": {"hidden_size": 64, "image_size": side},
        "mask_decoder_config": {"hidden_size": 64},
    }


def tiny_sam2_config() -> Any:
    """The network of ``TINY_SAM2_YAML``."""
    from transformers import Sam2Config

    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "image_size": [128, 128],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 4, 2],
        "global_attention_blocks": [3],
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": SIZES,
        "fpn_hidden_size": 64,
    }
    return Sam2Config(vision_config=vision, **parts())


def save(module: torch.nn.Module, folder: Path) -> Path:
    from transformers import Sam2ImageProcessor

    module.save_pretrained(folder)
    Sam2ImageProcessor(size={"height": 128, "width": 128}).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tiny_sam2: tuple[ModelSpec, Path, torch.nn.Module], tmp_path: Path) -> Path:
    """The tiny SAM 2 in the hub's format of transformers."""
    from transformers import Sam2Model

    module = Sam2Model(tiny_sam2_config())
    module.load_state_dict(as_transformers_weights(tiny_sam2[2].state_dict()))
    return save(module, tmp_path / "hub")


@pytest.fixture
def ours(tiny_sam2: tuple[ModelSpec, Path, torch.nn.Module]) -> Sam2MaskModel:
    return load_sam2(tiny_sam2[0], weights=tiny_sam2[1], decoder="plain", add_no_memory_embedding=True)


@pytest.fixture
def model(folder: Path) -> PromptableModel:
    return load_promptable(get_spec(f"hf/{folder}"), prompts_per_batch=2)


def test_is_a_mask_model(model: PromptableModel, folder: Path) -> None:
    assert isinstance(model, MaskModel)
    assert (model.image_size, model.mask_size, model.model_id) == (128, 32, f"hf/{folder}")
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert isinstance(load_mask_model(f"hf/{folder}"), PromptableModel)


@pytest.mark.parametrize("added", [None, True, False])
def test_image_embeddings_equal_the_sam2_packages(
    tiny_sam2: tuple[ModelSpec, Path, torch.nn.Module], folder: Path, added: bool | None
) -> None:
    ours = load_sam2(tiny_sam2[0], weights=tiny_sam2[1], add_no_memory_embedding=added is not False)
    theirs = load_promptable(get_spec(f"hf/{folder}"), add_no_memory_embedding=added)
    images = torch.cat([torch.zeros_like(PIXELS), PIXELS])
    for expected, found in zip(ours.encode_images(images), theirs.encode_images(images), strict=True):
        torch.testing.assert_close(found.embedding, expected.embedding, atol=1e-5, rtol=1e-5)
        for level, expected_level in zip(found.high_res_features, expected.high_res_features, strict=True):
            torch.testing.assert_close(level, expected_level, atol=1e-5, rtol=1e-5)
    without = load_promptable(get_spec(f"hf/{folder}"), add_no_memory_embedding=False)
    same = torch.equal(without.encode_images(PIXELS)[0].embedding, theirs.encode_images(PIXELS)[0].embedding)
    assert same == (added is False)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", ["points", "boxes", "boxes_and_points", "points_and_masks", "masks", "padded_points"])
def test_predictions_equal_the_sam2_packages(
    model: PromptableModel, ours: Sam2MaskModel, kind: str, multimask: bool
) -> None:
    points, labels = POINTS, LABELS
    if kind == "padded_points":
        points, labels = POINTS.repeat(1, 3, 1), torch.tensor([[1, 0, -1]]).repeat(5, 1)
    prompts = PromptBatch(
        points_xy=points if "points" in kind else None,
        point_labels=labels if "points" in kind else None,
        boxes_xyxy=BOXES if "boxes" in kind else None,
        mask_logits=MASKS if "masks" in kind else None,
    )
    expected = ours.predict(ours.encode_images(PIXELS)[0], prompts, multimask=multimask)
    found = model.predict(model.encode_images(PIXELS)[0], prompts, multimask=multimask)
    torch.testing.assert_close(found.logits, expected.logits, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(found.predicted_ious, expected.predicted_ious, atol=1e-5, rtol=1e-5)


def test_the_best_and_all_masks_above_a_minimum(model: PromptableModel, ours: Sam2MaskModel) -> None:
    prompts = PromptBatch.of_clicks(POINTS[:, 0])
    embedding, expected_embedding = model.encode_images(PIXELS)[0], ours.encode_images(PIXELS)[0]
    three = ours.predict(expected_embedding, prompts, multimask=True)
    minimum = three.predicted_ious.sort().values.flatten()[6:8].mean().item()
    for choose in ("predict_best", "predict_above"):
        expected = getattr(ours, choose)(expected_embedding, prompts, min_predicted_iou=minimum)
        found = getattr(model, choose)(embedding, prompts, min_predicted_iou=minimum)
        assert 0 < len(found.logits) < 15
        assert found.prompt_indices.tolist() == expected.prompt_indices.tolist()
        torch.testing.assert_close(found.logits, expected.logits, atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(found.predicted_ious, expected.predicted_ious, atol=1e-5, rtol=1e-5)


def test_bfloat16_is_close_and_comes_back_as_float32(model: PromptableModel, folder: Path) -> None:
    reduced = load_promptable(get_spec(f"hf/{folder}"), dtype=torch.bfloat16)
    prompts = PromptBatch(POINTS, LABELS)
    exact = model.predict(model.encode_images(PIXELS)[0], prompts, multimask=True)
    coarse = reduced.predict(reduced.encode_images(PIXELS)[0], prompts, multimask=True)
    assert coarse.logits.dtype == coarse.predicted_ious.dtype == torch.float32
    assert 0 < (coarse.predicted_ious - exact.predicted_ious).abs().max() < 0.1


def test_files_of_the_network_for_videos_hold_that_for_images(folder: Path, model: PromptableModel) -> None:
    """As on the hub: facebook/sam2.1-hiera-tiny describes a Sam2VideoModel."""
    from safetensors.torch import load_file, save_file

    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "model_type": "sam2_video"}))
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "memory_encoder.x": torch.zeros(1)}, folder / "model.safetensors", metadata={"format": "pt"})
    video = load_promptable(get_spec(f"hf/{folder}"))
    assert torch.equal(video.encode_images(PIXELS)[0].embedding, model.encode_images(PIXELS)[0].embedding)


def tiny_edgetam() -> torch.nn.Module:
    from transformers import EdgeTamConfig, EdgeTamModel, TimmWrapperConfig

    backbone = TimmWrapperConfig(
        architecture="resnet10t", model_args={"in_chans": 3, "features_only": True, "out_indices": [1, 2, 3, 4]}
    )
    vision = {
        "backbone_config": backbone.to_dict(),
        "backbone_channel_list": [512, 256, 128, 64],
        "backbone_feature_sizes": SIZES,
        "fpn_hidden_size": 64,
    }
    return EdgeTamModel(EdgeTamConfig(vision_config=vision, **parts()))


def tiny_sam3_tracker() -> torch.nn.Module:
    from transformers import Sam3TrackerConfig, Sam3TrackerModel

    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 128,
        "pretrain_image_size": 64,
        "patch_size": 16,
        "window_size": 4,
        "global_attn_indexes": [1],
    }
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "backbone_feature_sizes": SIZES,
        "fpn_hidden_size": 64,
        "scale_factors": [4.0, 2.0, 1.0],
    }
    config = parts()
    config["prompt_encoder_config"]["patch_size"] = 16
    return Sam3TrackerModel(Sam3TrackerConfig(vision_config=vision, **config))


@pytest.mark.parametrize("build", [tiny_edgetam, tiny_sam3_tracker])
def test_the_others_give_what_transformers_gives(build: Any, tmp_path: Path) -> None:
    module = build()
    randomise(module.mask_decoder, seed=1)
    model = load_promptable(get_spec(f"hf/{save(module, tmp_path)}"))
    embedding = model.encode_images(PIXELS)[0]
    normalized = (PIXELS - model._mean) / model._std
    for multimask in (True, False):
        with torch.no_grad():
            expected = module.eval()(
                pixel_values=normalized,
                input_points=POINTS[None],
                input_labels=LABELS[None],
                multimask_output=multimask,
            )
        found = model.predict(embedding, PromptBatch(POINTS, LABELS), multimask=multimask)
        torch.testing.assert_close(found.logits, expected.pred_masks[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.predicted_ious, expected.iou_scores[0], atol=1e-5, rtol=1e-5)


def test_what_is_no_promptable_model(folder: Path, tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    Dinov2Model(Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="describes a 'dinov2' model. It must be one of: sam2, "):
        load_promptable(get_spec(f"hf/{tmp_path}"))
    with pytest.raises(InputFileNotFoundError, match="mask_model=hf/nowhere: nowhere is no folder, and not a hub id"):
        get_spec("hf/nowhere")
    with pytest.raises(WeightsNotFoundError, match=r"hf/owner/model. Looked in .*model\*.safetensors\* of https"):
        load_promptable(get_spec("hf/owner/model"))
    with pytest.raises(InputError, match="expected a folder with config.json"):
        load_promptable(get_spec(f"hf/{folder}"), weights=folder / "model.safetensors")


def test_weights_that_do_not_fit_or_name_code(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["mask_decoder.iou_token.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"does not hold the weights of hf/.*1 missing \(mask_decoder.iou_token"):
        load_promptable(get_spec(f"hf/{folder}"))
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "auto_map": {"AutoModel": "code.Model"}}))
    with pytest.raises(UnsafeWeightsError, match="names code to run"):
        load_promptable(get_spec(f"hf/{folder}"))


def test_it_follows_nothing_through_videos(model: PromptableModel) -> None:
    with pytest.raises(InputError, match="has no memory, so that it cannot follow objects through a video"):
        Sam2VideoMemory(model)  # type: ignore[arg-type]
