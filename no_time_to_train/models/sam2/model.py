"""SAM 2 and 2.1 on still images: prompts -> masks, with the modules of the ``sam2`` package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from no_time_to_train.errors import InputError
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.models.batching import PromptBatcher, default_prompts_per_batch
from no_time_to_train.models.catalog import IMAGENET_MEAN, IMAGENET_STD, ModelSpec, get_spec
from no_time_to_train.models.checkpoints import check_names_and_shapes, read_state_dict
from no_time_to_train.models.frozen_encoder import prepare_encoder
from no_time_to_train.models.interfaces import BestMasks, ImageEmbedding, MaskPrediction, PromptBatch
from no_time_to_train.models.precision import forward_precision
from no_time_to_train.models.sam2.plain_decoder import PlainDecoder, PromptDecoder
from no_time_to_train.models.weights import find_weights

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

_MASK_STRIDE = 4
"""Image pixels per pixel of the low-resolution masks."""
_DYNAMIC_MULTIMASK = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}
"""What ``sam2.build_sam`` sets by default: an unstable single mask gives way to the best of the three."""


class Sam2MaskModel:
    """SAM 2 as a frozen promptable mask model (a ``MaskModel``)."""

    def __init__(
        self,
        module: SAM2Base,
        *,
        model_id: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        decoder: str = "folded",
        prompts_per_batch: int | None = None,
        add_no_memory_embedding: bool | None = None,
    ) -> None:
        """Wrap an already built network.

        Args:
            module: a ``sam2.modeling.sam2_base.SAM2Base`` with high-resolution features; it is frozen in place.
            model_id: identity of the weights.
            device: where the network runs.
            dtype: ``torch.float32``, or the format of autocast.
            decoder: ``plain`` calls the package's own; ``folded`` gives the same numbers faster.
            prompts_per_batch: prompts decoded at once; None: chosen for the device.
            add_no_memory_embedding: add the learned "no memory" embedding to image embeddings; None: as the network's
                ``directly_add_no_mem_embed`` says.

        Raises:
            InputError: no decoder of that name.
        """
        self.module = module.to(device).eval().requires_grad_(False)
        self.model_id = model_id
        self.image_size = int(module.image_size)
        self.mask_size = self.image_size // _MASK_STRIDE
        self.device = torch.device(device)
        self.dtype = dtype
        if add_no_memory_embedding is None:
            add_no_memory_embedding = bool(module.directly_add_no_mem_embed)
        self.adds_no_memory_embedding = add_no_memory_embedding
        self._decoder = _build_decoder(self.module, decoder, dtype)
        self._batcher = PromptBatcher(prompts_per_batch or default_prompts_per_batch(self.device, self.mask_size))
        self._mean = torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1)
        self._std = torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1)

    def encode_images(self, images: Tensor) -> list[ImageEmbedding]:
        """Return one embedding per image of the batch.

        Args:
            images: (B, 3, image_size, image_size) RGB float in 0..1, not normalized.

        Raises:
            InputError: another shape or type.
        """
        side = self.image_size
        if images.shape[1:] != (3, side, side) or not images.is_floating_point():
            raise InputError(
                f"images must be (B, 3, {side}, {side}) float in 0..1, got {tuple(images.shape)} "
                f"{str(images.dtype)[6:]}."
            )
        normalized = (images.to(self.device, torch.float32) - self._mean) / self._std
        with forward_precision(self.device, self.dtype):
            stride_4, stride_8, embedding = self.module.forward_image(normalized)["backbone_fpn"][-3:]
            if self.adds_no_memory_embedding:
                embedding = embedding + self.module.no_mem_embed.view(1, -1, 1, 1)
        embedding, stride_4, stride_8 = embedding.float(), stride_4.float(), stride_8.float()
        return [
            ImageEmbedding(embedding[i : i + 1], (stride_4[i : i + 1], stride_8[i : i + 1]))
            for i in range(images.shape[0])
        ]

    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, *, multimask: bool) -> MaskPrediction:
        """Predict masks for N prompts of one image.

        Args:
            embedding: from ``encode_images``.
            prompts: N prompts, the values the prompt encoder gets (it adds half a pixel itself). A box and points
                together are one prompt.
            multimask: all three outputs, or the single one, which gives way to the best of the three where it is
                unstable (as in the sam2 package).

        Returns:
            Float32 logits (N, M, m, m) and predicted IoUs (N, M), M = 3 or 1; not clamped.

        Raises:
            EnvironmentProblemError: the GPU is too small even for one prompt at a time.
        """
        if not len(prompts):
            num_masks = 3 if multimask else 1
            return MaskPrediction(self._no_masks(0, num_masks), torch.zeros(0, num_masks, device=self.device))
        prompts = self._on_device(prompts)
        with forward_precision(self.device, self.dtype):
            parts = self._batcher.run(lambda batch: self._decoder.predict(embedding, batch, multimask), prompts)
        return MaskPrediction(
            logits=torch.cat([part.logits for _, part in parts]),
            predicted_ious=torch.cat([part.predicted_ious for _, part in parts]),
        )

    def predict_best(self, embedding: ImageEmbedding, prompts: PromptBatch, *, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's best mask, where its IoU is > ``min_predicted_iou``.

        Arguments and errors as in ``predict``. Masks below the minimum never take memory beyond their batch.
        """
        return self._keep_masks(lambda batch: self._decoder.predict_best(embedding, batch, min_predicted_iou), prompts)

    def predict_above(self, embedding: ImageEmbedding, prompts: PromptBatch, *, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's masks whose IoU is > ``min_predicted_iou``, in their order.

        Arguments, memory and errors as in ``predict_best``.
        """
        return self._keep_masks(lambda batch: self._decoder.predict_above(embedding, batch, min_predicted_iou), prompts)

    def _keep_masks(self, decode: Callable[[PromptBatch], BestMasks], prompts: PromptBatch) -> BestMasks:
        if not len(prompts):
            no_index = torch.zeros(0, dtype=torch.int64, device=self.device)
            return BestMasks(self._no_masks(0), torch.zeros(0, device=self.device), no_index)
        prompts = self._on_device(prompts)
        with forward_precision(self.device, self.dtype):
            parts = self._batcher.run(decode, prompts)
        return BestMasks(
            logits=torch.cat([part.logits for _, part in parts]),
            predicted_ious=torch.cat([part.predicted_ious for _, part in parts]),
            prompt_indices=torch.cat([part.prompt_indices + start for start, part in parts]),
        )

    def _no_masks(self, *leading: int) -> Tensor:
        return torch.zeros(*leading, self.mask_size, self.mask_size, device=self.device)

    def _on_device(self, prompts: PromptBatch) -> PromptBatch:
        def move(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
            return None if tensor is None else tensor.to(self.device, dtype)

        return PromptBatch(
            points_xy=move(prompts.points_xy, torch.float32),
            point_labels=move(prompts.point_labels, torch.int32),
            boxes_xyxy=move(prompts.boxes_xyxy, torch.float32),
            mask_logits=move(prompts.mask_logits, torch.float32),
        )


def load_sam2(
    model: str | ModelSpec,
    *,
    weights: str | Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    decoder: str = "folded",
    prompts_per_batch: int | None = None,
    add_no_memory_embedding: bool | None = None,
    compile: bool = False,
) -> Sam2MaskModel:
    """Load the frozen mask model called ``model``.

    Args:
        model: a name of ``nttt weights list``, or a specification of one's own.
        weights: hub id, local folder or local file (official ``.pt`` or safetensors of the same names) to use instead
            of the model's own.
        compile: ``torch.compile`` the image encoder; the first image then takes a minute.
        device, dtype, decoder, prompts_per_batch, add_no_memory_embedding: see ``Sam2MaskModel``.

    Raises:
        InputError: unknown name, a model of another kind, or weights that do not fit.
        WeightsNotFoundError, InputFileNotFoundError, UnsafeWeightsError: see ``find_weights``, ``read_state_dict``.
    """
    spec = get_spec(model) if isinstance(model, str) else model
    if spec.kind != "mask_model":
        raise InputError(f"mask_model={spec.name}: {spec.name} is a feature encoder. Use it as encoder={spec.name}.")
    source = find_weights(spec, weights)
    state_dict = read_state_dict(source)
    module = build_sam2(spec)
    check_names_and_shapes(module.state_dict(), state_dict, source=source, model=spec.name)
    module.load_state_dict(state_dict)
    prepare_encoder(module.image_encoder, torch.device(device), dtype)
    if compile:
        module.image_encoder.compile()
    return Sam2MaskModel(
        module,
        model_id=spec.name,
        device=device,
        dtype=dtype,
        decoder=decoder,
        prompts_per_batch=prompts_per_batch,
        add_no_memory_embedding=add_no_memory_embedding,
    )


def build_sam2(spec: ModelSpec) -> SAM2Base:
    """Build the network of ``spec`` with random weights, from its YAML.

    SAM 2.0 and 2.1 differ only in that.
    """
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    with hydra_left_as_found():
        config = OmegaConf.load(_config_path(spec))
        OmegaConf.update(config, "model.sam_mask_decoder_extra_args", _DYNAMIC_MULTIMASK, force_add=True)
        OmegaConf.resolve(config)
        return instantiate(config.model)


@contextmanager
def hydra_left_as_found() -> Iterator[None]:
    """Undo what a first ``import sam2`` inside the block does to Hydra.

    It initializes Hydra for the whole process.
    """
    from hydra.core.global_hydra import GlobalHydra

    was_initialized = GlobalHydra.instance().is_initialized()
    try:
        yield
    finally:
        if not was_initialized:
            GlobalHydra.instance().clear()


def _config_path(spec: ModelSpec) -> Path:
    if spec.config_file is None:
        raise InputError(f"{spec.name} names no config_file, the YAML its network is built from.")
    if spec.bundled_folder:
        return demo_data_folder() / spec.bundled_folder / spec.config_file
    import sam2

    return Path(sam2.__path__[0]) / spec.config_file  # an absolute config_file stands for itself


def _build_decoder(module: SAM2Base, decoder: str, dtype: torch.dtype) -> PromptDecoder:
    if decoder == "plain":
        return PlainDecoder(module)
    if decoder == "folded":
        from no_time_to_train.models.sam2.shared_decoder import PointDecoder, arithmetic_dtype

        return PointDecoder(module, arithmetic_dtype(dtype, module.no_mem_embed.device))
    raise InputError(f"mask_model.decoder={decoder} is not a choice. Use one of: folded, plain.")
