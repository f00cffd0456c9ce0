"""The streamed memory against the ``sam2`` package's video predictor, which holds the whole clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from no_time_to_train.data.images import read_image
from no_time_to_train.errors import InputError
from no_time_to_train.models.catalog import ModelSpec
from no_time_to_train.models.sam2.model import Sam2MaskModel, build_sam2, load_sam2
from no_time_to_train.models.sam2.video_memory import (
    MAX_CONDITIONING_FRAMES,
    FrameMemory,
    ObjectMemory,
    Sam2VideoMemory,
)
from no_time_to_train.ops.masks import encode_mask_logits
from no_time_to_train.ops.rle import decode_rle, encode_mask
from no_time_to_train.tracking.association import square_masks
from tools.demo.scenes import NOVEL_CATEGORIES, render_clip

NUM_FRAMES = 17  # more than the 16 object pointers that SAM 2 looks at
SIZE_HW = (200, 240)


@pytest.fixture(scope="module")
def mask_model() -> Sam2MaskModel:
    return load_sam2("sam2_demo", decoder="plain")


@pytest.fixture(scope="module")
def memory(mask_model: Sam2MaskModel) -> Sam2VideoMemory:
    return Sam2VideoMemory(mask_model)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A folder of frames as the predictor reads them, and the true masks (T, N, H, W)."""
    folder = tmp_path_factory.mktemp("clip")
    frames, masks = render_clip(np.random.default_rng(3), NOVEL_CATEGORIES, SIZE_HW, (2, 2), NUM_FRAMES)
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{index}.jpg", quality=95)
    return folder, masks


@pytest.fixture(scope="module")
def predictor(mask_model: Sam2MaskModel) -> Any:
    """The package's predictor as its own ``build_sam2_video_predictor`` sets it up, with the demo weights."""
    import sam2.sam2_video_predictor  # noqa: F401 (its class is named in the settings below)
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from no_time_to_train.models.catalog import get_spec
    from no_time_to_train.models.sam2 import model as ours

    config = OmegaConf.load(ours._config_path(get_spec("sam2_demo")))
    config.model._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    config.model.binarize_mask_from_pts_for_mem_enc = True
    config.model.add_all_frames_to_correct_as_cond = True
    config.model.sam_mask_decoder_extra_args = ours._DYNAMIC_MULTIMASK
    predictor = instantiate(config.model).eval()
    predictor.load_state_dict(mask_model.module.state_dict())
    return predictor


def predictor_logits(predictor: Any, state: Any, object_index: int, frame_index: int) -> Tensor:
    outputs = state["output_dict_per_obj"][object_index]
    frames = outputs["cond_frame_outputs"] | outputs["non_cond_frame_outputs"]
    return frames[frame_index]["pred_masks"][0, 0]


@pytest.mark.parametrize("second_prompt", [None, 5])
def test_equals_the_video_predictor(
    memory: Sam2VideoMemory, predictor: Any, clip: tuple[Path, np.ndarray], second_prompt: int | None
) -> None:
    folder, masks = clip
    num_objects = masks.shape[1]
    state = predictor.init_state(str(folder))
    for number in range(num_objects):
        predictor.add_new_mask(state, 0, obj_id=number + 1, mask=masks[0, number])
    last = NUM_FRAMES - 1 if second_prompt is None else second_prompt + 3
    expected = dict(_propagated(predictor, state, 0, last if second_prompt is None else second_prompt))
    if second_prompt is not None:
        predictor.add_new_mask(state, second_prompt, obj_id=1, mask=masks[second_prompt, 0])
        expected |= dict(_propagated(predictor, state, second_prompt, last))

    remembered: list[ObjectMemory | None] = [None] * num_objects
    for index in range(last + 1):
        frame = memory.encode(read_image(folder / f"{index}.jpg"))
        for number in range(num_objects):
            if index in (0, second_prompt) and (index == 0 or number == 0):
                [mask] = square_masks([encode_mask(masks[index, number])], memory.image_size)
                found, remembered[number] = memory.condition(index, frame, mask, remembered[number])
            else:
                found, remembered[number] = memory.propagate(index, frame, remembered[number])
            theirs = predictor_logits(predictor, state, number, index)
            torch.testing.assert_close(found.logits, theirs, atol=5e-4, rtol=1e-4)
            [rle] = encode_mask_logits(found.logits[None], SIZE_HW)
            assert (decode_rle(rle) != expected[index][number]).mean() < 1e-4
    if second_prompt is None:
        assert expected[last].any(), "an empty mask would prove nothing"


def _propagated(predictor: Any, state: Any, first: int, last: int) -> Any:
    for index, _, logits in predictor.propagate_in_video(state, first, max_frame_num_to_track=last - first):
        yield index, (logits[:, 0] > 0).numpy()


def test_the_memory_of_an_object_is_bounded(memory: Sam2VideoMemory) -> None:
    frame = memory.encode(np.full((50, 50, 3), 90, np.uint8))
    mask = torch.zeros(memory.image_size, memory.image_size, dtype=torch.bool)
    mask[50:90, 50:90] = True
    remembered = None
    sizes = []
    for index in range(24):
        if index % 4 == 0:
            _, remembered = memory.condition(index, frame, mask, remembered)
        else:
            _, remembered = memory.propagate(index, frame, remembered)
        sizes.append(sum(tensor.numel() for tensor in remembered.tensors().values()))
    assert list(remembered.conditioning) == [8, 12, 16, 20] and len(remembered.conditioning) == MAX_CONDITIONING_FRAMES
    assert list(remembered.recent) == [index for index in range(9, 24) if index % 4]  # 15 frames with the prompted ones
    with_features = [index for index, kept in remembered.recent.items() if kept.features is not None]
    assert with_features == [18, 19, 21, 22, 23]  # of the last six
    assert sizes[19] == sizes[23]


def test_tensors_bring_a_memory_back(memory: Sam2VideoMemory) -> None:
    frame = memory.encode(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))
    mask = torch.zeros(memory.image_size, memory.image_size, dtype=torch.bool)
    mask[50:90, 50:90] = True
    _, remembered = memory.condition(11, frame, mask)
    for index in (12, 13):
        _, remembered = memory.propagate(index, frame, remembered)
    shuffled = dict(sorted(remembered.tensors().items(), reverse=True))
    again = ObjectMemory.from_tensors(shuffled).to(memory.device)
    assert (list(again.conditioning), list(again.recent)) == ([11], [12, 13])
    ours, theirs = (memory.propagate(14, frame, kept)[0] for kept in (remembered, again))
    assert torch.equal(ours.logits, theirs.logits) and ours.object_score == theirs.object_score
    assert ObjectMemory.from_tensors({}).tensors() == {}
    old = ObjectMemory(recent={3: FrameMemory(torch.ones(1, 2), None)})
    assert list(old.tensors()) == ["recent.3.pointer"]
    assert ObjectMemory.from_tensors(old.tensors()).recent[3].features is None


def test_a_network_without_memory_is_refused(tiny_sam2: tuple[ModelSpec, Path, torch.nn.Module]) -> None:
    model = Sam2MaskModel(build_sam2(tiny_sam2[0]), model_id="tiny", decoder="plain")
    with pytest.raises(InputError, match="mask_model=tiny has no memory"):
        Sam2VideoMemory(model)
