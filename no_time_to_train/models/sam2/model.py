"""SAM 2 and 2.1 on still images: prompts -> masks, with the modules of the ``sam2`` package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from no_time_to_train.errors import InputError
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.models.catalog import IMAGENET_MEAN, IMAGENET_STD, ModelSpec, get_spec
from no_time_to_train.models.checkpoints import check_names_and_shapes, read_state_dict
from no_time_to_train.models.frozen_encoder import prepare_encoder
from no_time_to_train.models.interfaces import ImageEmbedding
from no_time_to_train.models.mask_decoding import BatchedMaskModel, split_embeddings
from no_time_to_train.models.precision import current_device, forward_precision
from no_time_to_train.models.sam2.decoder_choice import build_decoder
from no_time_to_train.models.weight_headers import check_finite
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


class Sam2MaskModel(BatchedMaskModel):
    """SAM 2 as a frozen promptable mask model (a ``MaskModel``)."""

    def __init__(
        self,
        module: SAM2Base,
        *,
        model_id: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        decoder: str = "auto",
        prompts_per_batch: int | None = None,
        add_no_memory_embedding: bool | None = None,
    ) -> None:
        """Wrap an already built network.

        Args:
            module: a ``sam2.modeling.sam2_base.SAM2Base`` with high-resolution features; it is frozen in place.
            model_id: identity of the weights.
            device: where the network runs.
            dtype: ``torch.float32``, or the format of autocast.
            decoder: ``auto``, ``compiled``, ``folded`` or ``plain``: see ``build_decoder``.
            prompts_per_batch: prompts decoded at once; None: chosen for the device.
            add_no_memory_embedding: add the learned "no memory" embedding to image embeddings; None: as the network's
                ``directly_add_no_mem_embed`` says.

        Raises:
            InputError: no decoder of that name, or not for this network.
            EnvironmentProblemError: ``compiled``, and there is no C++ compiler.
        """
        self.module = module.to(device).eval().requires_grad_(False)
        if add_no_memory_embedding is None:
            add_no_memory_embedding = bool(module.directly_add_no_mem_embed)
        self.adds_no_memory_embedding = add_no_memory_embedding
        super().__init__(
            build_decoder(self.module, decoder, dtype),
            model_id=model_id,
            image_size=int(module.image_size),
            mask_size=int(module.image_size) // _MASK_STRIDE,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
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
            stride_4, stride_8, embedding = self.module.forward_image(normalized)["backbone_fpn"][-3:]
            if self.adds_no_memory_embedding:
                embedding = embedding + self.module.no_mem_embed.view(1, -1, 1, 1)
        embedding, stride_4, stride_8 = embedding.float(), stride_4.float(), stride_8.float()
        return split_embeddings(embedding, stride_4, stride_8)


def load_sam2(
    model: str | ModelSpec,
    *,
    weights: str | Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    decoder: str = "auto",
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
    module = build_sam2(spec, device)
    check_names_and_shapes(module.state_dict(), state_dict, source=source, model=spec.name)
    check_finite(state_dict.items(), source)
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


def build_sam2(spec: ModelSpec, device: torch.device | str = "cpu") -> SAM2Base:
    """Build the network of ``spec`` with random weights, from its YAML.

    SAM 2.0 and 2.1 differ only in that.

    Args:
        spec: of the network.
        device: where it will be moved; what the package puts on a GPU by itself goes to none but this one.
    """
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    with hydra_left_as_found(), current_device(torch.device(device)):
        from sam2.modeling.position_encoding import PositionEmbeddingSine

        config = OmegaConf.load(_config_path(spec))
        OmegaConf.update(config, "model.sam_mask_decoder_extra_args", _DYNAMIC_MULTIMASK, force_add=True)
        OmegaConf.resolve(config)
        network: SAM2Base = instantiate(config.model)
    for part in network.modules():
        if isinstance(part, PositionEmbeddingSine):
            part.cache.clear()  # made on a GPU wherever there is one, and copied from there again and again
    return network


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
