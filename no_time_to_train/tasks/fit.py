"""Turn references into a memory bank of kilobytes: ``nttt fit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train import build
from no_time_to_train.errors import InputError, Parameter
from no_time_to_train.files.arguments import as_function, as_path
from no_time_to_train.references.loading import as_references
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.runs.progress import OnProgress, tell_nobody
from no_time_to_train.settings.overrides import with_named
from no_time_to_train.structures import ReferenceSet
from no_time_to_train.tasks.memory_building import build_memory, settings_to_fit_with

if TYPE_CHECKING:
    from no_time_to_train.segmenter import Segmenter


def fit(
    references: str | Path | ReferenceSet,
    *,
    out: str | Path | None = None,
    reference_images: str | Path | None = None,
    categories: Sequence[str] | None = None,
    preset: str | None = None,
    device: str | None = None,
    overrides: Sequence[str] = (),
    segmenter: Segmenter | None = None,
    on_progress: OnProgress = tell_nobody,
) -> MemoryBank:
    """Encode references into the memory bank that other images are labeled with.

    The bank holds the settings, and thresholds measured on the reference images (``output.threshold_images=0`` leaves
    them out): :func:`label_folder` needs nothing else.

    Args:
        references: COCO file, folder, or what ``load_references`` returned.
        out: file to write it to, ends in ``.safetensors``; None: nothing is written.
        reference_images: folder of the images; None: found beside the references.
        categories: names of the categories to use; None: all.
        preset: as of ``load_segmenter``.
        device: as of ``load_segmenter``.
        overrides: settings as ``"key=value"``.
        segmenter: with loaded models, and the settings in place of these; None: one is loaded by the settings.
        on_progress: is told how far it is.

    Raises:
        InputError: no reference is usable, or ``out`` has another suffix.

    Example:
        >>> memory = ntt.fit("references.json", out="boats.safetensors", preset="demo")
        >>> [category.name for category in memory.categories]
        ['striped_star', 'dotted_mushroom']
    """
    file = as_path(out, "out", optional=True)
    if file is not None and file.suffix != ".safetensors":
        came = Parameter("out", file)
        raise InputError(
            f"{came}: the memory bank is a safetensors file, so its name ends in .safetensors.", parameters=[came]
        )
    as_function(on_progress, "on_progress")
    overrides = with_named(overrides, preset=preset, device=device)
    config = settings_to_fit_with(segmenter, overrides)
    reference_set = as_references(references, reference_images, categories, upright=config.images.upright)
    segmenter = segmenter or build.build_segmenter(config)
    memory = build_memory(segmenter, reference_set, on_progress)
    if file is not None:
        memory.save(file)
    return memory
