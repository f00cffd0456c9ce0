"""The memory bank: one prototype per category, kept in a file.

Source: "No time to train!" (arXiv 2507.02798), equations 1 and 2. Only the prototypes are kept, not the patches of the
references: kilobytes, whatever their number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.files.arguments import as_path
from no_time_to_train.files.atomic import replacing
from no_time_to_train.files.json_files import is_text, is_whole_number
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category, describe_references

if TYPE_CHECKING:
    from torch import Tensor

    from no_time_to_train.models.interfaces import FeatureEncoder

# torch is imported by what computes: a file that is not there is told before the seconds that takes.

_FORMAT_VERSION = 2
_READ_VERSIONS = (1, 2)
"""The first has neither settings nor thresholds."""
_METADATA_KEY = "no_time_to_train.references.memory_bank"
_OLD_METADATA_KEY = "no_time_to_train.memory_bank"


def as_memory(memory: MemoryBank | str | Path) -> MemoryBank:
    """Return a memory bank given as such, or read it from its file.

    Raises:
        InputError: neither; or as ``MemoryBank.load`` does.
    """
    if isinstance(memory, MemoryBank):
        return memory
    if isinstance(memory, str | Path):
        return MemoryBank.load(memory)
    raise InputError(
        f"memory must be a MemoryBank or its file, got {type(memory).__name__}. Make one of references with "
        "segmenter.build_memory(references)."
    )


@dataclass(frozen=True, eq=False)
class MemoryBank:
    """All that is remembered of the references.

    Attributes:
        categories: C categories; the position is the ``category_index``.
        class_prototypes: (C, D) float32, mean of the category's instance prototypes, which are not normalized before;
            zeros for a category without references.
        instance_counts: (C,) int64, references behind each prototype.
        encoder_id: ``model_id`` of the encoder that made them.
        encoder_image_size: side of its input in pixels.
        mask_model_id: ``model_id`` of the model that made masks from boxes; None where every reference had a mask.
        config_hash: of the settings the references were read with.
        instance_prototypes: (M, D) float32, or None where they were not kept.
        instance_category_indices: (M,) int64, or None.
        settings: of the method it was made for, by dotted name; empty: not known. They change no prototype.
        min_scores: the thresholds measured on the reference images; None: not measured.

    Example:
        >>> memory = ntt.MemoryBank.load("memory.safetensors")
        >>> [category.name for category in memory.categories], memory.instance_counts.tolist()
        (['striped_star', 'dotted_mushroom'], [2, 2])
    """

    categories: tuple[Category, ...]
    class_prototypes: Tensor
    instance_counts: Tensor
    encoder_id: str
    encoder_image_size: int
    mask_model_id: str | None = None
    config_hash: str = ""
    instance_prototypes: Tensor | None = None
    instance_category_indices: Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    min_scores: MinScores | None = None

    def __post_init__(self) -> None:
        if self.class_prototypes.ndim != 2 or self.class_prototypes.shape[0] != len(self.categories):
            raise ValueError(
                f"class_prototypes must be ({len(self.categories)}, D), got {tuple(self.class_prototypes.shape)}"
            )
        if self.instance_counts.shape != (len(self.categories),):
            raise ValueError(
                f"instance_counts must be ({len(self.categories)},), got {tuple(self.instance_counts.shape)}"
            )
        if (self.instance_prototypes is None) != (self.instance_category_indices is None):
            raise ValueError("instance_prototypes and instance_category_indices go together")
        if self.instance_prototypes is not None and self.instance_category_indices is not None:
            expected = (len(self.instance_category_indices), self.class_prototypes.shape[1])
            if self.instance_prototypes.shape != expected:
                raise ValueError(f"instance_prototypes must be {expected}, got {tuple(self.instance_prototypes.shape)}")

    def __repr__(self) -> str:
        """Return counts and the encoder in one line: thousands of numbers help nobody."""
        references = describe_references(self.counts())
        return f"MemoryBank({references}; {self.class_prototypes.shape[1]} features of {self.encoder_id})"

    def counts(self) -> dict[str, int]:
        """Return the number of references of every category, by name."""
        names = [category.name for category in self.categories]
        return dict(zip(names, self.instance_counts.tolist(), strict=True))

    def _check_contents(self) -> None:
        """Raise ValueError where a file holds what no bank of references can be."""
        import torch

        if not all(is_whole_number(c.id) and is_text(c.name) and c.name for c in self.categories):
            raise ValueError("category ids must be whole numbers, and names text")
        for attribute in ("id", "name"):
            if len({getattr(category, attribute) for category in self.categories}) < len(self.categories):
                raise ValueError(f"categories must have different {attribute}s")
        if not isinstance(self.settings, Mapping):
            raise ValueError("settings must be a mapping")
        if not isinstance(self.encoder_id, str) or not is_whole_number(self.encoder_image_size):
            raise ValueError("encoder_id must be text, and encoder_image_size a whole number")
        for name, prototypes in (("class", self.class_prototypes), ("instance", self.instance_prototypes)):
            if prototypes is not None and not (prototypes.dtype == torch.float32 and prototypes.isfinite().all()):
                raise ValueError(f"{name}_prototypes must be finite float32 numbers")
        counts, indices = self.instance_counts, self.instance_category_indices
        if counts.dtype != torch.int64 or (counts < 0).any() or not counts.any():
            raise ValueError("instance_counts must be int64 of at least 0, one of them above 0")
        if indices is not None and (
            indices.dtype != torch.int64
            or (indices < 0).any()
            or not torch.equal(indices.bincount(minlength=len(counts)), counts)
        ):
            raise ValueError("instance_category_indices must be int64 and agree with instance_counts")

    @property
    def fingerprint(self) -> str:
        """Hash the prototypes as 12 hex digits, equal on every machine.

        Settings and thresholds do not count.
        """
        identity = {"format_version": 1, **self._identity()}  # banks keep the fingerprints they had in the first format
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
        for name, tensor in sorted(self._tensors().items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        return digest.hexdigest()[:12]

    def save(self, path: str | Path) -> None:
        """Write a safetensors file.

        An interrupted write leaves the old file as it was.
        """
        from safetensors.torch import save

        with replacing(Path(path), shared=True) as unfinished:
            unfinished.write_bytes(save(self._tensors(), metadata={_METADATA_KEY: self._metadata_json()}))

    @classmethod
    def load(cls, path: str | Path) -> MemoryBank:
        """Read what :meth:`save` wrote.

        Raises:
            InputFileNotFoundError: there is no such file.
            InputError: the file is damaged, no memory bank, or written by a newer version.
        """
        path = as_path(path, "memory")
        if not path.is_file():
            raise InputFileNotFoundError(f"{path}: no such memory bank. Make one with nttt fit refs/ -o {path}.")
        import torch  # noqa: F401 (else safe_open would, and Ctrl-C meanwhile is more than its Rust can take)

        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                text = metadata.get(_METADATA_KEY) or metadata.get(_OLD_METADATA_KEY)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{path} is not a safetensors file or is damaged ({error}). Run nttt fit again."
            ) from error
        if text is None:
            raise InputError(f"{path} is a safetensors file but no memory bank. Make one with nttt fit.")
        return cls._from_parts(text, tensors, path)

    def check_encoder(self, encoder: FeatureEncoder) -> None:
        """Raise InputError unless this encoder's features can be compared with the prototypes."""
        if encoder.model_id != self.encoder_id:
            raise InputError(
                f"The memory bank was made with {self.encoder_id}; this run uses {encoder.model_id}. "
                "Drop the override or run nttt fit again."
            )
        if encoder.image_size != self.encoder_image_size:
            raise InputError(
                f"The memory bank was made from images of {self.encoder_image_size} pixels a side; this run's encoder "
                f"takes {encoder.image_size}. Drop the override or run nttt fit again."
            )
        if encoder.feature_dim != self.class_prototypes.shape[1]:
            raise InputError(
                f"The memory bank holds features of size {self.class_prototypes.shape[1]}, but {encoder.model_id} "
                f"gives {encoder.feature_dim}. Run nttt fit again."
            )

    def combined_with(self, other: MemoryBank) -> MemoryBank:
        """Return the bank of the references of both.

        It is as if they had been read together.

        Exact, since a class prototype is the mean of its instances and their number is known. Categories of the other
        bank that are new come after this one's. Instances are kept where both banks hold them. Thresholds are not: they
        hold for the references that they were measured with.

        Raises:
            InputError: the banks come from different encoders, or give one category id two names.
        """
        if (self.encoder_id, self.encoder_image_size) != (other.encoder_id, other.encoder_image_size):
            raise InputError(
                f"Two memory banks go together only where one encoder made both, got {self.encoder_id} at "
                f"{self.encoder_image_size} and {other.encoder_id} at {other.encoder_image_size}. Encode one anew."
            )
        names = {category.id: category.name for category in self.categories}
        for category in other.categories:
            if names.get(category.id, category.name) != category.name:
                raise InputError(
                    f"Category {category.id} is '{names[category.id]}' in one memory bank and '{category.name}' in the "
                    "other. Give categories the same ids in both."
                )
        import torch

        categories = (*self.categories, *(c for c in other.categories if c.id not in names))
        positions = {category.id: position for position, category in enumerate(categories)}
        sums = torch.zeros(len(categories), self.class_prototypes.shape[1], dtype=torch.float64)
        counts = torch.zeros(len(categories), dtype=torch.int64)
        instances, instance_indices = [], []
        for bank in (self, other):
            rows = torch.tensor([positions[category.id] for category in bank.categories], dtype=torch.int64)
            sums.index_add_(0, rows, bank.class_prototypes.double() * bank.instance_counts[:, None])
            counts.index_add_(0, rows, bank.instance_counts)
            if bank.instance_prototypes is not None and bank.instance_category_indices is not None:
                instances.append(bank.instance_prototypes)
                instance_indices.append(rows[bank.instance_category_indices])
        keeps_instances = len(instances) == 2
        return replace(
            self,
            categories=categories,
            class_prototypes=(sums / counts.clamp(min=1)[:, None]).float(),
            instance_counts=counts,
            mask_model_id=self.mask_model_id or other.mask_model_id,
            instance_prototypes=torch.cat(instances) if keeps_instances else None,
            instance_category_indices=torch.cat(instance_indices) if keeps_instances else None,
            min_scores=None,
        )

    def class_means(self) -> tuple[Tensor, Tensor]:
        """Return (P, D) class prototypes and their (P,) category indices.

        They are not normalized, and of the P categories that have references.
        """
        category_indices = self.instance_counts.nonzero()[:, 0]
        return self.class_prototypes[category_indices], category_indices

    def class_centers(self, k: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return (P, D) k-means centers and their (P,) category indices.

        They are those of every category's instances, at most k each.

        Raises:
            InputError: the instances were not kept.
        """
        import torch

        from no_time_to_train.ops.clustering import kmeans_centers

        vectors, category_indices = self.instances()
        centers, center_indices = [vectors[:0]], [category_indices[:0]]
        for index in category_indices.unique().tolist():
            of_category = kmeans_centers(vectors[category_indices == index], k, seed)
            centers.append(of_category)
            center_indices.append(torch.full((len(of_category),), index))
        return torch.cat(centers), torch.cat(center_indices)

    def instances(self) -> tuple[Tensor, Tensor]:
        """Return (M, D) instance prototypes and their (M,) category indices.

        Raises:
            InputError: they were not kept.
        """
        if self.instance_prototypes is None or self.instance_category_indices is None:
            raise InputError(
                "This memory bank holds one prototype per category, not the instances that matching=nearest_centers "
                "and matching=nearest_instances need. Build it again with references.keep_instances=true."
            )
        return self.instance_prototypes, self.instance_category_indices

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {
            "class_prototypes": self.class_prototypes,
            "instance_counts": self.instance_counts,
            "instance_prototypes": self.instance_prototypes,
            "instance_category_indices": self.instance_category_indices,
        }
        return {name: tensor.cpu().contiguous() for name, tensor in tensors.items() if tensor is not None}

    def _metadata_json(self) -> str:
        metadata = {
            "format_version": _FORMAT_VERSION,
            **self._identity(),
            "settings": dict(self.settings),
            "min_scores": None if self.min_scores is None else self.min_scores.to_json(),
        }
        return json.dumps(metadata, sort_keys=True)

    def _identity(self) -> dict[str, Any]:
        return {
            "categories": [{"id": category.id, "name": category.name} for category in self.categories],
            "encoder_id": self.encoder_id,
            "encoder_image_size": self.encoder_image_size,
            "mask_model_id": self.mask_model_id,
            "config_hash": self.config_hash,
        }

    @classmethod
    def _from_parts(cls, text: str, tensors: dict[str, Tensor], path: Path) -> MemoryBank:
        try:
            metadata: dict[str, Any] = json.loads(text)
            version = metadata.pop("format_version")
            if version not in _READ_VERSIONS:
                raise InputError(
                    f"{path} has memory bank format {version}; this program reads {_FORMAT_VERSION} and older. Update "
                    "no-time-to-train, or run nttt fit again."
                )
            min_scores = metadata.pop("min_scores", None)
            categories = tuple(Category(entry["id"], entry["name"]) for entry in metadata.pop("categories"))
            fields: dict[str, Any] = metadata | tensors
            bank = cls(
                categories=categories,
                min_scores=None if min_scores is None else MinScores.from_json(min_scores),
                **fields,
            )
            bank._check_contents()
            return bank
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(f"{path} is a damaged memory bank ({error}). Run nttt fit again.") from error
