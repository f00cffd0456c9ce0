"""Small random networks in the formats of the published checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from no_time_to_train.models.catalog import ModelSpec, get_spec

TINY_SAM2_YAML = """
model:
  _target_: sam2.modeling.sam2_base.SAM2Base
  image_encoder:
    _target_: sam2.modeling.backbones.image_encoder.ImageEncoder
    scalp: 1
    trunk:
      _target_: sam2.modeling.backbones.hieradet.Hiera
      embed_dim: 16
      num_heads: 1
      stages: [1, 1, 2, 1]
      global_att_blocks: [3]
      window_pos_embed_bkg_spatial_size: [7, 7]
      window_spec: [8, 4, 4, 2]
    neck:
      _target_: sam2.modeling.backbones.image_encoder.FpnNeck
      position_encoding:
        _target_: sam2.modeling.position_encoding.PositionEmbeddingSine
        num_pos_feats: 64
        normalize: true
        scale: null
        temperature: 10000
      d_model: 64
      backbone_channel_list: [128, 64, 32, 16]
      fpn_top_down_levels: [2, 3]
      fpn_interp_model: nearest
  memory_attention: null
  memory_encoder: null
  num_maskmem: 7
  image_size: 128
  directly_add_no_mem_embed: DIRECTLY_ADD
  use_high_res_features_in_sam: true
  multimask_output_in_sam: true
  iou_prediction_use_sigmoid: true
  pred_obj_scores: true
  pred_obj_scores_mlp: true
  use_multimask_token_for_obj_ptr: true
"""


def randomise(module: torch.nn.Module, seed: int) -> None:
    """Weights large enough that every part of the network matters to the result."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)


@pytest.fixture(params=[True, False], ids=["no_mem_embed_added", "no_mem_embed_unused"])
def tiny_sam2(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ModelSpec, Path, torch.nn.Module]:
    """A specification, an official-format checkpoint of it, and the network with those weights."""
    from no_time_to_train.models.sam2.model import build_sam2

    config = tmp_path / "tiny.yaml"
    config.write_text(TINY_SAM2_YAML.replace("DIRECTLY_ADD", str(request.param).lower()))
    spec = replace(get_spec("sam2.1_tiny"), name="tiny", config_file=str(config), image_size=128)
    module = build_sam2(spec).eval()
    randomise(module, seed=3)
    checkpoint = tmp_path / "tiny.pt"
    torch.save({"model": module.state_dict()}, checkpoint)
    return spec, checkpoint, module


@pytest.fixture(autouse=True)
def no_weights_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests see neither the user's weights nor the hub."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NTTT_WEIGHTS", "")

    def refuse(*_: object, local_files_only: bool = False, **__: object) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        raise LocalEntryNotFoundError("no network in tests")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
