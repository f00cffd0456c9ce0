import numpy as np
import pytest

from tools.demo.scenes import (
    MIN_VISIBLE_PIXELS,
    NOVEL_CATEGORIES,
    render_clip,
    render_scene,
    sample_category,
)


def test_a_scene_follows_from_its_generator_alone():
    first, second = (render_scene(np.random.default_rng(3), NOVEL_CATEGORIES, (96, 128), (2, 3)) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.masks, second.masks)
    assert np.array_equal(first.category_indices, second.category_indices)


@pytest.mark.parametrize("seed", range(5))
def test_visible_masks_are_disjoint_and_large_enough(seed):
    scene = render_scene(np.random.default_rng(seed), NOVEL_CATEGORIES, (128, 160), (2, 5), (0.25, 0.5))
    count = len(scene.masks)
    assert 1 <= count <= 5
    assert scene.image.shape == (128, 160, 3) and scene.image.dtype == np.uint8
    assert scene.masks.shape == (count, 128, 160) and scene.masks.dtype == bool
    assert scene.category_indices.shape == (count,) and scene.category_indices.max() < len(NOVEL_CATEGORIES)
    assert scene.masks.sum(axis=0).max() == 1
    assert scene.masks.sum(axis=(1, 2)).min() >= MIN_VISIBLE_PIXELS


def test_masks_lie_on_the_objects():
    # A plain teal gear: its color inside the mask, not around it.
    gear = next(category for category in NOVEL_CATEGORIES if category.name == "teal_gear")
    scene = render_scene(np.random.default_rng(0), [gear], (128, 128), (1, 1), (0.6, 0.7))
    teal = scene.image[..., 1].astype(int) - scene.image[..., 0]
    mask = scene.masks[0]
    assert np.median(teal[mask]) > 40 + np.median(teal[~mask])


def test_sampled_categories_never_look_like_a_novel_one():
    rng = np.random.default_rng(0)
    looks = {(category.shape, category.texture) for category in NOVEL_CATEGORIES}
    sampled = [sample_category(rng) for _ in range(500)]
    assert not looks & {(category.shape, category.texture) for category in sampled}
    assert len({category.name for category in sampled}) > 450


def test_every_shape_texture_and_attached_part_can_be_drawn():
    rng = np.random.default_rng(1)
    for category in [*NOVEL_CATEGORIES, *(sample_category(rng) for _ in range(150))]:
        scene = render_scene(rng, [category], (64, 64), (1, 1), (0.6, 0.9))
        assert scene.masks.any(), category.name


def test_clip_objects_move_and_keep_disjoint_masks():
    frames, masks = render_clip(np.random.default_rng(2), NOVEL_CATEGORIES, (96, 96), (2, 3), num_frames=4)
    assert frames.shape == (4, 96, 96, 3) and frames.dtype == np.uint8
    assert masks.shape == (4, masks.shape[1], 96, 96) and masks.dtype == bool
    assert masks[0].any(axis=(1, 2)).all()
    assert masks.sum(axis=1).max() == 1
    assert (masks[0] != masks[3]).any()
