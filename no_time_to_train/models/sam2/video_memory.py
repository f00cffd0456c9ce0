"""SAM 2 on video, one frame after the other: a bounded memory of every object in place of the whole clip's.

The ``sam2`` package's video predictor holds all frames and all its outputs. A frame's result depends only on the frame,
the conditioning frames and a few frames before it, so that this is all that is kept here; the numbers are the
predictor's own (``propagate_in_video`` after ``add_new_mask``, without its GPU-only filling of holes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from no_time_to_train.data.images import resize_for_model
from no_time_to_train.errors import InputError
from no_time_to_train.models.catalog import IMAGENET_MEAN, IMAGENET_STD
from no_time_to_train.models.precision import forward_precision
from no_time_to_train.models.sam2.model import Sam2MaskModel
from no_time_to_train.ops.images import as_image_tensor
from no_time_to_train.ops.transfers import to_device

MAX_CONDITIONING_FRAMES = 4
"""Frames with a mask prompt that are remembered of an object: the newest. (The predictor keeps all there ever were.)"""

_CERTAIN_LOGIT = 1024.0
"""A logit whose sigmoid is exactly 1: mask prompts are remembered as they are, without soft edges."""
_ANY_LENGTH = 1 << 30
"""Stands for the clip's length. The network counts time in shares of a clip only where it has under 16 frames."""


