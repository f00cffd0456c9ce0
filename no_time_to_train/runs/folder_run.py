"""A run over a list of images into a results folder.

It is the part that ``label``, ``propose`` and ``demo`` share.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from no_time_to_train import build
from no_time_to_train.config import Config
from no_time_to_train.data.images import UnreadableImageError, read_image
from no_time_to_train.errors import Parameter, counted
from no_time_to_train.outputs.result_folder import ResultFolder
from no_time_to_train.outputs.summary import ImageSummary, RunSummary
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.runs.image_labeling import BatchReader, is_cpu_idle, square_ahead
from no_time_to_train.runs.image_loop import Process, go_through
from no_time_to_train.runs.prefetch import BackgroundWork, read_ahead
from no_time_to_train.runs.progress import Counter
from no_time_to_train.runs.run import Run, add_missing_hashes, describe_models, hashing_weights
from no_time_to_train.runs.run_state import DrawnFrom
from no_time_to_train.runs.shards import open_batches, split_batches
from no_time_to_train.structures import Detections, TargetImage

if TYPE_CHECKING:
    from no_time_to_train.segmenter import Segmenter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FolderJob:
    """Images, and the work to be done on them.

    Attributes:
        targets: the images, in the order of the outputs.
        folder: takes the results.
        config: every setting.
        prepare: given the run and the segmenter, it loads what else is needed, calls ``run.begin()``, and returns what
            finds the detections.
        strict: stop at the first image that cannot be read.
        is_class_free: nothing is matched, so that the encoder may be left out.
        is_prepared: what ``prepare`` leaves in the folder is there; else it is called also where no image is left.
        left_out: (file name, why) of further files that are listed as not read.
    """

    targets: Sequence[TargetImage]
    folder: ResultFolder
    config: Config
    prepare: Callable[[Run, Segmenter], Process]
    strict: bool = False
    is_class_free: bool = False
    is_prepared: bool = True
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FolderOutcome:
    """Outcome of a run over a folder.

    Attributes:
        summary: what was found.
        problems: (file name, what is wrong) of the images that could not be read.
    """

    summary: RunSummary
    problems: tuple[tuple[str, str], ...]


def carry_out(job: FolderJob, run: Run) -> FolderOutcome:
    """Carry out a job, or the rest of it.

    Raises:
        UnreadableImageError: an image cannot be read, and the job is strict.
        RunInterrupted: Ctrl-C or SIGTERM; the folder holds what was done and can be continued.
    """
    work = _Work(job, run)
    summary = run.carry_out(work.do, work.summarize, work.how_far)
    return FolderOutcome(summary, tuple(work.problems))


class _FolderSink:
    """Writes results into a folder, in threads."""

    def __init__(self, folder: ResultFolder) -> None:
        self._folder = folder
        self._background = BackgroundWork()

    def __enter__(self) -> Self:
        self._background.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._background.__exit__(kind, error, traceback)

    def is_done(self, target: TargetImage) -> bool:
        """Return whether the image has a record."""
        return self._folder.is_labeled(target)

    def write(self, target: TargetImage, image: np.ndarray | None, detections: Detections) -> None:
        """Write overlay and record."""
        assert image is not None, "without a cache every image is read"
        self._background.submit(self._folder.write_detections, target, image, detections)


class _Work:
    """The images of a job that have no result yet."""

    def __init__(self, job: FolderJob, run: Run) -> None:
        self._job = job
        self._run = run
        self._folder = job.folder
        self.problems: list[tuple[str, str]] = list(job.left_out)
        self._done: dict[str, ImageSummary] = {}
        self._labeled = 0
        run.details["images"] = len(job.targets)
        if run.earlier is not None:
            self._done = self._folder.forget_unusable(job.targets)
            run.forget_drawings = self._forget_drawings
            done, total = len(self._done), counted(len(job.targets), "image")
            then = "continuing" if self._is_something_left else "nothing is left to compute"
            run.say(f"{run.path} holds {done} of {total} from the same settings: {then}.")

    def do(self) -> None:
        """Label the images, and draw the overlays that are missing."""
        if self._is_something_left:
            self._label()
        else:
            self._run.begin()
            add_missing_hashes(self._job.config, self._run.details)
        self._draw_missing_overlays()

    def summarize(self) -> RunSummary:
        """Write what is made from the records."""
        self._done = {}  # all of them are summed up anew: twice in memory would be for nothing
        summary = self._folder.write_summaries(self._job.targets, self.problems)
        self._labeled = len(summary.images)
        self._run.details["labeled"] = self._labeled
        return summary

    def how_far(self) -> str:
        """Say how many images are done."""
        return f"{self._labeled} of {len(self._job.targets)} images labeled"

    @property
    def _is_something_left(self) -> bool:
        return len(self._done) < len(self._job.targets) or not self._job.is_prepared

    def _label(self) -> None:
        config, run, targets = self._job.config, self._run, self._job.targets
        segmenter = (build.build_proposer if self._job.is_class_free else build.build_segmenter)(config)
        segmenter.proposals.check(targets)
        run.details |= describe_models(segmenter)
        models = " + ".join(run.details["models"].values())
        left = len(targets) - len(self._done)
        run.say(
            f"{segmenter.device}: {models}, {config.proposals.name}, {counted(left, 'image')} "
            "(the time left is shown after the first)"
        )
        with hashing_weights(config, run.details):
            process = self._job.prepare(run, segmenter)
            # One image each on a CPU, where a batch is no faster and would only delay the first results.
            size = 1 if segmenter.device.type == "cpu" else config.encoder.batch_size
            done = {target.id for target in targets if target.file_name in self._done}
            batches = open_batches(split_batches(targets, size), done)
            counter = Counter("images", sum(map(len, batches)), run.on_progress)
            try:
                reader = BatchReader(batches, leave_out_unreadable=True, square=square_ahead(segmenter))
                sink, is_beside = _FolderSink(self._folder), is_cpu_idle(segmenter)
                go_through(reader, process, sink, counter, self._note_problem, finish_beside=is_beside)
            except UnreadableImageError:
                self.summarize()
                run.write_state("stopped at an unreadable image")
                raise
            finally:
                run.details["timings"] = counter.timings()

    def _note_problem(self, target: TargetImage, problem: UnreadableImageError) -> None:
        self.problems.append((target.file_name, str(problem)))
        if self._job.strict:
            raise problem
        others = len(self._job.targets) - (len(self.problems) - len(self._job.left_out))
        instead = Parameter("strict", True)
        logger.warning(
            "%s Skipped and listed in errors.csv; %d others go on. %s stops instead.", problem, others, instead
        )

    def _forget_drawings(self, before: DrawnFrom, now: DrawnFrom) -> None:
        """Remove the overlays that the present lowest scores change."""
        names = {category.name: category.id for category in self._folder.categories}

        def by_id(drawn: DrawnFrom) -> MinScores:
            default, by_name = drawn
            return MinScores(default, {names[name]: value for name, value in by_name.items() if name in names})

        self._folder.forget_overlays(self._done.values(), by_id(before), by_id(now))

    def _draw_missing_overlays(self) -> None:
        """Of a run with another threshold, or killed at the wrong moment."""
        missing = [
            target
            for target in self._job.targets
            if self._folder.is_labeled(target) and not self._folder.overlay_path(target).is_file()
        ]
        if not missing:
            return

        def draw(target: TargetImage) -> None:
            self._folder.redraw_overlay(target, read_image(target.path, upright=target.upright))

        counter = Counter("overlays", len(missing), self._run.on_progress)
        for _ in read_ahead(draw, missing):
            counter.advance()
