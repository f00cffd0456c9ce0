"""Label a list of images into a results folder; what ``nttt label`` and ``nttt demo`` share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train import build
from no_time_to_train.config import Config, config_hash, to_dict
from no_time_to_train.data.images import UnreadableImageError, read_image
from no_time_to_train.outputs.result_folder import ResultFolder
from no_time_to_train.outputs.summary import RunSummary
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.runs.image_labeling import read_or_problem
from no_time_to_train.runs.prefetch import BackgroundWork, read_ahead
from no_time_to_train.runs.progress import Progress
from no_time_to_train.runs.provenance import versions, weight_hashes
from no_time_to_train.runs.run_state import RunSettings, prepare_folder, write_run
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import TargetImage
from no_time_to_train.tasks.memory_source import MemorySource, memory_in_folder


@dataclass(frozen=True, eq=False)
class LabellingJob:
    """Everything a labelling run depends on.

    Attributes:
        targets: the images, in the order of the outputs.
        images_folder: where they lie; a results folder is continued only with the same one.
        source: of the memory bank.
        config: every setting.
        out: the results folder.
        command: the command line that continues this run.
        overwrite: begin anew where ``out`` holds other results.
        strict: stop at the first image that cannot be read.
        details: further entries of ``run.json`` (seed, shots).
    """

    targets: Sequence[TargetImage]
    images_folder: Path
    source: MemorySource
    config: Config
    out: Path
    command: Sequence[str]
    overwrite: bool = False
    strict: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> RunSettings:
        return RunSettings(
            config=to_dict(self.config),
            config_hash=config_hash(self.config),
            references=self.source.fingerprint,
            images=self.images_folder.resolve().as_posix(),
            min_score=self.config.output.draw_min_score,
        )


def label_into_folder(job: LabellingJob) -> RunSummary:
    """Run a job, or the rest of it. Ctrl-C leaves a folder that holds what was done and can be continued.

    Raises:
        InputError: the folder holds other results, or an image cannot be read and ``strict`` is set.
    """
    earlier = prepare_folder(job.out, job.settings, overwrite=job.overwrite)
    return _Run(job, earlier).run()


class _Run:
    """One run over the images that have no result yet; ``earlier`` is ``run.json`` of the run it continues."""

    def __init__(self, job: LabellingJob, earlier: dict[str, Any] | None) -> None:
        self._job = job
        self._folder = ResultFolder(
            job.out,
            job.source.categories,
            keep_min_score=job.config.output.min_score,
            min_score=job.config.output.draw_min_score,
        )
        self._problems: list[tuple[str, str]] = []
        self._details = {
            **(earlier or {}),
            "command": shlex.join(job.command),
            "versions": versions(),
            "images": len(job.targets),
            **job.details,
        }
        self._folder.forget_unusable(job.targets)
        if earlier is not None:
            done = len(job.targets) - len(self._unlabelled())
            print(
                f"{job.out} holds {done} of {len(job.targets)} images from the same settings: continuing.", flush=True
            )

    def run(self) -> RunSummary:
        try:
            if self._unlabelled():
                self._label()
            self._draw_missing_overlays()
        except KeyboardInterrupt:
            summary = self._finish("interrupted")
            print(
                f"\nInterrupted with {len(summary.images)} of {len(self._job.targets)} images labelled. "
                f"{self._job.out} is valid; continue with:\n  {self._details['command']}",
                flush=True,
            )
            raise
        except UnreadableImageError:
            self._finish("stopped at an unreadable image")
            raise
        return self._finish("finished")

    def _unlabelled(self) -> list[TargetImage]:
        return [target for target in self._job.targets if not self._folder.is_labelled(target)]

    def _label(self) -> None:
        self._write_state("running")
        segmenter = build.build_segmenter(self._job.config)
        segmenter.proposals.check(self._job.targets)
        models = {"features": segmenter.encoder.model_id, "mask_model": segmenter.mask_model.model_id}
        self._details |= {"device": str(segmenter.device), "models": models}
        print(
            f"{segmenter.device}: {' + '.join(models.values())}, {len(self._unlabelled())} images "
            "(the time left is shown after the first)",
            flush=True,
        )
        with ThreadPoolExecutor(1, thread_name_prefix="hashes") as executor:
            hashes = executor.submit(weight_hashes, self._job.config)
            memory = memory_in_folder(self._job.source, segmenter, self._folder.path)
            self._label_batches(segmenter, memory, self._open_batches(segmenter))
            self._details["weights"] = hashes.result()

    def _open_batches(self, segmenter: Segmenter) -> list[Sequence[TargetImage]]:
        """Batches with an image that is not labelled yet.

        One image each on a CPU, where a batch is no faster and would only delay the first results. A continued run cuts
        the whole list into the same batches and repeats opened ones, so that it computes the very same numbers.
        """
        size = 1 if segmenter.device.type == "cpu" else self._job.config.encoder.batch_size
        batches = [self._job.targets[i : i + size] for i in range(0, len(self._job.targets), size)]
        return [batch for batch in batches if not all(map(self._folder.is_labelled, batch))]

    def _label_batches(
        self, segmenter: Segmenter, memory: MemoryBank, batches: Sequence[Sequence[TargetImage]]
    ) -> None:
        progress = Progress(sum(map(len, batches)))
        try:
            with closing(read_ahead(_read_batch, batches, num_ahead=2)) as loaded, BackgroundWork() as background:
                for batch, images in zip(batches, loaded, strict=True):
                    self._label_batch(segmenter, memory, batch, images, background, progress)
        finally:
            progress.end()
            self._details["timings"] = {
                "images": progress.done,
                "seconds": round(progress.seconds, 3),
                "seconds_per_image": round(progress.seconds / progress.done, 4) if progress.done else None,
            }

    def _label_batch(
        self,
        segmenter: Segmenter,
        memory: MemoryBank,
        batch: Sequence[TargetImage],
        images: Sequence[np.ndarray | UnreadableImageError],
        background: BackgroundWork,
        progress: Progress,
    ) -> None:
        readable: list[tuple[TargetImage, np.ndarray]] = []
        for target, image in zip(batch, images, strict=True):
            if isinstance(image, UnreadableImageError):
                self._note_problem(target, image, progress)
            else:
                readable.append((target, image))
        if readable:
            found = segmenter.segment_batch(
                [image for _, image in readable], memory, targets=[target for target, _ in readable]
            )
            for (target, image), detections in zip(readable, found, strict=True):
                background.submit(self._folder.write_detections, target, image, detections)
        progress.advance(len(batch))

    def _note_problem(self, target: TargetImage, problem: UnreadableImageError, progress: Progress) -> None:
        self._problems.append((target.file_name, str(problem)))
        if self._job.strict:
            raise problem
        others = len(self._job.targets) - len(self._problems)
        progress.message(f"{problem} Skipped and listed in errors.csv; {others} others go on. --strict stops instead.")

    def _draw_missing_overlays(self) -> None:
        """Of a run with another threshold, or killed at the wrong moment."""
        missing = [
            target
            for target in self._job.targets
            if self._folder.is_labelled(target) and not self._folder.overlay_path(target).is_file()
        ]
        progress = Progress(len(missing), "overlays")

        def draw(target: TargetImage) -> None:
            self._folder.redraw_overlay(target, read_image(target.path))

        for _ in read_ahead(draw, missing):
            progress.advance()
        progress.end()

    def _finish(self, status: str) -> RunSummary:
        summary = self._folder.write_summaries(self._job.targets, self._problems)
        self._details["labelled"] = len(summary.images)
        self._write_state(status)
        return summary

    def _write_state(self, status: str) -> None:
        write_run(self._folder.path, self._job.settings, {**self._details, "status": status})


def _read_batch(batch: Sequence[TargetImage]) -> list[np.ndarray | UnreadableImageError]:
    return [read_or_problem(target) for target in batch]
