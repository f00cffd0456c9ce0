"""Check that references resemble those of their category most: ``nttt refs check``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from no_time_to_train import build
from no_time_to_train.errors import InputError
from no_time_to_train.files.arguments import as_function, as_path
from no_time_to_train.files.formats import write_csv
from no_time_to_train.outputs.reference_sheets import write_reference_sheets
from no_time_to_train.references.encoding import EncodedReference, encode_references
from no_time_to_train.references.loading import as_references
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.references.quality import LeaveOneOut, leave_one_out
from no_time_to_train.runs.progress import Counter, OnProgress, tell_nobody
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.settings.overrides import with_named
from no_time_to_train.structures import Category, ReferenceInstance, ReferenceSet
from no_time_to_train.tasks.memory_building import measure_thresholds, settings_to_fit_with

SMALL_PX = 32
"""The published sampler takes no reference whose box is narrower or lower."""
HEADER = ("#", "category", "image", "annotation", "size", "own", "nearest other", "margin", "remark")
"""Of the table of references."""


@dataclass(frozen=True, eq=False)
class CheckedReference:
    """One reference and its scores, see ``LeaveOneOut``.

    Attributes:
        own, best_other, margin: NaN where they cannot be known.
        nearest: the other category that is nearest, None where there is none.

    Example:
        >>> report = ntt.check_references("references.json", preset="demo")
        >>> 0 <= report.references[0].own <= 1
        True
    """

    reference: ReferenceInstance
    own: float
    best_other: float
    margin: float
    nearest: Category | None

    @property
    def remark(self) -> str:
        """Describe what is wrong with it; empty if nothing is."""
        remarks = []
        if self.nearest is not None and self.margin < 0:
            remarks.append(f"looks more like '{self.nearest.name}'")
        if self.is_small:
            remarks.append(f"small (below {SMALL_PX} px)")
        if math.isnan(self.own):
            remarks.append("the only one of its category")
        return "; ".join(remarks)

    @property
    def size_px(self) -> tuple[int, int]:
        """Return (width, height) of the box."""
        x1, y1, x2, y2 = self.reference.box_xyxy
        return round(x2 - x1), round(y2 - y1)

    @property
    def is_small(self) -> bool:
        """Return whether the published sampler would leave it out."""
        return min(self.size_px) < SMALL_PX

    @property
    def badness(self) -> tuple[bool, float]:
        """Return a sort key that puts the worst first.

        They are sorted by margin or, with one category only, by the own score; the unknown come last.
        """
        known = self.own if math.isnan(self.margin) else self.margin
        return math.isnan(known), known


@dataclass(frozen=True, eq=False)
class ReferenceReport:
    """Findings of ``check_references``.

    Attributes:
        references: those that can be used, the worst first, with their scores.
        categories: of all references.
        num_references: in all, also those that cannot be used (warnings name them).
        min_scores: thresholds measured on the reference images, as for ``label_folder``; None: they cannot be measured.

    Example:
        >>> report = ntt.check_references("references.json", preset="demo")
        >>> report.num_skipped, len(report.rows())
        (0, 4)
    """

    references: tuple[CheckedReference, ...]
    categories: tuple[Category, ...]
    num_references: int
    min_scores: MinScores | None

    @property
    def num_skipped(self) -> int:
        """Return how many references cannot be used."""
        return self.num_references - len(self.references)

    @property
    def num_mislabeled(self) -> int:
        """Return how many references look more like another category than their own."""
        return sum(item.margin < 0 for item in self.references)

    @property
    def num_small(self) -> int:
        """Return how many references are smaller than the published sampler takes."""
        return sum(item.is_small for item in self.references)

    def counts(self) -> dict[str, int]:
        """Return the number of usable references by the name of every category."""
        counts = {category.name: 0 for category in self.categories}
        for item in self.references:
            counts[item.reference.category.name] += 1
        return counts

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table, see ``HEADER``."""
        return [(str(number), *_cells(item)) for number, item in enumerate(self.references, start=1)]

    def write(self, folder: Path) -> None:
        """Write ``references.csv`` and a sheet of images per category.

        Masks made from boxes are drawn too.
        """
        write_csv(folder / "references.csv", HEADER, self.rows())
        ordered = ReferenceSet(self.categories, tuple(item.reference for item in self.references))
        captions = [_caption(number, item) for number, item in enumerate(self.references, start=1)]
        write_reference_sheets(ordered, folder, captions=captions)


def check_references(
    references: str | Path | ReferenceSet,
    *,
    reference_images: str | Path | None = None,
    categories: Sequence[str] | None = None,
    out: str | Path | None = None,
    preset: str | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    segmenter: Segmenter | None = None,
    on_progress: OnProgress = tell_nobody,
) -> ReferenceReport:
    """Score every reference by the others.

    It is scored as if it were a mask to be labeled.

    Args:
        references: COCO file, folder, or what ``load_references`` returned.
        reference_images: folder of the images; None: found beside the references.
        categories: names of the categories to use; None: all.
        out: folder for the table and the images; None: nothing is written.
        preset: as of ``load_segmenter``.
        device: as of ``load_segmenter``.
        overrides: settings as ``"key=value"``.
        segmenter: with loaded models, and the settings in place of these; None: one is loaded by the settings.
        on_progress: is told how far it is.

    Raises:
        InputError: no reference is usable.

    Example:
        >>> report = ntt.check_references("references.json", preset="demo")
        >>> report.counts()
        {'striped_star': 2, 'dotted_mushroom': 2}
        >>> worst = report.references[0]
        >>> worst.margin <= report.references[-1].margin
        True
    """
    as_function(on_progress, "on_progress")
    overrides = with_named(overrides, preset=preset, device=device)
    config = settings_to_fit_with(segmenter, overrides)
    reference_set = as_references(references, reference_images, categories, upright=config.images.upright)
    segmenter = segmenter or build.build_segmenter(config)
    encoded = [item for item in _encode(segmenter, reference_set, on_progress) if item.prototype is not None]
    if not encoded:
        raise InputError(
            f"none of the {len(reference_set)} references is usable (see the warnings). Use larger examples."
        )
    scores = _score(encoded, reference_set.categories)
    checked = sorted(_checked(encoded, scores, reference_set.categories), key=lambda item: item.badness)
    min_scores = measure_thresholds(segmenter, reference_set.categories, encoded, on_progress)
    report = ReferenceReport(tuple(checked), reference_set.categories, len(reference_set), min_scores)
    if out is not None:
        report.write(as_path(out, "out"))
    return report


def _encode(segmenter: Segmenter, references: ReferenceSet, on_progress: OnProgress) -> Iterator[EncodedReference]:
    counter = Counter("references", len(references), on_progress)
    return encode_references(
        references,
        segmenter.encoder,
        mask_model=segmenter.mask_model,
        config=segmenter.config.references,
        batch_size=segmenter.config.encoder.batch_size,
        on_progress=lambda done, _: counter.advance(done - counter.done),
    )


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


def _cells(item: CheckedReference) -> tuple[str, ...]:
    width, height = item.size_px
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
