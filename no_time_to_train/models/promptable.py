"""Promptable mask models of transformers: SAM 2, SAM 3's tracker, EdgeTAM. They share one interface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from no_time_to_train.errors import InputError, missing_package
from no_time_to_train.models.catalog import ModelSpec
from no_time_to_train.models.checkpoints import raise_mismatch
from no_time_to_train.models.frozen_encoder import prepare_encoder
from no_time_to_train.models.interfaces import ImageEmbedding, MaskPrediction, PromptBatch
from no_time_to_train.models.mask_decoding import BatchedMaskModel, WholeDecoder, points_with_boxes, split_embeddings
from no_time_to_train.models.precision import forward_precision
from no_time_to_train.models.transformers_folders import (
    CONFIG_FILE,
    load_network,
    read_config,
    read_image_processor,
)
from no_time_to_train.models.weights import find_weights

if TYPE_CHECKING:
    from transformers import Sam2Model


class PromptableModel(BatchedMaskModel):
    """A frozen promptable model of transformers (a ``MaskModel``)."""

    def __init__(
        self,
        module: Sam2Model,
        *,
        model_id: str,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        prompts_per_batch: int | None = None,
        add_no_memory_embedding: bool | None = None,
    ) -> None:
        """Wrap an already built network.

        Args:
            module: ``Sam2Model``, or another of transformers with its methods; it is frozen in place.
            model_id: identity of the weights.
            mean, std: normalization of RGB values in 0..1.
            device: where the network runs.
            dtype: ``torch.float32``, or the format of autocast.
            prompts_per_batch: prompts decoded at once; None: chosen for the device.
            add_no_memory_embedding: add the learned "no memory" embedding to image embeddings; None: yes, as
                transformers does.
        """
        self.module = module.eval().requires_grad_(False)
        nn.Module.to(self.module, device)
        prompt_config: Any = module.config.prompt_encoder_config
        self.adds_no_memory_embedding = add_no_memory_embedding is not False
        super().__init__(
            _Decoder(self.module),
            model_id=model_id,
            image_size=prompt_config.image_size,
            mask_size=module.prompt_encoder.mask_input_size[0],
            mean=mean,
            std=std,
            device=device,
            dtype=dtype,
            prompts_per_batch=prompts_per_batch,
        )

    def encode_images(self, images: Tensor) -> list[ImageEmbedding]:
        """Return one embedding per image of the batch.

        Args:
            images: (B, 3, image_size, image_size) RGB float in 0..1, not normalized.

        Raises:
            InputError: another shape or type.
        """
        normalized = self._normalize(images)
        with forward_precision(self.device, self.dtype):
            flat_maps = self.module.get_image_features(normalized, return_dict=True).fpn_hidden_states
            stride_4, stride_8, embedding = (
                flat.permute(1, 2, 0).unflatten(2, tuple(size_hw)).float()
                for flat, size_hw in zip(flat_maps, self.module.backbone_feature_sizes, strict=True)
            )
            if self.adds_no_memory_embedding:
                embedding = embedding + self.module.no_memory_embedding.view(1, -1, 1, 1)
        return split_embeddings(embedding, stride_4, stride_8)


class _Decoder(WholeDecoder):
    """The network's own prompt encoder and mask decoder, each prompt as an image of its own."""

    def __init__(self, module: Sam2Model) -> None:
        self._module = module
        self._positions = module.get_image_wide_positional_embeddings()

    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, multimask: bool) -> MaskPrediction:
        """Predict all three multimask outputs, or the single one."""
        sparse, dense = self._encode(prompts)
        count = len(prompts)
        logits, predicted_ious, *_ = self._module.mask_decoder(
            image_embeddings=embedding.embedding.expand(count, -1, -1, -1),
            image_positional_embeddings=self._positions.expand(count, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            high_resolution_features=[level.expand(count, -1, -1, -1) for level in embedding.high_res_features],
        )
        return MaskPrediction(logits[:, 0].float(), predicted_ious[:, 0].float())

    def _encode(self, prompts: PromptBatch) -> tuple[Tensor, Tensor]:
        """Return (N, 1, P, D) and (N, D, h, w) embeddings; in float32, so that coordinates lose nothing."""
        points, masks = points_with_boxes(prompts), prompts.mask_logits
        count, device = len(prompts), self._positions.device
        with torch.autocast(device.type, enabled=False):
            sparse, dense = self._module.get_prompt_embeddings(
                input_points=None if points is None else points[0][:, None],
                input_labels=None if points is None else cast(torch.LongTensor, points[1][:, None]),
                input_masks=None if masks is None else cast(torch.LongTensor, masks[:, None]),
            )
        if sparse is None:  # a mask alone
            sparse = torch.zeros(count, 1, 0, dense.shape[1], device=device)
        return sparse, dense.expand(count, -1, -1, -1)


def load_promptable(
    spec: ModelSpec,
    *,
    weights: str | Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    prompts_per_batch: int | None = None,
    add_no_memory_embedding: bool | None = None,
    compile: bool = False,
) -> PromptableModel:
    """Load a frozen mask model of transformers.

    Args:
        spec: ``get_spec("hf/HUB_ID_OR_FOLDER")``.
        weights: another hub id or folder.
        compile: ``torch.compile`` the image encoder; the first image then takes a minute.
        device, dtype, prompts_per_batch, add_no_memory_embedding: see ``PromptableModel``.

    Raises:
        InputError: another kind of network, or weights that do not fit.
        EnvironmentProblemError: EdgeTAM without timm.
        UnsafeWeightsError: the folder's settings name code to run.
        WeightsNotFoundError, InputFileNotFoundError: see ``find_weights``.
    """
    folder = find_weights(spec, weights)
    config, networks = read_config(folder), _networks()
    if config.model_type not in networks:
        raise InputError(
            f"mask_model={spec.name}: {folder}/config.json describes a '{config.model_type}' model. It must be one of: "
            f"{', '.join(networks)}."
        )
    network = networks[config.model_type]
    processor: Any = read_image_processor(folder)
    try:
        # Files of the networks for videos hold those for images; their settings are read as such.
        module, report = load_network(network, network.config_class.from_dict(config.to_dict()), folder)
    except ImportError as error:
        raise missing_package(error) from error
    raise_mismatch(
        missing=report["missing_keys"],
        unexpected=report["unexpected_keys"],
        wrong_shapes={name: (tuple(model), tuple(file)) for name, file, model in report["mismatched_keys"]},
        source=folder,
        model=spec.name,
    )
    _check_sizes(module, folder)
    vision_encoder = cast(nn.Module, module.vision_encoder)
    prepare_encoder(cast(nn.Module, vision_encoder.backbone), torch.device(device), dtype)
    if compile:
        vision_encoder.compile()
    return PromptableModel(
        cast("Sam2Model", module),
        model_id=spec.name,
        mean=tuple(processor.image_mean),
        std=tuple(processor.image_std),
        device=device,
        dtype=dtype,
        prompts_per_batch=prompts_per_batch,
        add_no_memory_embedding=add_no_memory_embedding,
    )


def _check_sizes(module: Any, folder: Path) -> None:
    """Refuse sizes of images and feature maps that do not go together."""
    settings = module.config.prompt_encoder_config
    found = [tuple(size) for size in module.backbone_feature_sizes]
    finest, middle, coarse = (settings.image_size // stride for stride in (4, 8, settings.patch_size))
    needed = [(finest, finest), (middle, middle), (coarse, coarse)]
    if found != needed:
        raise InputError(
            f"{folder / CONFIG_FILE}: images of {settings.image_size} pixels in patches of {settings.patch_size} give "
            f"feature maps of {needed}, but backbone_feature_sizes says {found}."
        )


def _networks() -> dict[str, Any]:
    """Return the class for every type of ``config.json``."""
    from transformers import EdgeTamModel, Sam2Model, Sam3TrackerModel

    return {
        "sam2": Sam2Model,
        "sam2_video": Sam2Model,
        "sam3_tracker": Sam3TrackerModel,
        "sam3_tracker_video": Sam3TrackerModel,
        "sam3_video": Sam3TrackerModel,
        "edgetam": EdgeTamModel,
        "edgetam_video": EdgeTamModel,
    }
