"""One batch of images through the stages, or through the cache."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from no_time_to_train.data.images import UnreadableImageError, describe_size_mismatch, read_image
from no_time_to_train.errors import InputError
from no_time_to_train.runs.prefetch import read_ahead
from no_time_to_train.structures import Detections, TargetImage

if TYPE_CHECKING:
    from torch import Tensor

    from no_time_to_train.proposals.cache import ProposalCache
    from no_time_to_train.proposals.pooled import PooledProposals
    from no_time_to_train.references.memory_bank import MemoryBank
    from no_time_to_train.segmenter import Segmenter


@dataclass(frozen=True, eq=False)
class LoadedBatch:
    """Images ready for the models, or candidate masks in their place.

    Attributes:
        targets: which images they are.
        keys: theirs in the cache; empty without one.
        images: (H, W, 3) uint8 each; empty where the cache has all of the batch.
        squares: the images squashed for the models, where they are so already.
        pooled: the candidate masks of all images, or nothing.
        unreadable: images that are left out, with what is wrong with them.
    """

    targets: Sequence[TargetImage]
    keys: Sequence[str] = ()
    images: Sequence[np.ndarray] = ()
    squares: Sequence[Tensor] = ()
    pooled: Sequence[PooledProposals] = ()
    unreadable: Sequence[tuple[TargetImage, UnreadableImageError]] = ()


Square = Callable[[np.ndarray], "Tensor"]
_THREADS_BESIDE_GPU = 4
"""An image takes one of them 30 ms (1.5 megapixels) to 450 ms (24 megapixels), a large GPU about 50 ms."""


class BatchReader:
    """Reader of batches, in threads ahead of the models.

    It can be iterated over any number of times.

    Args:
        batches: what to load, in order.
        cache: of candidate masks.
        num_threads: 0: each batch is read when it is asked for.
        leave_out_unreadable: whether images that cannot be read are left out of their batches, or are errors.
        square: squashes an image for the models in these threads, at least four of them: what is beside a GPU. None:
            the models' own thread does it when it comes to it.
    """

    def __init__(
        self,
        batches: Sequence[Sequence[TargetImage]],
        cache: ProposalCache | None = None,
        num_threads: int = 2,
        *,
        leave_out_unreadable: bool = False,
        square: Square | None = None,
    ) -> None:
        self._batches = batches
        self._read: Callable[[Sequence[TargetImage]], LoadedBatch] = partial(load_batch, cache=cache)
        if leave_out_unreadable:
            self._read = load_readable
        self._square = square
        self._num_threads = num_threads if square is None or not num_threads else max(num_threads, _THREADS_BESIDE_GPU)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Generator[LoadedBatch, None, None]:
        if not self._num_threads:
            return (self._load(batch) for batch in self._batches)
        return read_ahead(self._load, self._batches, num_threads=self._num_threads, num_ahead=2 * self._num_threads)

    def _load(self, targets: Sequence[TargetImage]) -> LoadedBatch:
        batch = self._read(targets)
        return batch if self._square is None else replace(batch, squares=[self._square(i) for i in batch.images])


def load_batch(targets: Sequence[TargetImage], cache: ProposalCache | None) -> LoadedBatch:
    """Load the candidate masks of all images, or else all images.

    The masks come from the cache.

    A batch is never torn apart: what is computed together does not depend on what the cache holds.

    Raises:
        UnreadableImageError: an image cannot be read; a benchmark without it would be another one.
        InputError: an image has another size than its annotations.
    """
    if cache is None:
        return LoadedBatch(targets, images=[_read_annotated(target) for target in targets])
    from no_time_to_train.proposals.cache import image_key

    keys = [image_key(target) for target in targets]
    pooled = [cache.load(key) for key in keys]
    known = [item for item in pooled if item is not None]
    if len(known) == len(targets):
        return LoadedBatch(targets, keys, pooled=known)
    return LoadedBatch(targets, keys, images=[_read_annotated(target) for target in targets])


def _read_annotated(target: TargetImage) -> np.ndarray:
    image = read_image(target.path, upright=target.upright)
    if target.size_hw is not None:
        mismatch = describe_size_mismatch(target.size_hw, "size in the annotations", image.shape[:2], str(target.path))
        if mismatch is not None:
            raise InputError(mismatch)
    return image


def load_readable(targets: Sequence[TargetImage]) -> LoadedBatch:
    """Read the readable images, and describe the faults of the others."""
    images = [read_or_problem(target) for target in targets]
    pairs = list(zip(targets, images, strict=True))
    readable = [(target, image) for target, image in pairs if not isinstance(image, UnreadableImageError)]
    return LoadedBatch(
        targets=[target for target, _ in readable],
        images=[image for _, image in readable],
        unreadable=[(target, image) for target, image in pairs if isinstance(image, UnreadableImageError)],
    )


def read_or_problem(target: TargetImage) -> np.ndarray | UnreadableImageError:
    """Read an image (H, W, 3) uint8, or describe its fault.

    With a fault the other images go on.
    """
    try:
        return read_image(target.path, upright=target.upright)
    except UnreadableImageError as error:
        return error


def is_cpu_idle(segmenter: Segmenter) -> bool:
    """Return whether the CPU has time for other work while the models compute."""
    return segmenter.device.type != "cpu"


def square_ahead(segmenter: Segmenter) -> Square | None:
    """Return what squashes images for the models while they are read; None where the models need all cores."""
    return segmenter.square if is_cpu_idle(segmenter) else None


def label_batch(
    batch: LoadedBatch,
    segmenter: Segmenter,
    memory: MemoryBank,
    store: Callable[[str, PooledProposals], object] | None = None,
) -> Iterator[Callable[[], Detections]]:
    """Begin with one image of the batch after the other; what is yielded finishes it, and may do so in a thread.

    Candidate masks are made in between, so that a GPU has work while an image is finished.

    Args:
        batch: from :func:`load_batch`.
        segmenter: used as a whole where the batch has no candidate masks, else for labeling only.
        memory: the references.
        store: given the key and the candidate masks of every image that the cache does not have; None: no cache.

    Yields:
        A function that gives the detections of the next image.

    Raises:
        InputError: the references were encoded by another encoder.
    """
    memory.check_encoder(segmenter.encoder)
    if batch.pooled:
        for target, pooled in zip(batch.targets, batch.pooled, strict=True):
            yield partial(_label_cached, segmenter, pooled, memory, target)
        return
    for position, image in enumerate(segmenter.encode(batch.images, batch.targets, batch.squares)):
        pooled = segmenter.propose(image, memory if store is None else None)
        if store is not None:
            store(batch.keys[position], pooled)
        yield partial(segmenter.label, pooled, memory, image.pixels)


def _label_cached(segmenter: Segmenter, pooled: PooledProposals, memory: MemoryBank, target: TargetImage) -> Detections:
    pixels = read_image(target.path, upright=target.upright) if segmenter.looks_twice else None
    return segmenter.label(pooled, memory, pixels)
