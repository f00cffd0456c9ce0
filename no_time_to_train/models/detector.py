"""Object detectors of transformers (DETR, RT-DETR, YOLOS, OWLv2 ...), used for their boxes alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.models.catalog import CATALOG, HUB_FOLDER, HUB_ID, ModelSpec
from no_time_to_train.models.precision import forward_precision
from no_time_to_train.models.transformers_folders import PROCESSOR_FILE, load_network, read_config, read_image_processor
from no_time_to_train.models.weights import find_weights
from no_time_to_train.ops.transfers import to_host

if TYPE_CHECKING:
    from transformers import Owlv2ForObjectDetection


class Detector(Protocol):
    """A frozen network that finds boxes."""

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find boxes in an image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (N, 4) float32 half-open xyxy pixels of the image, not clipped, and (N,) float32 scores in 0..1.
        """
        ...


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

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return every box of the detector's own post-processing, whatever its label.

        Detectors that score every category by itself give one box once per category.
        """
        inputs = self.processor(images=image, input_data_format="channels_last", return_tensors="pt").to(self.device)
        with forward_precision(self.device, torch.float32):
            outputs = self.module(**inputs)
        [found] = self.processor.post_process_object_detection(
            outputs, threshold=0.0, target_sizes=torch.tensor([image.shape[:2]], device=self.device)
        )
        boxes, scores = to_host(found["boxes"].float(), found["scores"].float())
        return boxes.numpy(), scores.numpy()


class ObjectnessDetector:
    """OWLv2 without any text: the box of every patch, scored by how much it looks like an object at all.

    Args:
        module: a ``transformers`` OWLv2; it is frozen in place, and loses the network for texts.
        processor: its image processor.
        device: where the network runs; always in float32.
    """

    def __init__(self, module: Owlv2ForObjectDetection, processor: Any, device: torch.device | str = "cpu") -> None:
        owlv2: nn.Module = module.owlv2
        owlv2.text_model = nn.Identity()  # a third of the weights, never called
        self.module = module.eval().requires_grad_(False)
        nn.Module.to(self.module, device)
        self.processor = processor
        self.device = torch.device(device)

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the boxes of all patches with their objectness."""
        side = self.module.config.vision_config.image_size
        inputs = self.processor(
            images=image,
            input_data_format="channels_last",
            size={"height": side, "width": side},
            return_tensors="pt",
        )
        with forward_precision(self.device, torch.float32):
            feature_map, _ = self.module.image_embedder(inputs["pixel_values"].to(self.device))
            features = feature_map.flatten(1, 2)
            scores = self.module.objectness_predictor(features)[0].sigmoid()
            boxes = self.module.box_predictor(features, feature_map)[0]
        # Shares of the square that the image became when it was padded at its right or bottom.
        boxes, scores = to_host(_corners(boxes * max(image.shape[:2])), scores)
        return boxes.numpy(), scores.numpy()


def load_detector(source: str, *, device: torch.device | str = "cpu") -> Detector:
    """Load a detector.

    Args:
        source: a name of ``nttt weights list``, a folder in transformers' layout, or a hub id.
        device: where it runs.

    Raises:
        InputFileNotFoundError: neither a folder nor a name.
        InputError: no object detector of transformers, or its weights are incomplete.
        UnsafeWeightsError: its settings name code to run.
        WeightsNotFoundError: the hub cannot be reached or does not have it, or the folder lacks files.
    """
    folder = _find_folder(source)
    config, processor = read_config(folder), read_image_processor(folder)
    _try_out(processor, folder)
    if config.model_type == "owlv2":
        from transformers import Owlv2ForObjectDetection

        module = _load(Owlv2ForObjectDetection, config, folder, source)
        return ObjectnessDetector(cast("Owlv2ForObjectDetection", module), processor, device)

    from transformers import AutoModelForObjectDetection

    module = _load(AutoModelForObjectDetection, config, folder, source)
    if not hasattr(processor, "post_process_object_detection"):
        raise InputError(f"proposals.boxes.detector={source}: its image processor does not turn outputs into boxes.")
    return BoxDetector(module, processor, device)


def _try_out(processor: Any, folder: Path) -> None:
    """Prepare a small image: settings that a processor takes may be ones that it cannot work with."""
    try:
        processor(images=np.zeros((48, 64, 3), np.uint8), input_data_format="channels_last", return_tensors="pt")
    except Exception as error:  # nearly anything
        raise InputError(
            f"{folder / PROCESSOR_FILE} holds settings that no image can be prepared with: {str(error)[:200]}"
        ) from error


def _find_folder(source: str) -> Path:
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    spec = CATALOG.get(source)
    if spec is not None and spec.kind == "detector":
        return find_weights(spec)
    if not HUB_ID.fullmatch(source):
        names = ", ".join(name for name, spec in CATALOG.items() if spec.kind == "detector")
        raise InputFileNotFoundError(
            f"proposals.boxes.detector={source}: no such folder, and not a hub id such as PekingU/rtdetr_r50vd. "
            f"Known by name: {names}."
        )
    return find_weights(
        ModelSpec(source, "detector", "hf", image_size=0, size_mb=0, hub_id=source, hub_files=HUB_FOLDER)
    )


def _load(network: Any, config: Any, folder: Path, source: str) -> Any:
    module, report = load_network(network, config, folder)
    unusable: list[str] = sorted([*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])])
    if unusable:
        raise InputError(
            f"proposals.boxes.detector={source}: {len(unusable)} weights are not in its files, or of another shape, "
            f"{unusable[0]} among them. It may be a backbone without a detection head."
        )
    return module


def _corners(boxes: Tensor) -> Tensor:
    """Convert (N, 4) centers, width and height to corners."""
    center, size = boxes[:, :2], boxes[:, 2:]
    return torch.cat([center - size / 2, center + size / 2], dim=1)
