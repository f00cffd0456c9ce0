"""Make a memory bank of references, with settings and measured thresholds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train import build
from no_time_to_train.config import Config, method_settings
from no_time_to_train.data.images import read_image
from no_time_to_train.errors import InputError, Parameter, counted
from no_time_to_train.files.arguments import as_object
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.references.thresholds import ImageEvidence, choose_thresholds, judge_detections
from no_time_to_train.runs.progress import Counter, OnProgress, RunProgress, tell_nobody
from no_time_to_train.settings.walk import settings_of
from no_time_to_train.structures import Category, ReferenceSet, TargetImage

if TYPE_CHECKING:
    from no_time_to_train.references.encoding import EncodedReference
    from no_time_to_train.segmenter import Segmenter


def settings_to_fit_with(segmenter: Segmenter | None, overrides: Sequence[str]) -> Config:
    """Return the settings of a segmenter that was given; those of overrides where there is none.

    Raises:
        InputError: both were given, or one of them is something else.
    """
    if segmenter is None:
        return build.compose_config(overrides)
    from no_time_to_train.segmenter import Segmenter

    as_object(segmenter, Segmenter, "segmenter", "ntt.load_segmenter")
    if overrides:
        raise InputError(
            f"segmenter brings its settings along, so {' '.join(overrides)} beside it would change nothing. Give "
            "settings to ntt.load_segmenter."
        )
    return segmenter.config


def build_memory(
    segmenter: Segmenter,
    references: ReferenceSet,
    on_progress: OnProgress = tell_nobody,
    *,
    measures_thresholds: bool = True,
    on_encoded: Callable[[EncodedReference], object] | None = None,
) -> MemoryBank:
    """Encode the references, and measure thresholds on their images.

    Args:
        segmenter: with loaded models.
        references: from ``load_references``.
        on_progress: is told how far it is.
        measures_thresholds: run the whole pipeline on the reference images, too, as far as
            ``output.threshold_images`` allows.
        on_encoded: called with every reference that was encoded.

    Raises:
        InputError: no reference is usable.
    """
    counts = ", ".join(f"{name} {count}" for name, count in references.counts().items())
    on_progress(RunProgress("references", 0, len(references), f"{counted(len(references), 'reference')}: {counts}"))
    counter = Counter("references", len(references), on_progress)
    encoded: list[EncodedReference] = []

    def keep(item: EncodedReference) -> None:
        if measures_thresholds:
            encoded.append(item)
        if on_encoded is not None:
            on_encoded(item)

    memory = segmenter.build_memory(
        references, on_progress=lambda done, _: counter.advance(done - counter.done), on_encoded=keep
    )
    memory = replace(memory, settings=method_settings(segmenter.config))
    return replace(memory, min_scores=measure_thresholds(segmenter, memory.categories, encoded, on_progress))


def measure_thresholds(
    segmenter: Segmenter,
    categories: Sequence[Category],
    encoded: Sequence[EncodedReference],
    on_progress: OnProgress = tell_nobody,
) -> MinScores | None:
    """Label the reference images without their own references; choose thresholds.

    Args:
        segmenter: with loaded models.
        categories: of the references, in index order.
        encoded: all references, with their prototypes.
        on_progress: is told how far it is.

    Returns:
        The scores; None where they cannot be measured, which ``on_progress`` is told.
    """
    by_image = _spread(_by_image(encoded), segmenter.config.output.threshold_images)
    if not by_image:
        return None
    fewer = Parameter("output.threshold_images", 0)
    why = f"thresholds: the whole pipeline on {counted(len(by_image), 'reference image')} ({fewer} leaves it out)"
    evidence = []
    try:
        _refuse_boxes_of_other_images(segmenter)
        segmenter.proposals.check([_target(path, items) for path, items in by_image.items()])
        on_progress(RunProgress("", 0, 0, why))
        counter = Counter("reference images", len(by_image), on_progress)
        for path, items in by_image.items():
            evidence.append(_evidence(segmenter, categories, encoded, path, items))
            counter.advance()
    except InputError as error:
        on_progress(RunProgress("", 0, 0, f"thresholds cannot be measured on the reference images: {error}"))
        return None
    min_scores = choose_thresholds(evidence)
    on_progress(RunProgress("", 0, 0, _conclusion(min_scores, categories)))
    return min_scores


def _refuse_boxes_of_other_images(segmenter: Segmenter) -> None:
    """Raise InputError where boxes come from a file: it is about the target images, whatever their names."""
    for found in settings_of(segmenter.config):
        if found.key == "proposals.boxes.boxes_file" and found.unused is None and found.value is not None:
            raise InputError(f"{found.key}={found.value} holds boxes of the target images.")


def _conclusion(min_scores: MinScores | None, categories: Sequence[Category]) -> str:
    if min_scores is None:
        return (
            "thresholds cannot be measured: too few annotated objects were found without their own references. "
            "Two references of each category, on different images, are the least."
        )
    return f"thresholds: {min_scores.describe(categories)}"


def _evidence(
    segmenter: Segmenter,
    categories: Sequence[Category],
    encoded: Sequence[EncodedReference],
    path: Path,
    own: Sequence[EncodedReference],
) -> ImageEvidence:
    others = [item for item in encoded if item.reference.image_path != path and item.prototype is not None]
    references = [item.reference for item in own]
    if not others:
        return ImageEvidence((), (), ())
    image = read_image(path, upright=references[0].upright)
    [detections] = segmenter.segment_batch([image], _bank_of(others, categories, segmenter), [_target(path, own)])
    return judge_detections(detections, references, {item.reference.category.id for item in others})


def _bank_of(encoded: Sequence[EncodedReference], categories: Sequence[Category], segmenter: Segmenter) -> MemoryBank:
    """Add the prototypes of some references up to a bank."""
    from no_time_to_train.references.memory_bank_builder import MemoryBankBuilder

    encoder = segmenter.encoder
    builder = MemoryBankBuilder(categories, encoder.feature_dim, segmenter.config.keeps_instances)
    for item in encoded:
        if item.prototype is not None:
            builder.add(item.reference.category, item.prototype)
    return builder.build(encoder_id=encoder.model_id, encoder_image_size=encoder.image_size)


def _by_image(encoded: Sequence[EncodedReference]) -> dict[Path, list[EncodedReference]]:
    grouped: dict[Path, list[EncodedReference]] = {}
    for item in encoded:
        grouped.setdefault(item.reference.image_path, []).append(item)
    return grouped


def _spread(by_image: dict[Path, list[EncodedReference]], most: int) -> dict[Path, list[EncodedReference]]:
    """Choose at most this many images, spread evenly over all."""
    paths = list(by_image)
    if len(paths) <= most:
        return by_image
    return {paths[i * len(paths) // most]: by_image[paths[i * len(paths) // most]] for i in range(most)}


def _target(path: Path, items: Sequence[EncodedReference]) -> TargetImage:
    return TargetImage(path, path.name, items[0].reference.image_id)
