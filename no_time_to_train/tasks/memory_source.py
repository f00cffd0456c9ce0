"""The source of a run's memory bank.

It is references of any kind, or a bank that is finished already.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train import build
from no_time_to_train.config import Config, method_settings
from no_time_to_train.errors import InputError, Parameter
from no_time_to_train.outputs.reference_sheets import write_reference_sheets
from no_time_to_train.references.loading import as_references
from no_time_to_train.references.memory_bank import MemoryBank, as_memory
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.runs.progress import OnProgress, tell_nobody
from no_time_to_train.runs.run import Run
from no_time_to_train.structures import Category, ReferenceInstance, ReferenceSet
from no_time_to_train.tasks.memory_building import build_memory
from no_time_to_train.tasks.threshold_choice import ThresholdChoice

if TYPE_CHECKING:
    from no_time_to_train.references.encoding import EncodedReference
    from no_time_to_train.segmenter import Segmenter

logger = logging.getLogger(__name__)

MEMORY_FILE = "memory.safetensors"
"""In a results folder: the bank that its images are labeled with."""


@dataclass(frozen=True, eq=False)
class MemorySource:
    """References still to be encoded, or a finished memory bank.

    Attributes:
        categories: what the run looks for.
        fingerprint: changes with everything that can change the memory bank but the settings of the run.
        references: to encode; None where there is a bank.
        bank: the finished one; None where there are references.
    """

    categories: tuple[Category, ...]
    fingerprint: str
    references: ReferenceSet | None = None
    bank: MemoryBank | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Return how many references there are of every category, by name."""
        if self.references is not None:
            return self.references.counts()
        assert self.bank is not None  # else there are references
        return self.bank.counts()

    @classmethod
    def of(
        cls,
        references: str | Path | ReferenceSet | None,
        memory: str | Path | MemoryBank | None,
        reference_images: str | Path | None = None,
        categories: Sequence[str] | None = None,
        *,
        upright: bool = True,
    ) -> MemorySource:
        """Read what was given to look for; ``upright`` as of ``load_references``.

        Raises:
            InputError: both or none of the two were given, or it cannot be read.
        """
        if (references is None) == (memory is None):
            names = [Parameter("references", "refs.json"), Parameter("memory", "boats.safetensors")]
            raise InputError(f"give what to look for once: {names[0]} or {names[1]}.", parameters=names)
        if references is not None:
            return cls.from_references(as_references(references, reference_images, categories, upright=upright))
        assert memory is not None  # else there are references
        bank = as_memory(memory)
        return cls(bank.categories, f"memory {bank.fingerprint}", bank=bank)

    @classmethod
    def from_references(cls, references: ReferenceSet) -> MemorySource:
        """Take references that are read already."""
        return cls(references.categories, references_fingerprint(references), references=references)

    @classmethod
    def opened(
        cls,
        references: str | Path | ReferenceSet | None,
        memory: str | Path | MemoryBank | None,
        reference_images: str | Path | None,
        categories: Sequence[str] | None,
        overrides: Sequence[str],
    ) -> tuple[MemorySource, Config]:
        """Read what was given to look for, and compose the settings.

        A finished bank brings its own along. What is wrong with settings is said before references are read. Raises
        InputError as the two do.
        """
        if memory is None or references is not None:
            config = build.compose_config(overrides)
        else:
            memory = as_memory(memory)
            config = build.compose_config_for(memory, overrides)
        upright = config.images.upright
        return cls.of(references, memory, reference_images, categories, upright=upright), config

    def memory(
        self,
        segmenter: Segmenter,
        on_progress: OnProgress = tell_nobody,
        *,
        measures_thresholds: bool = False,
        on_encoded: Callable[[EncodedReference], object] | None = None,
    ) -> MemoryBank:
        """Return the bank, made now if need be.

        Raises InputError where it was made with another encoder.
        """
        if self.references is not None:
            return build_memory(
                segmenter,
                self.references,
                on_progress,
                measures_thresholds=measures_thresholds,
                on_encoded=on_encoded,
            )
        if self.bank is None:
            raise ValueError("a memory source needs references or a bank")
        self.bank.check_encoder(segmenter.encoder)
        return self.bank


