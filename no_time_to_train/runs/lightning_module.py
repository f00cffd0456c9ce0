"""The Lightning module of a run.

Every process builds its share of the memory bank, then labels its share of the images.

Lightning's ``predict`` is used, never ``test``, which repeats images to give every process the same number; the images
are dealt out here for the same reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytorch_lightning as lightning
import torch

from no_time_to_train.files.formats import write_json
from no_time_to_train.proposals.cache import ProposalCache
from no_time_to_train.proposals.pooled import PooledProposals
from no_time_to_train.references.encoding import combine_references
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.runs.image_labeling import BatchReader, LoadedBatch, label_batch
from no_time_to_train.runs.plan import RunPlan
from no_time_to_train.runs.prefetch import BackgroundWork
from no_time_to_train.runs.progress import Progress
from no_time_to_train.runs.prototype_cache import PrototypeCache
from no_time_to_train.runs.reference_encoding import EncodedImages, encode_share, in_reference_order, share_size
from no_time_to_train.runs.shards import ImageId, ShardWriter, labelled_ids, open_batches, split_batches
from no_time_to_train.runs.silence import silence_lightning
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import TargetImage


class LabellingModule(lightning.LightningModule):
    """Module that labels a plan's images that have no result yet.

    It is for ``Trainer.predict``.

    The networks are not trained, so they are no submodules: the segmenter holds them.

    Args:
        plan: equal in every process.
    """

    def __init__(self, plan: RunPlan) -> None:
        super().__init__()
        self._plan = plan
        self._segmenter: Segmenter
        self._memory: MemoryBank
        self._proposals: ProposalCache | None = None
        self._labelled: set[ImageId] = set()
        self._batches: list[Sequence[TargetImage]] = []
        self._open = ExitStack()
        self._writer: ShardWriter
        self._store: Callable[[str, PooledProposals], None] | None = None
        self._progress: Progress
        self._report: dict[str, Any] = {}

    def setup(self, stage: str) -> None:
        """Load models and memory bank, and take a share of the images.

        Every process comes here, also one without an image.
        """
        silence_lightning()
        config = replace(self._plan.config, device=str(self.trainer.strategy.root_device))
        self._segmenter = self._plan.build_segmenter(config)
        self._segmenter.proposals.check(self._plan.targets)
        if self._plan.cache is not None:
            cache = self._plan.cache
            self._proposals = ProposalCache(cache.folder, cache.proposals, self._segmenter.device)
        self._deal_out_images()
        self._memory = self._prepare_memory()

    def predict_dataloader(self) -> Iterable[LoadedBatch]:
        """Return the reader of this process's batches."""
        return BatchReader(self._batches, self._proposals, self._plan.config.trainer.num_workers)

    def transfer_batch_to_device(self, batch: LoadedBatch, device: torch.device, dataloader_idx: int) -> LoadedBatch:
        """Return the batch as it is.

        The segmenter takes images and moves what it makes of them.
        """
        return batch

    def on_predict_start(self) -> None:
        """Open this process's shard."""
        min_score = self._plan.config.output.min_score
        self._writer = self._open.enter_context(closing(ShardWriter(self._plan.shards, self.global_rank, min_score)))
        if self._proposals is not None:
            background = self._open.enter_context(BackgroundWork(max_pending=4))
            self._store = partial(background.submit, self._proposals.store)
        self._progress = Progress(sum(map(len, self._batches)))

    def predict_step(self, batch: LoadedBatch, batch_idx: int) -> None:
        """Label one batch and write its results."""
        found = label_batch(batch, self._segmenter, self._memory, self._store)
        for target, detections in zip(batch.targets, found, strict=True):
            if target.id not in self._labelled:
                self._writer.write(target, detections)
        if self.trainer.is_global_zero:
            self._progress.advance(len(batch.targets))

    def on_predict_end(self) -> None:
        """Close the shard, and write the report in the first process."""
        self._open.close()
        self._progress.end()
        self.trainer.strategy.barrier()
        timings, seconds = self._report["timings"], self._progress.seconds
        timings["seconds"] = round(seconds, 3)
        timings["seconds_per_image"] = round(seconds / timings["images"], 4) if timings["images"] else None
        if self.trainer.is_global_zero:
            write_json(self._plan.report_file, self._report)

    def _deal_out_images(self) -> None:
        """Deal out this process's batches. One image each on a CPU, where a batch is no faster."""
        size = 1 if self._segmenter.device.type == "cpu" else self._plan.config.encoder.batch_size
        batches = split_batches(self._plan.targets, size)
        self._labelled = labelled_ids(self._plan.shards)
        self._batches = open_batches(batches, self._labelled, self.global_rank, self.trainer.world_size)
        self._report = {
            "device": str(self._segmenter.device),
            "processes": self.trainer.world_size,
            "models": {
                "features": self._segmenter.encoder.model_id,
                "mask_model": self._segmenter.mask_model.model_id,
            },
            "timings": {"images": sum(map(len, open_batches(batches, self._labelled)))},
        }
        if self.trainer.is_global_zero:
            models = " + ".join(self._report["models"].values())
            images = f"{self._report['timings']['images']} of {len(self._plan.targets)} images to label"
            world_size = self.trainer.world_size
            shared = f" in {world_size} processes; the progress is that of the first" if world_size > 1 else ""
            print(f"{self._report['device']}: {models}, {images}{shared}", flush=True)
        self.trainer.strategy.barrier()  # the shards change from here on

    def _prepare_memory(self) -> MemoryBank:
        """Return the bank of the run; a continued one takes it from the folder, for equal numbers."""
        path = self._plan.memory_file
        if not self.trainer.strategy.broadcast(path.is_file()):
            start = time.monotonic()
            shares = self._gather(self._encode_references())
            if self.trainer.is_global_zero:
                self._combine(shares).save(path)
            self.trainer.strategy.barrier()
            self._report["timings"]["references_seconds"] = round(time.monotonic() - start, 3)
        memory = MemoryBank.load(path)
        memory.check_encoder(self._segmenter.encoder)
        return memory

    def _encode_references(self) -> EncodedImages:
        references, cache = self._plan.references, self._plan.cache
        rank, world_size = self.global_rank, self.trainer.world_size
        progress = Progress(share_size(references, rank, world_size), "references")
        try:
            return encode_share(
                references,
                self._segmenter.encoder,
                self._segmenter.mask_model,
                self._plan.config.references,
                rank=rank,
                world_size=world_size,
                cache=None if cache is None else PrototypeCache(cache.folder, cache.prototypes),
                on_progress=progress.advance if self.trainer.is_global_zero else None,
            )
        finally:
            progress.end()

    def _gather(self, share: EncodedImages) -> list[EncodedImages]:
        """Return every process's share, by rank."""
        if self.trainer.world_size == 1:
            return [share]
        shares: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(shares, share)
        return shares

    def _combine(self, shares: Sequence[EncodedImages]) -> MemoryBank:
        return combine_references(
            self._plan.references,
            in_reference_order(shares),
            self._segmenter.encoder,
            mask_model=self._segmenter.mask_model,
            config=self._plan.config.references,
            keep_instances=self._plan.config.keeps_instances,
        )
