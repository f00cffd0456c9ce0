"""Add instance prototypes up to a memory bank."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from no_time_to_train.errors import InputError
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.structures import Category


class MemoryBankBuilder:
    """Sums of instance prototypes, added as they come.

    They are in float64: their order matters only below float32's rounding.

    Args:
        categories: C categories in index order.
        feature_dim: D.
        keep_instances: keep every instance prototype too.
    """

    def __init__(self, categories: Sequence[Category], feature_dim: int, keep_instances: bool = False) -> None:
        self._categories = tuple(categories)
        self._index_by_id = {category.id: index for index, category in enumerate(categories)}
        self._sums = torch.zeros(len(categories), feature_dim, dtype=torch.float64)
        self._counts = torch.zeros(len(categories), dtype=torch.int64)
        self._instances: list[tuple[int, Tensor]] | None = [] if keep_instances else None

    @property
    def num_instances(self) -> int:
        """Count the prototypes added so far."""
        return int(self._counts.sum())

    def count(self, category: Category) -> int:
        """Count the prototypes added so far for this category."""
        return int(self._counts[self._index_by_id[category.id]])

    def add(self, category: Category, prototype: Tensor) -> None:
        """Add one instance prototype (D,), not normalized.

        Raises:
            InputError: it holds infinite values or NaN, which would spoil the category silently.
        """
        prototype = prototype.detach().to("cpu", torch.float32)
        if not prototype.isfinite().all():
            raise InputError(
                f"The encoder gave features that are not finite numbers for a reference of '{category.name}'. "
                "Use precision=float32 or precision=bfloat16."
            )
        index = self._index_by_id[category.id]
        self._sums[index] += prototype
        self._counts[index] += 1
        if self._instances is not None:
            self._instances.append((index, prototype))

    def build(
        self, *, encoder_id: str, encoder_image_size: int, mask_model_id: str | None = None, config_hash: str = ""
    ) -> MemoryBank:
        """Build the bank of what was added; arguments of :class:`MemoryBank`."""
        instance_prototypes = instance_category_indices = None
        if self._instances is not None:
            no_instance = self._sums.new_zeros(0, self._sums.shape[1], dtype=torch.float32)
            instance_prototypes = torch.stack([p for _, p in self._instances]) if self._instances else no_instance
            instance_category_indices = torch.tensor([index for index, _ in self._instances], dtype=torch.int64)
        return MemoryBank(
            categories=self._categories,
            class_prototypes=(self._sums / self._counts.clamp(min=1)[:, None]).float(),
            instance_counts=self._counts.clone(),
            encoder_id=encoder_id,
            encoder_image_size=encoder_image_size,
            mask_model_id=mask_model_id,
            config_hash=config_hash,
            instance_prototypes=instance_prototypes,
            instance_category_indices=instance_category_indices,
        )
