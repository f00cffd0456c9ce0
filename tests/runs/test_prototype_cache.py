"""A prototype comes out of the cache as it went in, for the same reference and settings only."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from no_time_to_train.build import compose_config
from no_time_to_train.references.encoding import EncodedReference
from no_time_to_train.runs.prototype_cache import PrototypeCache, prototype_fingerprint, reference_keys
from no_time_to_train.structures import Category, ReferenceInstance

BOX = (1.0, 2.0, 30.0, 40.0)


@pytest.fixture
def reference(tmp_path: Path) -> ReferenceInstance:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    return ReferenceInstance(path, 1, 1, Category(1, "boat"), BOX, {"size": [50, 60], "counts": b"abc"})


@pytest.mark.parametrize("prototype", [torch.tensor([0.1, -2.0, 3e-8]), None])
def test_comes_back_as_it_was(tmp_path: Path, reference: ReferenceInstance, prototype: torch.Tensor | None) -> None:
    cache = PrototypeCache(tmp_path / "cache", "f00d")
    assert cache.load("00ff", reference) is None
    cache.store("00ff", EncodedReference(reference, prototype, mask_area_px=12, crop_size_px=32))
    loaded = cache.load("00ff", reference)
    assert loaded is not None and loaded.reference is reference
    assert (loaded.mask_area_px, loaded.crop_size_px) == (12, 32)
    assert loaded.prototype is None if prototype is None else torch.equal(loaded.prototype, prototype)
    assert PrototypeCache(tmp_path / "cache", "beef").load("00ff", reference) is None


def test_a_damaged_entry_is_reported_and_absent(tmp_path: Path, reference: ReferenceInstance, caplog) -> None:
    cache = PrototypeCache(tmp_path / "cache", "f00d")
    cache.store("00ff", EncodedReference(reference, torch.ones(3), 12, 32))
    [path] = (tmp_path / "cache").rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-3])
    with caplog.at_level(logging.WARNING):
        assert cache.load("00ff", reference) is None
    assert caplog.text.count("is not a usable cache entry") == 1


def test_keys_change_with_picture_box_and_mask_only(reference: ReferenceInstance) -> None:
    [key] = reference_keys([reference])
    again = replace(reference, annotation_id=7, image_id=8, category=Category(2, "bird"))
    assert reference_keys([again]) == [key]
    for change in (
        {"box_xyxy": (1.0, 2.0, 30.0, 41.0)},
        {"mask": {"size": [50, 60], "counts": b"abd"}},
        {"mask": None},
    ):
        assert reference_keys([replace(reference, **change)]) != [key]
    reference.image_path.write_bytes(b"another")
    assert reference_keys([reference]) != [key]


def test_masks_made_of_boxes_depend_on_the_other_boxes(reference: ReferenceInstance) -> None:
    boxed = replace(reference, mask=None)
    other = replace(boxed, box_xyxy=(0.0, 0.0, 9.0, 9.0))
    masked, alone = reference_keys([reference])[0], reference_keys([boxed])[0]
    assert reference_keys([boxed, other])[0] != alone
    assert reference_keys([boxed, reference]) == [alone, masked]


@pytest.mark.parametrize(
    ("override", "changes"),
    [
        ("encoder.image_size=238", True),
        ("encoder=dinov2_small", True),
        ("references.context_ratio=0.3", True),
        ("precision=bfloat16", True),
        ("merging=soft", False),
        ("proposals.points_per_side=3", False),
        ("encoder.batch_size=3", False),
        ("references.keep_instances=true", False),
    ],
)
def test_fingerprint_follows_what_changes_prototypes(override: str, changes: bool) -> None:
    base = prototype_fingerprint(compose_config(["preset=demo", "device=cpu"]), {})
    changed = prototype_fingerprint(compose_config(["preset=demo", "device=cpu", override]), {})
    assert (changed != base) == changes


def test_fingerprint_follows_the_weights() -> None:
    config = compose_config(["preset=demo", "device=cpu"])
    hashes = [{}, {"dinov2_demo": {"a.safetensors": "1"}}, {"dinov2_demo": {"a.safetensors": "2"}}]
    assert len({prototype_fingerprint(config, weights) for weights in hashes}) == 3
