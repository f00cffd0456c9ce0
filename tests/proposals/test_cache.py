"""What comes out of the cache is what went in, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from no_time_to_train.build import compose_config
from no_time_to_train.errors import InputError
from no_time_to_train.proposals.cache import ProposalCache, image_key, proposal_fingerprint
from no_time_to_train.proposals.pooled import PooledProposals
from no_time_to_train.structures import TargetImage

SIZE_HW = (30, 50)


def make_pooled(num_masks: int = 5, seed: int = 0, **changes) -> PooledProposals:
    generator = torch.Generator().manual_seed(seed)
    fields = {
        "predicted_ious": torch.rand(num_masks, generator=generator),
        "stabilities": torch.rand(num_masks, generator=generator),
        "grid_boxes_xyxy": torch.rand(num_masks, 4, generator=generator),
        "features": torch.randn(num_masks, 7, generator=generator),
        "consistencies": torch.rand(num_masks, generator=generator),
        "masks": torch.randn(num_masks, 8, 8, generator=generator),
        "image_size_hw": SIZE_HW,
    }
    return PooledProposals(**fields | changes)


@pytest.mark.parametrize(
    "pooled",
    [
        make_pooled(),
        make_pooled(0),
        make_pooled(predicted_ious=torch.linspace(0, 1, 5).bfloat16()),
        make_pooled(masks=tuple(make_pooled(seed=2).rles())),
        make_pooled(masks=torch.full((5, 8, 8), -1.0)),
    ],
    ids=["logits", "no_mask", "bfloat16", "rles", "empty_masks"],
)
def test_comes_back_as_it_was(tmp_path: Path, pooled: PooledProposals) -> None:
    cache = ProposalCache(tmp_path, "f00d")
    assert cache.load("a") is None
    cache.store("a", pooled)
    loaded = cache.load("a")
    assert loaded is not None and len(loaded) == len(pooled)
    for name in ("predicted_ious", "stabilities", "grid_boxes_xyxy", "features", "consistencies"):
        torch.testing.assert_close(getattr(loaded, name), getattr(pooled, name), rtol=0, atol=0)
    assert loaded.rles() == pooled.rles()
    assert [*loaded.masks] == [*loaded.masks[:2], *loaded.masks[2:]] == pooled.rles()
    assert len(pooled) == 0 or loaded.masks[-1] == pooled.rles()[-1]
    assert loaded.rles(torch.arange(len(pooled))[1::2]) == pooled.rles(torch.arange(len(pooled))[1::2])
    assert loaded.image_size_hw == SIZE_HW


def test_entries_are_apart_by_image_and_fingerprint(tmp_path: Path) -> None:
    cache, other = ProposalCache(tmp_path, "f00d"), ProposalCache(tmp_path, "beef")
    cache.store("a", make_pooled(3))
    assert cache.load("b") is None and other.load("a") is None
    cache.store("b", make_pooled(4))
    cache.store("a", make_pooled(2))
    assert [len(cache.load(key)) for key in ("a", "b")] == [2, 4]
    path = cache.path("a")
    assert path.relative_to(tmp_path).parts[:2] == ("f00d", path.name[:2])


def test_what_is_damaged_counts_as_absent_and_is_replaced(tmp_path: Path, caplog) -> None:
    cache = ProposalCache(tmp_path, "f00d")
    cache.store("a", make_pooled())
    cache.path("a").write_bytes(cache.path("a").read_bytes()[:-1])
    assert cache.load("a") is None and "is not a usable cache entry" in caplog.text
    cache.store("a", make_pooled())
    assert cache.load("a") is not None


def fingerprint(*overrides: str, weights: dict | None = None) -> str:
    return proposal_fingerprint(compose_config(["device=cpu", "precision=float32", *overrides]), weights or {})


@pytest.mark.parametrize(
    "override",
    [
        "merging=soft",
        "scoring.predicted_iou_exponent=2",
        "scoring.consistency_exponent=1",
        "merging.nms_iou_threshold=0.7",
        "matching=nearest_instances",
        "references.context_ratio=0.5",
        "output.min_score=0.2",
        "output.box_convention=inclusive",
        "mask_model.decoder=plain",
        "mask_model.prompts_per_batch=3",
        "encoder.batch_size=2",
        "encoder.compile=true",
    ],
)
def test_fingerprint_serves_every_matching_and_merging(override: str) -> None:
    assert fingerprint(override) == fingerprint()


@pytest.mark.parametrize(
    "override",
    [
        "encoder=dinov2_small",
        "encoder.image_size=448",
        "encoder.weights=elsewhere",
        "mask_model=sam2.1_tiny",
        "mask_model.weights=elsewhere",
        "mask_model.add_no_memory_embedding=false",
        "proposals.point_grid.points_per_side=16",
        "proposals.point_grid.min_predicted_iou=0.5",
        "proposals.consistency=drop",
        "tiles=512",
        "precision=bfloat16",
    ],
)
def test_fingerprint_follows_what_changes_proposals(override: str) -> None:
    assert fingerprint(override) != fingerprint()


def test_fingerprint_follows_the_contents_of_weights_not_their_place(tmp_path: Path) -> None:
    weights = {"dinov2_large": {"model.safetensors": "abc"}}
    here, there = "encoder.weights=here", "encoder.weights=there"
    assert fingerprint(here, weights=weights) == fingerprint(there, weights=weights)
    assert fingerprint(weights=weights) != fingerprint(weights={"dinov2_large": {"model.safetensors": "abd"}})


def test_fingerprint_follows_the_contents_of_the_boxes_file(tmp_path: Path) -> None:
    prints = []
    for name, text in (("a.json", "[]"), ("b.json", "[]"), ("a.json", "[{}]")):
        (tmp_path / name).write_text(text)
        prints.append(fingerprint("proposals=boxes", f"proposals.boxes.boxes_file={tmp_path / name}"))
    assert prints[0] == prints[1] != prints[2]


def test_fingerprint_follows_the_contents_of_the_detector(tmp_path: Path) -> None:
    (tmp_path / "detector").mkdir()
    prints = []
    for text in ("one", "one", "two"):
        (tmp_path / "detector" / "model.safetensors").write_text(text)
        prints.append(fingerprint("proposals=boxes", f"proposals.boxes.detector={tmp_path / 'detector'}"))
    assert prints[0] == prints[1] != prints[2]
    a, b = (fingerprint("proposals=boxes", f"proposals.boxes.detector=hub/{name}") for name in "ab")
    assert a != b


def test_auto_precision_is_what_it_stands_for(monkeypatch) -> None:
    monkeypatch.setattr("no_time_to_train.models.precision._has_fast_bfloat16", lambda device: True)
    assert fingerprint("precision=auto") == fingerprint("precision=bfloat16")


def test_masks_that_depend_on_the_references_are_refused() -> None:
    with pytest.raises(InputError, match="cache.enabled=false or proposals.point_grid.prefilter=none"):
        fingerprint("proposals.point_grid.prefilter=semantic", "proposals.point_grid.prefilter_top_k=10")


def test_key_tells_turned_images_from_stored_ones(tmp_path: Path) -> None:
    exif = Image.Exif()
    for orientation, count in ((1, 1), (6, 2)):
        exif[0x0112] = orientation
        Image.new("RGB", (3, 2)).save(tmp_path / "a.jpg", exif=exif)
        keys = {image_key(TargetImage(tmp_path / "a.jpg", "a.jpg", 1, upright=upright)) for upright in (True, False)}
        assert len(keys) == count


def test_key_follows_id_and_contents(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    keys = [image_key(TargetImage(path, "a.jpg", 1)), image_key(TargetImage(path, "a.jpg", 2))]
    path.write_bytes(b"two")
    assert len({*keys, image_key(TargetImage(path, "a.jpg", 1))}) == 3
