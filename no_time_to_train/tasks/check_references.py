"""``nttt refs check``: do the references of a category resemble one another more than those of the others?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from no_time_to_train import build
from no_time_to_train.errors import InputError
from no_time_to_train.files.formats import write_csv
from no_time_to_train.outputs.reference_pictures import write_reference_pictures
from no_time_to_train.references.encoding import EncodedReference, encode_references
from no_time_to_train.references.quality import LeaveOneOut, leave_one_out, suggest_min_score
from no_time_to_train.reports.text_table import align_columns
from no_time_to_train.runs.progress import Progress
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import Category, ReferenceInstance, ReferenceSet
from no_time_to_train.tasks.memory_source import ReferenceOptions

_SMALL_PX = 32
"""The published sampler takes no reference whose box is narrower or lower."""
_SHOWN = 30
_HEADER = ("#", "category", "image", "annotation", "size", "own", "nearest other", "margin", "remark")


@dataclass(frozen=True)
class CheckOptions:
    """The command line of ``nttt refs check``.

    Attributes:
        references: which.
        out: folder of the table and the pictures, None: beside the references.
        overrides: ``key=value`` settings.
    """

    references: ReferenceOptions
    out: Path | None
    overrides: Sequence[str]


@dataclass(frozen=True, eq=False)
class CheckedReference:
    """One reference and its scores, see :class:`LeaveOneOut`.

    Attributes:
        own, best_other, margin: NaN where they cannot be known.
        nearest: the other category that is nearest, None where there is none.
    """

    reference: ReferenceInstance
    own: float
    best_other: float
    margin: float
    nearest: Category | None

    @property
    def remark(self) -> str:
        """What is wrong with it; empty if nothing is."""
        remarks = []
        if self.nearest is not None and self.margin < 0:
            remarks.append(f"looks more like '{self.nearest.name}'")
        width, height = _size_px(self.reference)
        if min(width, height) < _SMALL_PX:
            remarks.append(f"small (below {_SMALL_PX} px)")
        if math.isnan(self.own):
            remarks.append("the only one of its category")
        return "; ".join(remarks)

    @property
    def badness(self) -> tuple[bool, float]:
        """Sorts the worst first, by margin or, with one category only, by the own score; the unknown come last."""
        known = self.own if math.isnan(self.margin) else self.margin
        return math.isnan(known), known


def check_references(options: CheckOptions) -> list[CheckedReference]:
    """Print every reference's leave-one-out scores, the worst first, and a score threshold; write sheets of pictures.

    Raises:
        InputError: no reference is usable.
    """
    config = build.compose_config(options.overrides)
    references = options.references.read()
    segmenter = build.build_segmenter(config)
    encoded = [item for item in _encode(segmenter, references) if item.prototype is not None]
    if not encoded:
        raise InputError(f"none of the {len(references)} references is usable (see the warnings). Use larger examples.")
    scores = _score(encoded, references.categories)
    checked = sorted(_checked(encoded, scores, references.categories), key=lambda reference: reference.badness)
    out = options.out or _default_folder(options.references)
    rows = [(str(number), *_cells(reference)) for number, reference in enumerate(checked, start=1)]
    write_csv(out / "references.csv", _HEADER, rows)
    ordered = ReferenceSet(references.categories, tuple(item.reference for item in checked))
    write_reference_pictures(ordered, out, captions=[_caption(n, item) for n, item in enumerate(checked, start=1)])
    print(align_columns(_HEADER, rows[:_SHOWN], numbers=False))
    if len(rows) > _SHOWN:
        print(f"... and {len(rows) - _SHOWN} better ones, see {out / 'references.csv'}")
    print()
    print("\n".join(_conclusions(checked, references, suggest_min_score(scores))))
    print(f"Pictures of all references, the worst first, and the table: {out}")
    return checked


def _encode(segmenter: Segmenter, references: ReferenceSet) -> Iterator[EncodedReference]:
    progress = Progress(len(references), "references")
    try:
        yield from encode_references(
            references,
            segmenter.encoder,
            mask_model=segmenter.mask_model,
            config=segmenter.config.references,
            batch_size=segmenter.config.features.batch_size,
            on_progress=lambda done, _: progress.advance(done - progress.done),
        )
    finally:
        progress.end()


def _score(encoded: Sequence[EncodedReference], categories: Sequence[Category]) -> LeaveOneOut:
    positions = {category.id: index for index, category in enumerate(categories)}
    vectors = torch.stack([item.prototype for item in encoded if item.prototype is not None])
    indices = torch.tensor([positions[item.reference.category.id] for item in encoded])
    return leave_one_out(vectors, indices, len(categories))


def _checked(
    encoded: Sequence[EncodedReference], scores: LeaveOneOut, categories: Sequence[Category]
) -> Iterator[CheckedReference]:
    columns = (scores.own, scores.best_other, scores.margins, scores.best_other_indices)
    for item, own, other, margin, index in zip(encoded, *(column.tolist() for column in columns), strict=True):
        yield CheckedReference(item.reference, own, other, margin, categories[index] if index >= 0 else None)


def _conclusions(
    checked: Sequence[CheckedReference], references: ReferenceSet, min_score: float | None
) -> Iterator[str]:
    """What to do about it, one line each."""
    skipped = len(references) - len(checked)
    if skipped:
        yield f"{skipped} of {len(references)} references cannot be used (see the warnings)."
    usable = {category.name: 0 for category in references.categories}
    for item in checked:
        usable[item.reference.category.name] += 1
    none = [name for name, count in usable.items() if count == 0]
    if none:
        yield f"No usable reference: {', '.join(none)}. These categories will never be found."
    single = [name for name, count in usable.items() if count == 1]
    if single:
        yield f"One reference only, so it cannot be left out: {', '.join(single)}. Add a second to have it checked."
    wrong = sum(item.margin < 0 for item in checked)
    if wrong:
        yield f"{wrong} of {len(checked)} references look more like another category: correct them or leave them out."
    small = sum(min(_size_px(item.reference)) < _SMALL_PX for item in checked)
    if small:
        yield f"{small} of {len(checked)} references are small (below {_SMALL_PX} px): larger ones are better examples."
    if min_score is None:
        yield "No threshold can be suggested: that takes two categories, and one with two references."
    else:
        yield (
            f"Suggested threshold: --min-score {min_score:.2f}, which separates own from other categories best. It is "
            "a start: things in whole pictures score lower than references do, so look at the overlays."
        )


def _cells(item: CheckedReference) -> tuple[str, ...]:
    width, height = _size_px(item.reference)
    nearest = f"{item.best_other:.2f} {item.nearest.name}" if item.nearest is not None else "-"
    reference = item.reference
    return (
        *(reference.category.name, reference.image_path.name, str(reference.annotation_id), f"{width} x {height}"),
        *(_format(item.own), nearest, _format(item.margin), item.remark),
    )


def _caption(number: int, item: CheckedReference) -> str:
    own = "" if math.isnan(item.own) else f" {item.own:.2f}"
    return f"#{number} {item.reference.category.name}{own}"


def _format(score: float) -> str:
    return "-" if math.isnan(score) else f"{score:.2f}"


def _size_px(reference: ReferenceInstance) -> tuple[int, int]:
    """(width, height) of the box."""
    x1, y1, x2, y2 = reference.box_xyxy
    return round(x2 - x1), round(y2 - y1)


def _default_folder(references: ReferenceOptions) -> Path:
    if references.path is None:
        return Path("refs_checked")
    path = references.path.resolve()
    return path.with_name(f"{path.stem if path.is_file() else path.name}_checked")