@dataclass(frozen=True, eq=False)
class FrameEncoding:
    """The image encoder's view of one frame, finest of L levels first.

    Attributes:
        levels: L tensors (h * w, 1, C).
        positions: their position codes, of the same shapes.
        sizes_hw: their (h, w).
    """

    levels: list[Tensor]
    positions: list[Tensor]
    sizes_hw: list[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class FrameMemory:
    """What is remembered of one object in one frame.

    Attributes:
        pointer: (1, D) object pointer.
        features: (1, C, h, w) bfloat16 spatial memory; None where the frame is too old for it.
    """

    pointer: Tensor
    features: Tensor | None


@dataclass(frozen=True, eq=False)
class ObjectMemory:
    """The memory bank of one object, a value: each step returns a new one. Its size does not grow with the clip.

    Attributes:
        conditioning: frames with a mask prompt, by frame index.
        recent: the last frames through which the object was followed, by frame index.
    """

    conditioning: Mapping[int, FrameMemory] = field(default_factory=dict)
    recent: Mapping[int, FrameMemory] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything, under names that ``from_tensors`` takes back."""
        named = {}
        for kind, frames in (("conditioning", self.conditioning), ("recent", self.recent)):
            for index, memory in frames.items():
                named[f"{kind}.{index}.pointer"] = memory.pointer
                if memory.features is not None:
                    named[f"{kind}.{index}.features"] = memory.features
        return named

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Rebuild the memory from what ``tensors`` gave, in any order."""
        frames: dict[str, dict[int, FrameMemory]] = {"conditioning": {}, "recent": {}}
        names = [name.split(".") for name in tensors if name.endswith(".pointer")]
        for kind, index, _ in sorted(names, key=lambda parts: int(parts[1])):
            name = f"{kind}.{index}"
            frames[kind][int(index)] = FrameMemory(tensors[f"{name}.pointer"], tensors.get(f"{name}.features"))
        return cls(**frames)

    def to(self, device: torch.device | str) -> ObjectMemory:
        """Move the memory to another device."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return ObjectMemory.from_tensors(moved)


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """One object's mask in one frame: logits (m, m), and the logit of whether the object is there at all, a scalar."""

    logits: Tensor
    object_score: Tensor


class Sam2VideoMemory:
    """SAM 2's memory modules, which follow objects through a video.

    The same SAM 2 segments the key frames.

    Args:
        mask_model: as ``load_sam2`` gives it.

    Raises:
        InputError: the network has no memory modules.
    """

    def __init__(self, mask_model: Sam2MaskModel) -> None:
        module = mask_model.module
        if not all(getattr(module, part, None) for part in ("memory_attention", "memory_encoder", "num_maskmem")):
            raise InputError(
                f"mask_model={mask_model.model_id} has no memory, so that it cannot follow objects through a video. "
                "Use one of SAM 2's own models."
            )
        self.image_size = mask_model.image_size
        self.device = mask_model.device
        self._module = module
        self._dtype = mask_model.dtype
        self._mean = torch.tensor(IMAGENET_MEAN, device=self.device).view(3, 1, 1)
        self._std = torch.tensor(IMAGENET_STD, device=self.device).view(3, 1, 1)
        stride = module.memory_temporal_stride_for_eval
        self._spatial_reach = 1 + stride * (module.num_maskmem - 2)
        self._pointer_reach = max(module.max_obj_ptrs_in_encoder - 1, self._spatial_reach)
        self._memory_positions = self._positions_of_memories()

    def encode(self, image: np.ndarray, square: Tensor | None = None) -> FrameEncoding:
        """Encode an (H, W, 3) uint8 RGB frame, squashed to the network's square: ``square``, where it is so already."""
        squashed = resize_for_model(image, self.image_size) if square is None else square
        pixels = as_image_tensor(squashed, self.device)
        with forward_precision(self.device, self._dtype):
            backbone = self._module.forward_image(((pixels - self._mean) / self._std)[None])
            _, levels, positions, sizes_hw = self._module._prepare_backbone_features(backbone)
        return FrameEncoding(levels, positions, sizes_hw)

    def condition(
        self, frame_index: int, frame: FrameEncoding, mask: Tensor, memory: ObjectMemory | None = None
    ) -> tuple[ObjectMask, ObjectMemory]:
        """Tell the network what the object is in this frame.

        Args:
            frame_index: number of the frame in the video; frames come in order.
            frame: from ``encode``.
            mask: (image_size, image_size) bool, the object in the squashed frame.
            memory: of the same object in earlier frames.

        Returns:
            The mask as the network sees it, and the memory with this frame among the conditioning ones.
        """
        memory = memory or ObjectMemory()
        with forward_precision(self.device, self._dtype):
            prompt = to_device(mask, self.device).float()[None, None]
            output = self._step(frame_index, frame, ObjectMemory(), prompt, remember=False)
            # As the predictor does: through the low resolution of its outputs, then cut at 0.
            full = interpolate(output["pred_masks"], size=mask.shape, mode="bilinear", align_corners=False)
            features, _ = self._module._encode_new_memory(
                current_vision_feats=frame.levels,
                feat_sizes=frame.sizes_hw,
                pred_masks_high_res=torch.where(full > 0, _CERTAIN_LOGIT, -_CERTAIN_LOGIT),
                object_score_logits=output["object_score_logits"],
                is_mask_from_pts=True,
            )
        remembered = FrameMemory(output["obj_ptr"], features.to(torch.bfloat16))
        newest = dict(sorted({**memory.conditioning, frame_index: remembered}.items())[-MAX_CONDITIONING_FRAMES:])
        recent = {index: frame for index, frame in memory.recent.items() if index != frame_index}
        return _object_mask(output), ObjectMemory(newest, recent)

    def propagate(
        self, frame_index: int, frame: FrameEncoding, memory: ObjectMemory
    ) -> tuple[ObjectMask, ObjectMemory]:
        """Find the object in the next frame.

        The arguments are those of ``condition``; at least one frame is conditioned.
        """
        with forward_precision(self.device, self._dtype):
            output = self._step(frame_index, frame, memory, None, remember=True)
        remembered = FrameMemory(output["obj_ptr"], output["maskmem_features"].to(torch.bfloat16))
        recent = {
            index: self._aged(kept, frame_index + 1 - index)
            for index, kept in {**memory.recent, frame_index: remembered}.items()
            if frame_index + 1 - index <= self._pointer_reach
        }
        return _object_mask(output), ObjectMemory(memory.conditioning, recent)

    def _aged(self, memory: FrameMemory, age: int) -> FrameMemory:
        """Without the large part once no later frame looks at it."""
        return memory if age <= self._spatial_reach else FrameMemory(memory.pointer, None)

    def _step(
        self, frame_index: int, frame: FrameEncoding, memory: ObjectMemory, prompt: Tensor | None, *, remember: bool
    ) -> dict[str, Any]:
        return self._module.track_step(
            frame_idx=frame_index,
            is_init_cond_frame=prompt is not None,
            current_vision_feats=frame.levels,
            current_vision_pos_embeds=frame.positions,
            feat_sizes=frame.sizes_hw,
            point_inputs=None,
            mask_inputs=prompt,
            output_dict={
                "cond_frame_outputs": self._as_outputs(memory.conditioning),
                "non_cond_frame_outputs": self._as_outputs(memory.recent),
            },
            num_frames=_ANY_LENGTH,
            run_mem_encoder=remember,
        )

    def _as_outputs(self, frames: Mapping[int, FrameMemory]) -> dict[int, dict[str, Any]]:
        """In the form that ``track_step`` looks them up."""
        return {
            index: {
                "maskmem_features": memory.features,
                "maskmem_pos_enc": self._memory_positions,
                "obj_ptr": memory.pointer,
            }
            for index, memory in frames.items()
        }

    def _positions_of_memories(self) -> list[Tensor]:
        """Return the position codes of spatial memories.

        They are the same for every frame and object, so taken from an empty one.
        """
        side = self.image_size // self._module.backbone_stride
        with forward_precision(self.device, self._dtype):
            _, positions = self._module._encode_new_memory(
                current_vision_feats=[torch.zeros(side * side, 1, self._module.hidden_dim, device=self.device)],
                feat_sizes=[(side, side)],
                pred_masks_high_res=torch.zeros(1, 1, self.image_size, self.image_size, device=self.device),
                object_score_logits=torch.zeros(1, 1, device=self.device),
                is_mask_from_pts=False,
            )
        return positions


def _object_mask(output: dict[str, Any]) -> ObjectMask:
    return ObjectMask(output["pred_masks"][0, 0].float(), output["object_score_logits"].float().flatten()[0])