def begin_with_memory(
    run: Run,
    source: MemorySource,
    segmenter: Segmenter,
    thresholds: ThresholdChoice,
    chosen: MinScores | None = None,
) -> tuple[MemoryBank, MinScores]:
    """Load the bank, choose thresholds, begin the run, and keep the bank with it.

    It goes into the run's folder, with images of the references. A continued run takes the folder's bank, so that all
    of its images are compared with the same numbers. Where a killed one drew only a part of the images, all are drawn.
    Thresholds are chosen unless they were ``chosen`` before, from a bank that was known without a model.
    """
    path = run.path / MEMORY_FILE
    kept = memory_of_folder(run)
    is_continued = kept is not None
    if kept is not None:
        kept.check_encoder(segmenter.encoder)
    elif run.earlier is not None and path.is_file():
        logger.warning("%s is damaged. It is made again.", path)
    encoded: list[EncodedReference] = []
    memory = kept or source.memory(
        segmenter, run.on_progress, measures_thresholds=thresholds.needs_measuring, on_encoded=encoded.append
    )
    min_scores = chosen or thresholds.choose(run, source.bank or memory)
    if source.bank is not None and thresholds.needs_measuring:
        _say_other_settings(source.bank, segmenter.config)
    run.begin()
    if source.references is not None:
        shown = _with_made_masks(source.references, encoded)
        write_reference_sheets(shown, run.path / "references", keep=is_continued)
    if not is_continued:
        memory.save(path)
    return memory, min_scores


def _say_other_settings(bank: MemoryBank, config: Config) -> None:
    """Say where the thresholds of a finished bank were measured with settings that give other scores."""
    if bank.min_scores is None:
        return
    now = method_settings(config)
    changed = [
        f"{key}={earlier} (now {now[key]})"
        for key, earlier in bank.settings.items()
        if key in now and now[key] != earlier and not key.startswith(("output.", "tracking."))
    ]
    if changed:
        given = Parameter("min_score", 0.5)
        logger.warning(
            "the thresholds of the memory were measured with %s: make the memory anew with these settings, or give %s, "
            "where they do not fit.",
            ", ".join(changed),
            given,
        )


def memory_of_folder(run: Run) -> MemoryBank | None:
    """Return the bank in a continued run's folder; None where there is none that can be read."""
    path = run.path / MEMORY_FILE
    if run.earlier is None or not path.is_file():
        return None
    try:
        return MemoryBank.load(path)
    except InputError:
        return None


def _with_made_masks(references: ReferenceSet, encoded: Sequence[EncodedReference]) -> ReferenceSet:
    """Return the references with the masks that the mask model made of boxes."""
    made = {_key(item.reference): item.reference for item in encoded}
    instances = tuple(made.get(_key(instance), instance) for instance in references.instances)
    return ReferenceSet(references.categories, instances)


def _key(instance: ReferenceInstance) -> tuple[object, ...]:
    return (instance.image_path, instance.annotation_id, instance.category.id, instance.box_xyxy)


def references_fingerprint(references: ReferenceSet) -> str:
    """Hash references, wherever their images lie, as 12 hex digits.

    They are their categories, boxes, masks and the bytes of the image files.
    """
    digests: dict[Path, str] = {}
    for path in dict.fromkeys(instance.image_path for instance in references.instances):
        digests[path] = hashlib.sha256(path.read_bytes()).hexdigest()
    content = {
        "categories": [[category.id, category.name] for category in references.categories],
        "instances": [
            [
                digests[instance.image_path],
                instance.category.id,
                instance.box_xyxy,
                None if instance.mask is None else hashlib.sha256(instance.mask["counts"]).hexdigest(),
            ]
            for instance in references.instances
        ],
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
