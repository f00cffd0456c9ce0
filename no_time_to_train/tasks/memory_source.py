"""The source of a run's memory bank.

It is references of any kind, or a bank that is finished already.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.errors import InputError, Parameter
from no_time_to_train.outputs.reference_pictures import write_reference_pictures
from no_time_to_train.references.loading import as_references
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.runs.progress import Counter, OnProgress, RunProgress, tell_nobody
from no_time_to_train.runs.run import Run
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import Category, ReferenceSet


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
        bank = memory if isinstance(memory, MemoryBank) else MemoryBank.load(Path(str(memory)))
        return cls(bank.categories, f"memory {bank.fingerprint}", bank=bank)

    @classmethod
    def from_references(cls, references: ReferenceSet) -> MemorySource:
        """Take references that are read already."""
        return cls(references.categories, references_fingerprint(references), references=references)

    def memory(self, segmenter: Segmenter, on_progress: OnProgress = tell_nobody) -> MemoryBank:
        """Return the bank, made now if need be.

        Raises InputError where it was made with another encoder.
        """
        if self.references is not None:
            return build_memory(segmenter, self.references, on_progress)
        if self.bank is None:
            raise ValueError("a memory source needs references or a bank")
        self.bank.check_encoder(segmenter.encoder)
        return self.bank


def begin_with_memory(run: Run, source: MemorySource, segmenter: Segmenter) -> MemoryBank:
    """Load the bank, begin the run, and keep the bank with it.

    It goes into the run's folder, with images of the references.

    A continued run takes the folder's, so that all of its images are compared with the same numbers. Where a killed one
    drew only a part of the pictures, all are drawn.
    """
    path = run.path / "memory.safetensors"
    is_continued = run.earlier is not None and path.is_file()
    if is_continued:
        memory = MemoryBank.load(path)
        memory.check_encoder(segmenter.encoder)
    else:
        memory = source.memory(segmenter, run.on_progress)
    run.begin()
    if source.references is not None:
        write_reference_pictures(source.references, run.path / "references", keep=is_continued)
    if not is_continued:
        memory.save(path)
    return memory


def build_memory(segmenter: Segmenter, references: ReferenceSet, on_progress: OnProgress = tell_nobody) -> MemoryBank:
    """Encode the references, with progress."""
    counts = ", ".join(f"{name} {count}" for name, count in references.counts().items())
    on_progress(RunProgress("references", 0, len(references), f"{len(references)} references: {counts}"))
    counter = Counter("references", len(references), on_progress)
    return segmenter.build_memory(references, on_progress=lambda done, _: counter.advance(done - counter.done))


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
