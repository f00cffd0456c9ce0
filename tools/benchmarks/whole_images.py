"""Images from file to detections, through the loop of ``nttt label`` and ``bench``: in turns, and beside the device."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from no_time_to_train.build import compose_config
from no_time_to_train.models.interfaces import MaskModel
from no_time_to_train.proposals.interfaces import EncodedImage, MaskProposals, ProposalSource
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.memory_bank_builder import MemoryBankBuilder
from no_time_to_train.runs.image_labeling import BatchReader, label_batch
from no_time_to_train.runs.image_loop import go_through
from no_time_to_train.runs.progress import Counter, tell_nobody
from no_time_to_train.runs.shards import split_batches
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import Category, TargetImage
from tools.benchmarks.stages import BlobProposals, Models, point_prompts
from tools.benchmarks.tables import print_row, start_table
from tools.benchmarks.timing import run_times


def scale_images(models: Models, options: argparse.Namespace) -> None:
    """Both ways in turns over the same files, each after a round that is not timed."""
    is_slow = options.quick or models.device.type == "cpu"
    with tempfile.TemporaryDirectory() as folder:
        targets = write_images(Path(folder), 4 if is_slow else 64, options.image_size)
        blobs = BlobProposals(models, options.points, options.categories, options.image_size)
        config = compose_config()
        source = _DecodedBlobs(models, blobs)
        segmenter = Segmenter(models.fast_dino, models.fast_sam, config, proposals=source)
        memory = _memory(segmenter, blobs)
        batches = split_batches(targets, 1 if models.device.type == "cpu" else config.encoder.batch_size)
        ways = {
            "in turns": lambda: _label(segmenter, memory, batches, is_beside=False),
            "read, squashed and finished beside": lambda: _label(segmenter, memory, batches, is_beside=True),
        }
        for run in ways.values():
            run()
        rounds = [{name: run_times(run, models.device) for name, run in ways.items()} for _ in range(options.repeats)]
    start_table(
        f"{len(targets)} whole images of {options.image_size[1]} x {options.image_size[0]} from JPEG files, "
        f"{options.points} points",
        *("way", "s / image", "spread", "images/s", "CPU s / image"),
    )
    for name in ways:
        seconds, cpu_seconds = zip(*(of_round[name] for of_round in rounds), strict=True)
        median = statistics.median(seconds)
        spread = (max(seconds) - min(seconds)) / median
        cpu_median = statistics.median(cpu_seconds) / len(targets)
        per_image = f"{median / len(targets):.4g}"
        print_row(name, per_image, f"{spread:.0%}", f"{len(targets) / median:.3g}", f"{cpu_median:.4g}")


class _DecodedBlobs(ProposalSource):
    """Decodes all points and gives discs in place of what random weights make of them."""

    def __init__(self, models: Models, blobs: BlobProposals) -> None:
        self._prompts = point_prompts(models, len(blobs.logits))
        self._blobs = blobs

    def propose(self, image: EncodedImage, mask_model: MaskModel, prototypes: Tensor | None = None) -> MaskProposals:
        mask_model.predict_best(image.embedding, self._prompts, min_predicted_iou=-torch.inf)
        return MaskProposals(self._blobs.logits, self._blobs.predicted_ious)


class _Forgotten:
    """A sink that keeps nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """There is nothing to close."""

    def is_done(self, target: TargetImage) -> bool:
        return False

    def write(self, *_: Any) -> None:
        """Forget it."""


def _label(
    segmenter: Segmenter, memory: MemoryBank, batches: Sequence[Sequence[TargetImage]], *, is_beside: bool
) -> None:
    reader = BatchReader(batches, square=segmenter.square if is_beside else None)
    counter = Counter("images", sum(map(len, batches)), tell_nobody)
    process = partial(label_batch, segmenter=segmenter, memory=memory)
    go_through(reader, process, _Forgotten(), counter, finish_beside=is_beside)


def write_images(folder: Path, count: int, size_hw: tuple[int, int]) -> list[TargetImage]:
    """Smooth noise, which compresses about as photos do."""
    height, width = size_hw
    targets = []
    for number in range(count):
        path = folder / f"{number}.jpg"
        noise = np.random.default_rng(number).integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
        Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(path, quality=92)
        targets.append(TargetImage(path, path.name, number))
    return targets


def _memory(segmenter: Segmenter, blobs: BlobProposals) -> MemoryBank:
    """A random prototype for each category."""
    categories = [Category(number, f"category {number}") for number in range(blobs.prototypes.num_categories)]
    builder = MemoryBankBuilder(categories, segmenter.encoder.feature_dim)
    for category, vector in zip(categories, blobs.prototypes.vectors, strict=True):
        builder.add(category, vector)
    return builder.build(encoder_id=segmenter.encoder.model_id, encoder_image_size=segmenter.encoder.image_size)
