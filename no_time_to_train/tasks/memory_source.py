"""Where a run's memory bank comes from: references of any kind, or a file of an earlier ``nttt fit``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.errors import InputError
from no_time_to_train.outputs.reference_pictures import write_reference_pictures
from no_time_to_train.references.loading import inline_references, join_references, load_references
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.runs.progress import Progress
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import Category, ReferenceSet


@dataclass(frozen=True)
class ReferenceOptions:
    """How the references were named on the command line.

    Attributes:
        path: COCO file, or folder.
        images: folder of its images, None: found beside it.
        inline: ``image:category:x1,y1,x2,y2`` texts, in place of ``path`` or added to it.
        category_names: the ones of ``path`` to use, None: all.
        crowds_are_objects: see ``load_references``.
    """

    path: Path | None = None
    images: Path | None = None
    inline: tuple[str, ...] = ()
    category_names: tuple[str, ...] | None = None
    crowds_are_objects: bool = False

    def read(self) -> ReferenceSet:
        """Read them. Raises InputError where none were given."""
        if self.path is None:
            if not self.inline:
                raise InputError("give references: as a file or folder, as boxes of images, or both.")
            return inline_references(self.inline)
        references = load_references(
            self.path, self.images, categories=self.category_names, crowds_are_objects=self.crowds_are_objects
        )
        return join_references(references, inline_references(self.inline)) if self.inline else references


@dataclass(frozen=True, eq=False)
class MemorySource:
    """References still to be encoded, or a finished memory bank.

    Attributes:
        categories: what the run looks for.
        fingerprint: changes with everything that can change the memory bank but the settings of the run.
    """

    categories: tuple[Category, ...]
    fingerprint: str
    references: ReferenceSet | None = None
    bank: MemoryBank | None = None

    @classmethod
    def from_references(cls, references: ReferenceSet) -> MemorySource:
        return cls(references.categories, references_fingerprint(references), references=references)

    @classmethod
    def from_file(cls, path: Path) -> MemorySource:
        bank = MemoryBank.load(path)
        return cls(bank.categories, f"memory {bank.fingerprint}", bank=bank)

    def memory(self, segmenter: Segmenter) -> MemoryBank:
        """The bank, made now if need be. Raises InputError where it was made with another encoder."""
        if self.references is not None:
            return build_memory(segmenter, self.references)
        if self.bank is None:
            raise ValueError("a memory source needs references or a bank")
        self.bank.check_encoder(segmenter.encoder)
        return self.bank


def memory_in_folder(source: MemorySource, segmenter: Segmenter, folder: Path) -> MemoryBank:
    """The bank of a results folder; the first run puts it there, with pictures of the references.

    A continued run takes the folder's, so that all of its images are compared with the same numbers.
    """
    path = folder / "memory.safetensors"
    if path.is_file():
        memory = MemoryBank.load(path)
        memory.check_encoder(segmenter.encoder)
        return memory
    memory = source.memory(segmenter)
    memory.save(path)
    if source.references is not None:
        write_reference_pictures(source.references, folder / "references")
    return memory


def build_memory(segmenter: Segmenter, references: ReferenceSet) -> MemoryBank:
    """Encode the references, with progress."""
    counts = ", ".join(f"{name} {count}" for name, count in references.counts().items())
    print(f"{len(references)} references: {counts}", flush=True)
    progress = Progress(len(references), "references")
    try:
        return segmenter.build_memory(references, on_progress=lambda done, _: progress.advance(done - progress.done))
    finally:
        progress.end()


def references_fingerprint(references: ReferenceSet) -> str:
    """12 hex digits of categories, boxes, masks and the bytes of the image files; not of where they lie."""
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
