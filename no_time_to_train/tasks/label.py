"""Label images by a few references: ``nttt label``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train.config import Config, config_hash, to_dict
from no_time_to_train.data.image_selection import ImageNames
from no_time_to_train.errors import InputError
from no_time_to_train.outputs.result_folder import ResultFolder
from no_time_to_train.outputs.summary import RunSummary
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.min_scores import MinScoreRequest, MinScores
from no_time_to_train.runs.folder_run import FolderJob, FolderOutcome, carry_out
from no_time_to_train.runs.image_labeling import label_batch
from no_time_to_train.runs.image_loop import Process
from no_time_to_train.runs.progress import OnProgress, tell_nobody
from no_time_to_train.runs.run import Run
from no_time_to_train.runs.run_state import RunSettings
from no_time_to_train.settings.overrides import with_named
from no_time_to_train.structures import ReferenceSet, TargetImage
from no_time_to_train.tasks.image_folder import find_targets
from no_time_to_train.tasks.memory_source import MemorySource, begin_with_memory, memory_of_folder
from no_time_to_train.tasks.threshold_choice import ThresholdChoice

if TYPE_CHECKING:
    from no_time_to_train.segmenter import Segmenter


@dataclass(frozen=True)
class LabelReport:
    """Findings of ``label_folder``.

    Attributes:
        out: the results folder: ``annotations.json``, ``predictions.json``, ``overlays/``, ``index.html``.
        num_images: images with a result, also those of earlier runs into the same folder.
        counts: objects by category name that score at least ``min_score``.
        min_scores: lowest scores that are drawn and counted, by category name.
        min_score_source: where they come from.
        best_score: of all detections, None where there is none.
        problems: (file name, what is wrong) of the images that cannot be read.
    """

    out: Path
    num_images: int
    counts: Mapping[str, int]
    min_scores: Mapping[str, float]
    min_score_source: str
    best_score: float | None
    problems: tuple[tuple[str, str], ...]

    @property
    def num_objects(self) -> int:
        """Return the number of objects of all categories."""
        return sum(self.counts.values())

    @classmethod
    def of(cls, run: Run, outcome: FolderOutcome) -> LabelReport:
        """Report what a run came to."""
        summary: RunSummary = outcome.summary
        return cls(
            out=run.path,
            num_images=len(summary.images),
            counts=summary.counts,
            min_scores=summary.min_scores.by_name(summary.categories),
            min_score_source=run.details["min_score_source"],
            best_score=summary.best_score,
            problems=outcome.problems,
        )


def label_folder(
    images: ImageNames,
    *,
    references: str | Path | ReferenceSet | None = None,
    memory: str | Path | MemoryBank | None = None,
    reference_images: str | Path | None = None,
    categories: Sequence[str] | None = None,
    out: str | Path | None = None,
    min_score: MinScoreRequest = None,
    preset: str | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    limit: int | None = None,
    overwrite: bool = False,
    strict: bool = False,
    on_progress: OnProgress = tell_nobody,
    command: Sequence[str] = (),
) -> LabelReport:
    """Label the images of a folder, or single ones, by a few references.

    A results folder that holds a part of the results already is continued. Where single files or patterns are named,
    it keeps the images that it holds, so that naming further ones adds to it.

    Args:
        images: folder of the images, sub-folders included; or a file, a pattern (``"photos/**/*.jpg"``), or a list of
            folders, files and patterns.
        references: COCO file, folder, or what ``load_references`` returned.
        memory: in place of references: what ``fit`` returned, or its file. It brings its settings along.
        reference_images: folder of the references' images; None: found beside the references.
        categories: names of the references' categories to use; None: all.
        out: results folder; None: ``<images>_labeled`` beside the folder; in the current folder where single files or
            patterns are named, called after the folder that holds all of them.
        min_score: lowest score drawn, counted and put into ``annotations.json``: a number, numbers by category
            (``{"boat": 0.6}`` or ``"boat=0.6,bird=0.5"``), or None or ``"auto"``: measured on the reference images, or
            kept in the memory. A finished folder is drawn again with another one, without computing anything again.
        preset: as of ``load_segmenter``.
        device: as of ``load_segmenter``.
        overrides: settings as ``"key=value"``.
        limit: only the first images, in order of their names; those that ``out`` holds already stay part of it.
        overwrite: begin anew where ``out`` holds other results.
        strict: stop at the first image that cannot be read; else it is listed, and the others go on.
        on_progress: is told how far the run is.
        command: what continues the run, for ``run.json``.

    Raises:
        InputFileNotFoundError: what was named is not there, or a pattern matches nothing.
        InputError: the results folder holds other results, or none of the images can be read.
        RunInterrupted: Ctrl-C; the folder holds what was done and can be continued.

    Example:
        >>> report = ntt.label_folder("photos/", references="refs.json", min_score=0.5)  # doctest: +SKIP
        >>> report.counts  # doctest: +SKIP
        {'boat': 3, 'bird': 1}
    """
    overrides = with_named(overrides, preset=preset, device=device)
    source, config = MemorySource.opened(references, memory, reference_images, categories, overrides)
    thresholds = ThresholdChoice.of(min_score, config, overrides, "output.draw_min_score")
    thresholds.check(source.categories)
    upright = config.images.upright
    found = find_targets(images, out, "labeled", limit=limit, upright=upright, overwrite=overwrite)
    out, root = found.out, found.root
    with open_run(out, root, source, config, command=command, overwrite=overwrite, on_progress=on_progress) as run:
        outcome = label_targets(run, found.targets, source, config, thresholds, strict=strict, left_out=found.left_out)
    if not outcome.summary.images:
        raise InputError(f"none of the {len(found.targets)} images in {root} can be read; see {out}/errors.csv.")
    return LabelReport.of(run, outcome)


def open_run(
    out: Path,
    images: Path,
    source: MemorySource,
    config: Config,
    *,
    command: Sequence[str],
    overwrite: bool,
    on_progress: OnProgress,
) -> Run:
    """Open the run that labels these images with these references and settings."""
    settings = RunSettings(
        config=to_dict(config),
        config_hash=config_hash(config),
        references=source.fingerprint,
        reference_counts=source.counts,
        images=images.resolve().as_posix(),
        min_score=config.output.draw_min_score,
    )
    return Run(out, settings, command=command, overwrite=overwrite, on_progress=on_progress)


def label_targets(
    run: Run,
    targets: Sequence[TargetImage],
    source: MemorySource,
    config: Config,
    thresholds: ThresholdChoice,
    *,
    strict: bool = False,
    left_out: tuple[tuple[str, str], ...] = (),
) -> FolderOutcome:
    """Label the images of a run that have no result yet.

    Errors are those of ``folder_run.carry_out``.
    """
    known = source.bank or memory_of_folder(run)
    chosen = None if known is None else thresholds.choose(run, known)
    min_scores = chosen or MinScores(thresholds.otherwise)
    folder = ResultFolder(run.path, source.categories, keep_min_score=config.output.min_score, min_scores=min_scores)

    def prepare(run: Run, segmenter: Segmenter) -> Process:
        memory, folder.min_scores = begin_with_memory(run, source, segmenter, thresholds, chosen)
        return partial(label_batch, segmenter=segmenter, memory=memory)

    job = FolderJob(targets, folder, config, prepare, strict, left_out=left_out, is_prepared=known is not None)
    return carry_out(job, run)
