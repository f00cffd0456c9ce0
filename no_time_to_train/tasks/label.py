"""``nttt label``: a folder of images and a few references in, labelled masks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train import build
from no_time_to_train.errors import InputError
from no_time_to_train.outputs.summary import RunSummary
from no_time_to_train.tasks.image_folder import default_out, find_targets
from no_time_to_train.tasks.labeling import LabellingJob, label_into_folder
from no_time_to_train.tasks.memory_source import MemorySource, ReferenceOptions

_SHARE_OF_BEST_SCORE = 0.8


@dataclass(frozen=True)
class LabelOptions:
    """The command line of ``nttt label``.

    Attributes:
        images: folder of the images.
        references: what to look for; not used where ``memory`` is given.
        memory: file of an earlier ``nttt fit``.
        out: results folder, None: ``<images>_labeled``.
        overrides: ``key=value`` settings.
        limit: label only the first images, in order of their names.
        overwrite, strict, command: see ``LabellingJob``.
    """

    images: Path
    references: ReferenceOptions
    memory: Path | None
    out: Path | None
    overrides: Sequence[str]
    limit: int | None
    overwrite: bool
    strict: bool
    command: Sequence[str]


def label(options: LabelOptions) -> None:
    """Label the images and say what was found where."""
    config = build.compose_config(options.overrides)
    out = options.out or default_out(options.images, "labeled")
    targets = find_targets(options.images, out, options.limit)
    if options.memory is not None:
        source = MemorySource.from_file(options.memory)
    else:
        source = MemorySource.from_references(options.references.read())
    job = LabellingJob(
        targets=targets,
        images_folder=options.images,
        source=source,
        config=config,
        out=out,
        command=options.command,
        overwrite=options.overwrite,
        strict=options.strict,
    )
    summary = label_into_folder(job)
    if not summary.images:
        raise InputError(f"none of the {len(targets)} images in {options.images} can be read; see {out}/errors.csv.")
    print(_conclusion(summary, len(targets), out))


def _conclusion(summary: RunSummary, num_targets: int, out: Path) -> str:
    labelled = len(summary.images)
    skipped = f"; {num_targets - labelled} could not be read, see errors.csv" if labelled < num_targets else ""
    found = f"{summary.num_objects} objects above {summary.min_score:.2f} in {labelled} images{skipped}"
    if summary.num_objects:
        counts = ", ".join(f"{name} {count}" for name, count in summary.counts.items() if count)
        return f"{found}: {counts}.\nLook at {out / 'index.html'}; annotations are in {out / 'annotations.json'}."
    if summary.best_score is None:
        return f"{found}. Nothing resembles the references at all: see {out / 'references'} for what was looked for."
    lower = summary.best_score * _SHARE_OF_BEST_SCORE
    return (
        f"{found}; best score {summary.best_score:.2f}. See overlays with --min-score {lower:.2f} (nothing is computed "
        f"again), and {out / 'references'} for what was looked for."
    )
