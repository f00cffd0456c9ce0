"""One process's share of a benchmark run: of the references first, then of the images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import torch

from no_time_to_train.errors import InputError
from no_time_to_train.files.formats import write_json
from no_time_to_train.proposals.cache import ProposalCache
from no_time_to_train.proposals.pooled import PooledProposals
from no_time_to_train.references.encoding import combine_references
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.runs.image_labeling import BatchReader, is_cpu_idle, label_batch, square_ahead
from no_time_to_train.runs.image_loop import go_through
from no_time_to_train.runs.plan import CachePlan, RunPlan
from no_time_to_train.runs.prefetch import BackgroundWork
from no_time_to_train.runs.progress import Counter, RunProgress, tell_nobody
from no_time_to_train.runs.prototype_cache import PrototypeCache
from no_time_to_train.runs.reference_encoding import EncodedImages, encode_share, in_reference_order, share_size
from no_time_to_train.runs.run import describe_models
from no_time_to_train.runs.shards import ImageId, ShardWriter, drop_unusable, labeled_ids, open_batches, split_batches
from no_time_to_train.runs.shared_entries import shared_memory
from no_time_to_train.structures import Detections, TargetImage


class Group(Protocol):
    """The processes of a run, seen from one of them."""

    @property
    def rank(self) -> int:
        """Return the number of this process; 0 writes what all of them need, and reports."""
        ...

    @property
    def world_size(self) -> int:
        """Return the number of processes."""
        ...

    @property
    def device(self) -> torch.device:
        """Return the device of this process."""
        ...

    def wait(self) -> None:
        """Wait until all processes are here."""
        ...

    def agree(self, value: bool) -> bool:
        """Return the value of the first process."""
        ...

    def gather(self, share: EncodedImages) -> list[EncodedImages]:
        """Return every process's share, by rank."""
        ...


