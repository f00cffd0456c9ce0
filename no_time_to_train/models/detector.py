"""Object detectors of transformers (DETR, RT-DETR, YOLOS ...), used for their boxes alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from no_time_to_train.errors import InputError, InputFileNotFoundError, WeightsNotFoundError
from no_time_to_train.models.dino.encoder import quiet_transformers


class BoxDetector:
    """A frozen object detector whose labels are not looked at.

    Args:
        module: a ``transformers`` model for object detection; it is frozen in place.
        processor: its image processor, with ``post_process_object_detection``.
        device: where the network runs; always in float32.
    """

    def __init__(self, module: nn.Module, processor: Any, device: torch.device | str = "cpu") -> None:
        self.module = module.to(device).eval().requires_grad_(False)
        self.processor = processor
        self.device = torch.device(device)

    @torch.inference_mode()
    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return every box of the detector's own post-processing, whatever its label.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (N, 4) float32 xyxy pixels of the image and (N,) float32 scores in 0..1. Detectors that score every
            category by itself give one box once per category.
        """
        inputs = self.processor(images=image, input_data_format="channels_last", return_tensors="pt").to(self.device)
        outputs = self.module(**inputs)
        [found] = self.processor.post_process_object_detection(
            outputs, threshold=0.0, target_sizes=torch.tensor([image.shape[:2]], device=self.device)
        )
        return found["boxes"].float().cpu().numpy(), found["scores"].float().cpu().numpy()


def load_detector(source: str, *, device: torch.device | str = "cpu") -> BoxDetector:
    """Load a detector from a folder in transformers' layout, or by its hub id.

    Raises:
        InputFileNotFoundError: neither a folder nor a hub id.
        InputError: no object detector of transformers, or its weights are incomplete.
        WeightsNotFoundError: the hub cannot be reached or does not have it, or the folder lacks files.
    """
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    folder = Path(source).expanduser()
    is_local = folder.is_dir()
    if not is_local and source.count("/") != 1:
        raise InputFileNotFoundError(
            f"proposals.boxes.detector={source}: no such folder, and not a hub id such as PekingU/rtdetr_r50vd."
        )
    name = str(folder) if is_local else source
    try:
        with quiet_transformers():
            processor = AutoImageProcessor.from_pretrained(name, local_files_only=is_local)
            module, report = AutoModelForObjectDetection.from_pretrained(
                name, local_files_only=is_local, dtype=torch.float32, output_loading_info=True
            )
    except OSError as error:
        raise WeightsNotFoundError(
            f"proposals.boxes.detector={source} cannot be loaded ({_first_line(error)}). Offline: give a local folder "
            "with config.json, preprocessor_config.json and model.safetensors."
        ) from error
    except ValueError as error:
        raise InputError(
            f"proposals.boxes.detector={source} is not an object detector of transformers ({_first_line(error)})."
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise InputError(
            f"proposals.boxes.detector={source}: {len(missing)} weights are not in its files, {missing[0]} among them. "
            "It may be a backbone without a detection head."
        )
    if not hasattr(processor, "post_process_object_detection"):
        raise InputError(f"proposals.boxes.detector={source}: its image processor does not turn outputs into boxes.")
    return BoxDetector(module, processor, device)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
