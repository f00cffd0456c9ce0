"""Prototypes do not depend on who encodes them, with whom, or on whether they were kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from no_time_to_train.config import ReferencesConfig
from no_time_to_train.references import crops
from no_time_to_train.references.encoding import build_memory_bank, combine_references
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.runs.prototype_cache import PrototypeCache
from no_time_to_train.runs.reference_encoding import encode_share, in_reference_order, share_size
from no_time_to_train.structures import ReferenceInstance, ReferenceSet
from tests.small_benchmark import make_plan
from tests.test_segmenter import ColorEncoder, SquareMaskModel

SETTINGS = ReferencesConfig()


class CountingEncoder(ColorEncoder):
    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        self.batch_sizes.append(len(images))
        return super().encode(images)


@pytest.fixture
def references(tmp_path: Path) -> ReferenceSet:
    """Six references of three categories on five images."""
    return make_plan(tmp_path).references


def bank(references: ReferenceSet, world_size: int, cache: PrototypeCache | None = None) -> MemoryBank:
    encoder, mask_model = ColorEncoder(), SquareMaskModel()
    shares = [
        encode_share(references, encoder, mask_model, SETTINGS, rank=rank, world_size=world_size, cache=cache)
        for rank in range(world_size)
    ]
    return combine_references(
        references,
        in_reference_order(shares),
        encoder,
        mask_model=mask_model,
        config=SETTINGS,
        keep_instances=True,
    )


@pytest.mark.parametrize("world_size", [2, 3, 4, 5, 6, 9])
def test_any_number_of_processes_gives_the_same_bank(references: ReferenceSet, world_size: int) -> None:
    assert bank(references, world_size).fingerprint == bank(references, 1).fingerprint
    sizes = [share_size(references, rank, world_size) for rank in range(world_size)]
    assert sum(sizes) == len(references) == 6


def test_it_is_the_bank_of_the_plain_way(references: ReferenceSet) -> None:
    plain = build_memory_bank(
        references, ColorEncoder(), mask_model=SquareMaskModel(), config=SETTINGS, batch_size=1, keep_instances=True
    )
    assert bank(references, 3).fingerprint == plain.fingerprint


def test_an_unreadable_image_is_left_out_whoever_meets_it(references: ReferenceSet) -> None:
    references.instances[0].image_path.write_text("broken")
    references.instances[-1].image_path.unlink()
    assert bank(references, 4).instance_counts.sum() == 4
    assert bank(references, 4).fingerprint == bank(references, 1).fingerprint


def test_a_second_run_encodes_nothing(references: ReferenceSet, tmp_path: Path) -> None:
    cache = PrototypeCache(tmp_path / "cache", "f00d")
    assert bank(references, 2, cache).fingerprint == bank(references, 1).fingerprint
    encoder, progress = CountingEncoder(), []
    share = encode_share(references, encoder, SquareMaskModel(), SETTINGS, cache=cache, on_progress=progress.append)
    assert encoder.batch_sizes == [] and progress == [1, 2, 1, 1, 1]
    fresh = encode_share(references, encoder, SquareMaskModel(), SETTINGS)
    assert encoder.batch_sizes == [1] * 6
    for kept, made in zip(in_reference_order([share]), in_reference_order([fresh]), strict=True):
        assert kept.reference is made.reference
        assert kept.prototype is not None and torch.equal(kept.prototype, made.prototype)


def test_only_new_references_are_encoded(references: ReferenceSet, tmp_path: Path) -> None:
    cache = PrototypeCache(tmp_path / "cache", "f00d")
    few = replace(references, instances=references.instances[:4])
    encode_share(few, ColorEncoder(), SquareMaskModel(), SETTINGS, cache=cache)
    encoder = CountingEncoder()
    encode_share(references, encoder, SquareMaskModel(), SETTINGS, cache=cache)
    assert len(encoder.batch_sizes) == 2
    references.instances[0].image_path.write_bytes(references.instances[4].image_path.read_bytes())
    encode_share(references, encoder, SquareMaskModel(), SETTINGS, cache=cache)
    assert len(encoder.batch_sizes) == 3  # another picture under the old name


@pytest.mark.parametrize(("without_mask", "num_encoded"), [((), 1), ((0,), 1), ((1,), 2), ((0, 1), 2)])
def test_of_an_image_only_new_references_are_encoded_where_masks_allow(
    references: ReferenceSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_mask: tuple[int, ...],
    num_encoded: int,
) -> None:
    monkeypatch.setattr(crops, "masks_from_boxes", _boxes_as_masks)
    cache, encoder = PrototypeCache(tmp_path / "cache", "f00d"), CountingEncoder()
    same_image = references.instances[1:3]
    assert len({instance.image_path for instance in same_image}) == 1
    one, both = (
        replace(references, instances=tuple(_maybe_without_mask(same_image, without_mask)[:count])) for count in (1, 2)
    )
    encode_share(one, ColorEncoder(), SquareMaskModel(), SETTINGS, cache=cache)
    [share] = encode_share(both, encoder, SquareMaskModel(), SETTINGS, cache=cache).values()
    assert len(encoder.batch_sizes) == num_encoded
    [fresh] = encode_share(both, ColorEncoder(), SquareMaskModel(), SETTINGS).values()
    assert [item.mask_area_px for item in share] == [item.mask_area_px for item in fresh]
    for kept, made in zip(share, fresh, strict=True):
        assert kept.prototype is not None and made.prototype is not None
        assert kept.reference.box_xyxy == made.reference.box_xyxy and torch.equal(kept.prototype, made.prototype)


def _boxes_as_masks(mask_model: object, image: np.ndarray, boxes_xyxy: Sequence[Any], **_: object) -> list[np.ndarray]:
    masks = [np.zeros(image.shape[:2], bool) for _ in boxes_xyxy]
    for mask, (left, top, right, bottom) in zip(masks, boxes_xyxy, strict=True):
        mask[int(top) : int(bottom), int(left) : int(right)] = True
    return masks


def _maybe_without_mask(
    instances: Sequence[ReferenceInstance], without_mask: Collection[int]
) -> list[ReferenceInstance]:
    return [replace(item, mask=None) if i in without_mask else item for i, item in enumerate(instances)]


def test_an_image_that_cannot_be_read_leaves_nothing_in_the_cache(references: ReferenceSet, tmp_path: Path) -> None:
    cache = PrototypeCache(tmp_path / "cache", "f00d")
    for instance, damage in zip(references.instances, (Path.unlink, lambda path: path.write_text("x")), strict=False):
        damage(instance.image_path)
        one = replace(references, instances=(instance,))
        assert in_reference_order([encode_share(one, ColorEncoder(), SquareMaskModel(), SETTINGS, cache=cache)]) == []
    assert not (tmp_path / "cache").exists()