@dataclass(frozen=True)
class Alone:
    """A run of one process."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    def wait(self) -> None:
        """Go on at once."""

    def agree(self, value: bool) -> bool:
        """Return the value."""
        return value

    def gather(self, share: EncodedImages) -> list[EncodedImages]:
        """Return the only share."""
        return [share]


def label_share(plan: RunPlan, group: Group) -> None:
    """Build this process's share of the memory bank, then label its share of the images that have no result yet.

    Every process must come here, also one without an image. The first one leaves ``plan.report_file``.

    Raises:
        InputError: an image cannot be read or has another size than its annotations.
    """
    share = _Share(plan, group)
    memory = share.prepare_memory()
    share.label(memory)


class _Share:
    """Models, and this process's batches. One image each on a CPU, where a batch is no faster."""

    def __init__(self, plan: RunPlan, group: Group) -> None:
        self._plan = plan
        self._group = group
        self._on_progress = plan.on_progress if group.rank == 0 else tell_nobody
        self._segmenter = plan.build_segmenter(replace(plan.config, device=str(group.device)))
        self._segmenter.proposals.check(plan.targets)
        size = 1 if self._segmenter.device.type == "cpu" else plan.config.encoder.batch_size
        batches = split_batches(plan.targets, size)
        if group.rank == 0:
            self._drop_what_cannot_be_used()
        group.wait()
        self._labeled = labeled_ids(plan.shards)
        self._batches = open_batches(batches, self._labeled, group.rank, group.world_size)
        self._timings: dict[str, Any] = {"images": sum(map(len, open_batches(batches, self._labeled)))}
        self._report = {
            **describe_models(self._segmenter),
            "processes": group.world_size,
            "timings": self._timings,
        }
        self._say_what_is_left()
        group.wait()  # the shards change from here on

    def prepare_memory(self) -> MemoryBank:
        """Return the bank of the run; a continued one takes it from the folder, so that all images see the same."""
        path = self._plan.memory_file
        if not self._group.agree(path.is_file()):
            start = time.monotonic()
            shares = self._group.gather(self._encode_references())
            if self._group.rank == 0:
                self._combine(shares).save(path)
            self._group.wait()
            self._timings["references_seconds"] = round(time.monotonic() - start, 3)
        memory = MemoryBank.load(path)
        memory.check_encoder(self._segmenter.encoder)
        return memory

    def label(self, memory: MemoryBank) -> None:
        """Label the images of the share, and report."""
        plan, cache = self._plan, self._plan.cache
        proposals = None if cache is None else self._kept_proposals(cache)
        counter = Counter("images", sum(map(len, self._batches)), self._on_progress)
        num_threads, square = plan.config.trainer.num_workers, square_ahead(self._segmenter)
        reader = BatchReader(self._batches, proposals, num_threads, square=square)
        with ExitStack() as stack:
            store: Callable[[str, PooledProposals], None] | None = None
            if proposals is not None:
                background = stack.enter_context(BackgroundWork(max_pending=4))
                store = partial(background.submit, proposals.store)
            process = partial(label_batch, segmenter=self._segmenter, memory=memory, store=store)
            sink = _ShardSink(plan, self._group.rank, self._labeled)
            go_through(reader, process, sink, counter, finish_beside=is_cpu_idle(self._segmenter))
        self._group.wait()
        images, seconds = self._timings["images"], counter.seconds
        self._timings["seconds"] = round(seconds, 3)
        self._timings["seconds_per_image"] = round(seconds / images, 4) if images else None
        if self._group.rank == 0:
            write_json(plan.report_file, self._report)

    def _kept_proposals(self, cache: CachePlan) -> ProposalCache:
        memory = shared_memory("proposals", cache.memory_bytes)
        return ProposalCache(cache.folder, cache.proposals, self._segmenter.device, memory)

    def _drop_what_cannot_be_used(self) -> None:
        """Remove damaged results, those of changed images, and a damaged memory bank."""
        messages = drop_unusable(self._plan.shards, self._plan.targets).messages()
        if self._plan.memory_file.is_file():
            try:
                MemoryBank.load(self._plan.memory_file)
            except InputError:
                messages.append(f"{self._plan.memory_file} is damaged. It is made again.")
                self._plan.memory_file.unlink()
        for message in messages:
            self._on_progress(RunProgress("", 0, 0, message))

    def _say_what_is_left(self) -> None:
        models = " + ".join(self._report["models"].values())
        images = f"{self._timings['images']} of {len(self._plan.targets)} images to label"
        world_size = self._group.world_size
        shared = f" in {world_size} processes; the progress is that of the first" if world_size > 1 else ""
        message = f"{self._report['device']}: {models}, {images}{shared}"
        self._on_progress(RunProgress("", 0, 0, message))

    def _encode_references(self) -> EncodedImages:
        references, cache, group = self._plan.references, self._plan.cache, self._group
        counter = Counter("references", share_size(references, group.rank, group.world_size), self._on_progress)
        return encode_share(
            references,
            self._segmenter.encoder,
            self._segmenter.mask_model,
            self._plan.config.references,
            rank=group.rank,
            world_size=group.world_size,
            cache=None if cache is None else _kept_prototypes(cache),
            on_progress=counter.advance,
        )

    def _combine(self, shares: Sequence[EncodedImages]) -> MemoryBank:
        return combine_references(
            self._plan.references,
            in_reference_order(shares),
            self._segmenter.encoder,
            mask_model=self._segmenter.mask_model,
            config=self._plan.config.references,
            keep_instances=self._plan.config.keeps_instances,
        )


def _kept_prototypes(cache: CachePlan) -> PrototypeCache:
    return PrototypeCache(cache.folder, cache.prototypes, shared_memory("prototypes", cache.memory_bytes))


class _ShardSink:
    """Writes results into this process's shard."""

    def __init__(self, plan: RunPlan, rank: int, labeled: set[ImageId]) -> None:
        self._plan = plan
        self._rank = rank
        self._labeled = labeled

    def __enter__(self) -> Self:
        self._writer = ShardWriter(self._plan.shards, self._rank, self._plan.config.output.min_score)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()

    def is_done(self, target: TargetImage) -> bool:
        """Return whether an earlier run has a result of the image."""
        return target.id in self._labeled

    def write(self, target: TargetImage, image: np.ndarray | None, detections: Detections) -> None:
        """Append a line."""
        self._writer.write(target, detections)
