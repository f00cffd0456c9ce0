"""The one loop over images: read ahead, label, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from no_time_to_train.data.images import UnreadableImageError
from no_time_to_train.runs.image_labeling import BatchReader, LoadedBatch
from no_time_to_train.runs.progress import Counter
from no_time_to_train.structures import Detections, TargetImage


class Sink(Protocol):
    """Receiver of the results of images.

    It is a context manager that ends when all of them are written.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def is_done(self, target: TargetImage) -> bool:
        """Return whether an image has a result."""
        ...

    def write(self, target: TargetImage, image: np.ndarray | None, detections: Detections) -> None:
        """Keep what was found in an image.

        Args:
            target: which image.
            image: (H, W, 3) uint8; None where it was not read, as a cache had its candidate masks.
            detections: of the image.
        """
        ...


def go_through(
    reader: BatchReader,
    process: Callable[[LoadedBatch], Sequence[Detections]],
    sink: Sink,
    counter: Counter,
    on_unreadable: Callable[[TargetImage, UnreadableImageError], None] | None = None,
) -> None:
    """Label every image of the reader's batches that has no result.

    Batches are computed whole, also where some of their images have a result, so that a continued run computes the very
    same numbers.

    Args:
        reader: the batches.
        process: the detections of all images of a batch.
        sink: takes them.
        counter: counts the images.
        on_unreadable: is given the images that cannot be read; they have no result.
    """
    with closing(iter(reader)) as batches, sink:
        for batch in batches:
            for target, problem in batch.unreadable:
                if on_unreadable is not None:
                    on_unreadable(target, problem)
            found = process(batch) if batch.targets else []
            images: Sequence[np.ndarray | None] = batch.images if batch.images else [None] * len(batch.targets)
            for target, image, detections in zip(batch.targets, images, found, strict=True):
                if not sink.is_done(target):
                    sink.write(target, image, detections)
            counter.advance(len(batch.targets) + len(batch.unreadable))
