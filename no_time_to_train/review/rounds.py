"""What the page's buttons do: export, and label the rest again with what was corrected.

The corrected objects join the references of the first round exactly, through the memory bank that lies in the results
folder: a prototype is the mean of its instances, and their number is known.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train.errors import InputError, counted
from no_time_to_train.references.loading import load_references
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.review.jobs import Report, ReviewJobs
from no_time_to_train.review.overview import describe_problems
from no_time_to_train.review.session import REVIEW_FOLDER, ReviewSession
from no_time_to_train.runs.run_state import read_run
from no_time_to_train.structures import TargetImage
from no_time_to_train.tasks.label import label_targets, open_run
from no_time_to_train.tasks.memory_source import MemorySource
from no_time_to_train.tasks.threshold_choice import ThresholdChoice

if TYPE_CHECKING:
    from no_time_to_train.config import Config
    from no_time_to_train.models.interfaces import MaskModel
    from no_time_to_train.segmenter import Segmenter


logger = logging.getLogger(__name__)


class ReviewModels:
    """The networks a session needs, loaded when they are first asked for.

    Args:
        session: its run's settings are used again.
        overrides: further ``key=value`` settings; all there are where nothing was labeled yet.
    """

    def __init__(self, session: ReviewSession, overrides: Sequence[str]) -> None:
        self._session = session
        self._overrides = overrides
        self._segmenter: Segmenter | None = None

    @property
    def segmenter(self) -> Segmenter:
        """Both networks with the run's settings."""
        from no_time_to_train.build import build_segmenter

        if self._segmenter is None:
            self._segmenter = build_segmenter(self.config)
        return self._segmenter

    @cached_property
    def config(self) -> Config:
        """The settings of the run, changed by the overrides.

        Raises:
            InputError: ``run.json`` is damaged, or does not say which models and steps were used.
        """
        from no_time_to_train.build import compose_config_on, named_settings
        from no_time_to_train.config import method_settings, present_names
        from no_time_to_train.reports.read_runs import flatten

        run = self._session.folder / "run.json"
        if not run.is_file():  # references are drawn
            return compose_config_on({}, self._overrides)
        recorded = flatten((read_run(run.parent) or {})["settings"]["config"])
        config = compose_config_on(recorded, self._overrides)
        said = {*present_names(recorded), *named_settings(self._overrides)}
        if "preset" not in said:  # else nothing of the run counts
            unsaid = [key for key in method_settings(config) if not {key, key.split(".")[0]} & said]
            _refuse_or_tell(run, unsaid)
        return config

    def mask_model(self) -> MaskModel:
        """Return the mask model, which answers clicks."""
        return self.segmenter.mask_model


def _refuse_or_tell(run: Path, unsaid: Sequence[str]) -> None:
    """Tell which settings ``run.json`` does not say; refuse where a model or a step is among them.

    An earlier version, which had fewer settings, said its models and steps all the same.
    """
    chosen = [key.removesuffix(".name") for key in unsaid if key.endswith(".name")]
    if chosen:
        raise InputError(
            f"{run} is damaged: it does not say which {' and '.join(chosen)} labeled the images. Start the review with "
            f"{' '.join(f'{group}=...' for group in chosen)}, or label the images again."
        )
    if unsaid:
        logger.warning("%s does not say %s: the default is used.", run, ", ".join(unsaid))


def review_jobs(session: ReviewSession, models: ReviewModels) -> ReviewJobs:
    """Return what the page's buttons start."""
    from no_time_to_train.outputs.exports.formats import WRITERS

    jobs = {
        "export": lambda values, report: export_reviewed(session, str(values["format"])),
        "label": lambda values, report: label_again(session, models, report),
    }
    return ReviewJobs(jobs, formats=tuple(WRITERS))


def export_reviewed(session: ReviewSession, format: str) -> str:
    """Export the reviewed state into a folder beside the results; returns what to tell."""
    from no_time_to_train.tasks.export import export_dataset

    annotations = session.folder / REVIEW_FOLDER / "annotations.json"
    session.write_annotations(annotations)
    out = _free_folder(session.folder.with_name(f"{session.folder.name}_{format}"))
    report = export_dataset(annotations, format, out, images=session.images)
    found = f"{counted(report.num_objects, 'object')} in {counted(report.num_images, 'image')}: {report.folder}"
    return found + describe_problems(session.problems())


def label_again(session: ReviewSession, models: ReviewModels, report: Report) -> str:
    """Label the images that are not done, with the kept objects as further references.

    Nothing that was decided changes. The new detections and the memory bank lie in a folder of their own,
    ``review/round_2`` and so on.

    Raises:
        InputError: nothing was kept yet.
    """
    references_file = session.folder / REVIEW_FOLDER / "references.json"
    count, problems = session.write_annotations(references_file, only_kept=True), session.problems()
    if not count:
        raise InputError("Nothing was kept yet: keep or add an object first, it becomes a reference.")
    memory = models.segmenter.build_memory(load_references(references_file, session.images, upright=session.upright))
    first = session.folder / "memory.safetensors"
    if first.is_file():
        memory = MemoryBank.load(first).combined_with(memory)
    folder = _free_folder(session.folder / REVIEW_FOLDER / "round_2")
    done = set(session.numbers_done())
    targets = [
        TargetImage(session.image_path(number), name, number + 1)
        for number, name in enumerate(session.file_names)
        if number not in done
    ]
    config, source = models.config, MemorySource.of(None, memory)
    asked = session.thresholds.now.by_name(memory.categories)
    thresholds = ThresholdChoice.of(asked, config, (), "output.draw_min_score")
    with open_run(
        folder,
        session.images,
        source,
        config,
        command=(),
        overwrite=False,
        on_progress=lambda progress: report(progress.done, progress.total),
    ) as run:
        num_labeled = len(label_targets(run, targets, source, config, thresholds).summary.images)
    session.use_round(folder)
    skipped = f"; {len(targets) - num_labeled} cannot be read" if num_labeled < len(targets) else ""
    labeled = f"{counted(num_labeled, 'image')} labeled again with {counted(count, 'more reference')}{skipped}."
    return labeled + describe_problems(problems)


def _free_folder(wanted: Path) -> Path:
    """Return the folder itself, or the first of its name with a higher number that is not there."""
    stem, _, number = wanted.name.rpartition("_")
    first = int(number) if number.isdigit() else 2
    names = [wanted.name] if not number.isdigit() else []
    names += [f"{stem if number.isdigit() else wanted.name}_{n}" for n in range(first, first + 10_000)]
    return next(path for path in map(wanted.with_name, names) if not path.exists())
