"""The one loop over images: read ahead, label, write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from no_time_to_train.data.images import UnreadableImageError
from no_time_to_train.runs.image_labeling import BatchReader, LoadedBatch
from no_time_to_train.runs.prefetch import BackgroundWork
from no_time_to_train.runs.progress import Counter
from no_time_to_train.structures import Detections, TargetImage

Process = Callable[[LoadedBatch], Iterable[Callable[[], Detections]]]
"""A batch of images through the models: what is given for each image, in their order, gives its detections."""


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
    process: Process,
    sink: Sink,
    counter: Counter,
    on_unreadable: Callable[[TargetImage, UnreadableImageError], None] | None = None,
    *,
    finish_beside: bool = False,
) -> None:
    """Label every image of the reader's batches that has no result.

    Batches are computed whole, also where some of their images have a result, so that a continued run computes the very
    same numbers.

    Args:
        reader: the batches.
        process: begins with the images of a batch.
        sink: takes their detections.
        counter: counts the images.
        on_unreadable: is given the images that cannot be read; they have no result.
        finish_beside: finish, write and count images in a thread, in their order, while the next ones are begun with.
            That is for devices beside which the CPU is idle.
    """
    with closing(iter(reader)) as batches, sink, BackgroundWork(num_threads=1, max_pending=_MAX_BEGUN) as beside:
        call: Callable[..., object] = beside.submit if finish_beside else _call
        for batch in batches:
            for target, problem in batch.unreadable:
                if on_unreadable is not None:
                    on_unreadable(target, problem)
                call(counter.advance)
            images: Sequence[np.ndarray | None] = batch.images if batch.images else [None] * len(batch.targets)
            begun = process(batch) if batch.targets else ()
            for target, image, finish in zip(batch.targets, images, begun, strict=True):
                call(_finish, target, image, finish, sink, counter)


_MAX_BEGUN = 2
"""Images that wait to be finished, besides the one that is; each keeps its candidate masks on the device."""


def _finish(
    target: TargetImage,
    image: np.ndarray | None,
    finish: Callable[[], Detections],
    sink: Sink,
    counter: Counter,
) -> None:
    detections = finish()
    if not sink.is_done(target):
        sink.write(target, image, detections)
    counter.advance()


def _call(function: Callable[..., object], *arguments: object) -> None:
    function(*arguments)
