import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from no_time_to_train.config import ReferencesConfig
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.references.encoding import build_memory_bank
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.memory_bank_builder import MemoryBankBuilder
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category, ReferenceInstance, ReferenceSet

BOAT, BIRD, SEA = Category(9, "boat"), Category(16, "bird"), Category(20, "_background")


class ColorEncoder:
    """The feature of a patch is the mean color of its 2 x 2 pixels, and a constant 1."""

    model_id = "color"
    image_size = 8
    patch_size = 2
    feature_dim = 4
    device = torch.device("cpu")

    def __init__(self):
        self.batch_sizes = []

    def encode(self, images):
        self.batch_sizes.append(len(images))
        assert images.shape[1:] == (3, 8, 8)
        colors = torch.nn.functional.avg_pool2d(images, 2).permute(0, 2, 3, 1)
        return torch.cat([colors, torch.ones_like(colors[..., :1])], dim=-1)


def reference(path, number, category, color, mask_rows=slice(0, 8), box=(0, 0, 8, 8)):
    """An 8 x 8 picture in one color above and black below; the crop of its box is the picture itself."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = color
    Image.fromarray(pixels).save(path)
    mask = np.zeros((8, 8), bool)
    mask[mask_rows] = True
    return ReferenceInstance(path, number, number, category, box, encode_mask(mask))


def build(references, categories=(BOAT, BIRD, SEA), encoder=None, **options):
    settings = {"mask_model": None, "config": ReferencesConfig(context_ratio=0), "batch_size": 2} | options
    settings.setdefault("keep_instances", False)
    return build_memory_bank(ReferenceSet(categories, tuple(references)), encoder or ColorEncoder(), **settings)


@pytest.fixture
def references(tmp_path):
    return [
        reference(tmp_path / "1.png", 1, BOAT, (255, 0, 0), slice(0, 4)),
        reference(tmp_path / "2.png", 2, SEA, (0, 255, 0)),
        reference(tmp_path / "3.png", 3, BOAT, (0, 0, 255)),
    ]


def test_prototypes_are_means_of_unnormalized_means(references):
    encoder, progress = ColorEncoder(), []
    bank = build(references, encoder=encoder, on_progress=lambda done, total: progress.append((done, total)))
    # Boat: (1, 0, 0) under the upper half, and (0, 0, 0.5) over the whole image, half of which is black.
    expected = torch.tensor([[0.5, 0, 0.25, 1], [0, 0, 0, 0], [0, 0.5, 0, 1]])
    torch.testing.assert_close(bank.class_prototypes, expected, atol=1e-6, rtol=0)
    assert bank.instance_counts.tolist() == [2, 0, 1]
    assert repr(bank).startswith("MemoryBank(3 references of 3 categories: ") and "4 features of color" in repr(bank)
    assert bank.categories == (BOAT, BIRD, SEA) and bank.instance_prototypes is None
    assert (bank.encoder_id, bank.encoder_image_size, bank.mask_model_id) == ("color", 8, None)
    assert encoder.batch_sizes == [2, 1] and progress == [(2, 3), (3, 3)]


def test_batch_size_changes_nothing(references):
    torch.testing.assert_close(
        build(references, batch_size=1).class_prototypes, build(references, batch_size=8).class_prototypes
    )


def test_categories_without_references_give_no_mean(references):
    vectors, category_indices = build(references).class_means()
    assert category_indices.tolist() == [0, 2]
    assert vectors.isfinite().all() and vectors.shape == (2, 4)


def test_kept_instances_average_to_the_prototypes(references):
    bank = build(references, keep_instances=True)
    vectors, category_indices = bank.instances()
    assert category_indices.tolist() == [0, 2, 0]
    torch.testing.assert_close(vectors[category_indices == 0].mean(0), bank.class_prototypes[0])


def test_centers_are_per_category_and_never_more_than_instances(references):
    vectors, category_indices = build(references, keep_instances=True).class_centers(k=4, seed=0)
    assert category_indices.tolist() == [0, 0, 2]
    means, _ = build(references, keep_instances=True).class_centers(k=1, seed=0)
    torch.testing.assert_close(means, build(references).class_means()[0], atol=1e-6, rtol=0)


def test_instances_must_have_been_kept(references):
    for ask in (MemoryBank.instances, lambda bank: bank.class_centers(2, 0)):
        with pytest.raises(InputError, match="references.keep_instances=true"):
            ask(build(references))


def test_tiny_and_empty_masks_are_skipped_and_named(references, tmp_path, caplog):
    nothing = reference(tmp_path / "4.png", 12, BOAT, (9, 9, 9), mask_rows=slice(0, 0))
    # Row 1 alone: nearest sampling from 8 to 4 rows takes the rows 0, 2, 4, 6.
    missed = reference(tmp_path / "5.png", 13, BIRD, (9, 9, 9), mask_rows=slice(1, 2))
    with caplog.at_level(logging.WARNING):
        bank = build([*references, nothing, missed])
    torch.testing.assert_close(bank.class_prototypes, build(references).class_prototypes)
    assert (
        "annotation 12 ('boat', 4.png) covers 0 patches (mask has 0 px after resizing to 8). Skipped; "
        "class 'boat' still has 2 references." in caplog.text
    )
    assert "mask has 8 px" in caplog.text and "class 'bird' still has 0 references" in caplog.text


def test_unreadable_images_are_skipped_unless_none_is_left(references, caplog):
    for number, item in enumerate(references):
        item.image_path.write_text("broken")
        if number < 2:
            assert build(references).instance_counts.sum() == 2 - number
    with pytest.raises(InputError, match="None of the 3 references is usable"):
        build(references)


def test_features_that_are_not_finite_are_refused(references):
    class Broken(ColorEncoder):
        def encode(self, images):
            return super().encode(images) / 0

    with pytest.raises(InputError, match="not finite numbers for a reference of 'boat'"):
        build(references, encoder=Broken())


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30), st.randoms())
def test_order_does_not_matter(values, rng):
    shuffled = rng.sample(values, len(values))
    means = []
    for order in (values, shuffled):
        builder = MemoryBankBuilder([BOAT], 1)
        for value in order:
            builder.add(BOAT, torch.tensor([value]))
        means.append(builder.build(encoder_id="x", encoder_image_size=8).class_prototypes)
    torch.testing.assert_close(*means, rtol=0, atol=1e-6)


def test_an_empty_builder_gives_zeros():
    bank = MemoryBankBuilder([BOAT, BIRD], 3, keep_instances=True).build(encoder_id="x", encoder_image_size=8)
    assert torch.equal(bank.class_prototypes, torch.zeros(2, 3))
    assert bank.instances()[0].shape == (0, 3) and bank.class_means()[0].shape == (0, 3)


@pytest.mark.parametrize("keep_instances", [False, True])
def test_a_saved_bank_reads_back_the_same(references, tmp_path, keep_instances):
    bank = build(references, keep_instances=keep_instances)
    path = tmp_path / "sub" / "boats.safetensors"
    bank.save(path)
    again = MemoryBank.load(path)
    assert again.categories == bank.categories and again.fingerprint == bank.fingerprint
    for name, tensor in bank._tensors().items():
        assert torch.equal(getattr(again, name), tensor)
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == ["boats.safetensors"]


def test_settings_and_thresholds_are_kept_and_change_no_fingerprint(references, tmp_path):
    bank = build(references)
    kept = replace(
        bank, settings={"merging.exponent": 0.3, "encoder.weights": None}, min_scores=MinScores(0.5, {9: 0.6})
    )
    kept.save(tmp_path / "m.safetensors")
    again = MemoryBank.load(tmp_path / "m.safetensors")
    assert again.settings == kept.settings and again.min_scores == kept.min_scores
    assert again.fingerprint == bank.fingerprint
    assert again.combined_with(bank).min_scores is None


@pytest.mark.parametrize("key", ["no_time_to_train.references.memory_bank", "no_time_to_train.memory_bank"])
def test_files_of_the_first_format_are_read(references, tmp_path, key):
    bank = build(references)
    metadata = json.loads(bank._metadata_json())
    first = {name: metadata[name] for name in metadata if name not in ("settings", "min_scores")}
    save_file(bank._tensors(), tmp_path / "old.safetensors", {key: json.dumps(first | {"format_version": 1})})
    old = MemoryBank.load(tmp_path / "old.safetensors")
    assert old.fingerprint == bank.fingerprint and old.settings == {} and old.min_scores is None


@pytest.mark.parametrize("min_scores", [{}, 0.5, {"default": 2, "by_category": {}}, {"default": 0.5, "by_category": 1}])
def test_damaged_thresholds_are_refused(references, tmp_path, min_scores):
    bank = build(references)
    metadata = json.loads(bank._metadata_json()) | {"min_scores": min_scores}
    key = "no_time_to_train.references.memory_bank"
    save_file(bank._tensors(), tmp_path / "m.safetensors", {key: json.dumps(metadata)})
    with pytest.raises(InputError, match="damaged memory bank"):
        MemoryBank.load(tmp_path / "m.safetensors")


def test_fingerprint_changes_with_the_contents(references):
    fingerprints = {
        build(references).fingerprint,
        build(references[:2]).fingerprint,
        build(references, keep_instances=True).fingerprint,
        build(references, categories=(BOAT, SEA)).fingerprint,
        build(references, config=ReferencesConfig(context_ratio=0, min_box_coverage=0.1)).fingerprint,
    }
    assert len(fingerprints) == 5
    assert build(references).fingerprint in fingerprints and len(build(references).fingerprint) == 12


def test_foreign_and_damaged_files(references, tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(InputFileNotFoundError, match="nttt fit"):
        MemoryBank.load(path)
    path.write_bytes(b"no safetensors at all")
    with pytest.raises(InputError, match="not a safetensors file"):
        MemoryBank.load(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="no memory bank"):
        MemoryBank.load(path)
    build(references).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(InputError, match="damaged"):
        MemoryBank.load(path)
    path.write_bytes(whole.replace(rb"format_version\": 2", rb"format_version\": 7"))
    with pytest.raises(InputError, match="format 7"):
        MemoryBank.load(path)
    path.write_bytes(whole.replace(rb"encoder_id", rb"encoder_ix"))
    with pytest.raises(InputError, match="damaged memory bank"):
        MemoryBank.load(path)


VALID = {
    "categories": (Category(9, "boat"), Category(16, "bird")),
    "class_prototypes": torch.ones(2, 4),
    "instance_counts": torch.tensor([1, 2]),
    "encoder_id": "x",
    "encoder_image_size": 8,
    "instance_prototypes": torch.ones(3, 4),
    "instance_category_indices": torch.tensor([0, 1, 1]),
}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"class_prototypes": torch.full((2, 4), float("nan"))}, "class_prototypes must be finite float32"),
        ({"class_prototypes": torch.full((2, 4), float("inf"))}, "class_prototypes must be finite float32"),
        ({"class_prototypes": torch.ones(2, 4, dtype=torch.int64)}, "class_prototypes must be finite float32"),
        ({"instance_prototypes": torch.full((3, 4), float("nan"))}, "instance_prototypes must be finite float32"),
        ({"categories": (Category(9, "boat"), Category(9, "bird"))}, "different ids"),
        ({"categories": (Category(9, "boat"), Category(16, "boat"))}, "different names"),
        ({"categories": (Category("9", "boat"), Category(16, "bird"))}, "whole numbers"),
        ({"categories": (Category(9, ["boat"]), Category(16, "bird"))}, "names text"),
        ({"instance_counts": torch.zeros(2, dtype=torch.int64)}, "one of them above 0"),
        ({"instance_counts": torch.tensor([-1, 2])}, "at least 0"),
        ({"instance_counts": torch.tensor([1.0, 2.0])}, "int64"),
        ({"instance_category_indices": torch.tensor([0, 1, 5])}, "agree with instance_counts"),
        ({"instance_category_indices": torch.tensor([0, 1, -1])}, "agree with instance_counts"),
        ({"encoder_image_size": "8"}, "encoder_image_size a whole number"),
    ],
)
def test_files_that_no_run_writes_are_refused(tmp_path, changes, problem):
    path = tmp_path / "m.safetensors"
    MemoryBank(**VALID).save(path)
    assert MemoryBank.load(path).categories == VALID["categories"]
    MemoryBank(**VALID | changes).save(path)
    with pytest.raises(InputError, match=rf"m\.safetensors is a damaged memory bank .*{problem}.*Run nttt fit again"):
        MemoryBank.load(path)


def test_the_encoder_must_be_the_same(references):
    bank, other = build(references), ColorEncoder()
    bank.check_encoder(other)
    other.image_size += 14
    with pytest.raises(InputError, match=r"images of \d+ pixels a side; this run's encoder takes \d+"):
        bank.check_encoder(other)
    other.image_size -= 14
    other.feature_dim = 5
    with pytest.raises(InputError, match="features of size 4"):
        bank.check_encoder(other)
    other.model_id = "dinov2_small"
    with pytest.raises(InputError, match="made with color; this run uses dinov2_small"):
        bank.check_encoder(other)


def test_shapes_are_checked():
    for changes in (
        {"class_prototypes": torch.zeros(2, 3)},
        {"instance_counts": torch.zeros(2)},
        {"instance_prototypes": torch.zeros(1, 3)},
        {"instance_prototypes": torch.zeros(1, 4), "instance_category_indices": torch.zeros(1)},
    ):
        fields = {"class_prototypes": torch.zeros(1, 3), "instance_counts": torch.zeros(1)} | changes
        with pytest.raises(ValueError):
            MemoryBank(categories=(BOAT,), encoder_id="x", encoder_image_size=8, **fields)


@pytest.mark.parametrize("keep_instances", [False, True])
def test_combined_banks_equal_one_of_all_references(keep_instances: bool) -> None:
    boat, bird, cat = Category(1, "boat"), Category(2, "bird"), Category(5, "cat")
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.randn(6, 4, generator=generator)
    of = [boat, boat, bird, boat, cat, boat]
    first = MemoryBankBuilder([boat, bird], 4, keep_instances)
    second = MemoryBankBuilder([cat, boat], 4, keep_instances)
    whole = MemoryBankBuilder([boat, bird, cat], 4, keep_instances)
    for position, (category, prototype) in enumerate(zip(of, prototypes, strict=True)):
        whole.add(category, prototype)
        (first if position < 3 else second).add(category, prototype)
    origin = {"encoder_id": "e", "encoder_image_size": 28}
    combined = first.build(**origin).combined_with(second.build(**origin))
    expected = whole.build(**origin)
    assert combined.categories == expected.categories
    assert combined.instance_counts.tolist() == [4, 1, 1]
    torch.testing.assert_close(combined.class_prototypes, expected.class_prototypes)
    if keep_instances:
        assert combined.instances()[1].tolist() == [0, 0, 1, 0, 2, 0]


def test_banks_that_do_not_go_together() -> None:
    bank = MemoryBankBuilder([Category(1, "boat")], 4).build(encoder_id="e", encoder_image_size=28)
    other = MemoryBankBuilder([Category(1, "boat")], 4).build(encoder_id="f", encoder_image_size=28)
    with pytest.raises(InputError, match="one encoder made both"):
        bank.combined_with(other)
    renamed = MemoryBankBuilder([Category(1, "ship")], 4).build(encoder_id="e", encoder_image_size=28)
    with pytest.raises(InputError, match="'boat' in one memory bank and 'ship'"):
        bank.combined_with(renamed)
