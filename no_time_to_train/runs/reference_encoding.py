"""The references of a run, encoded by all its processes.

They are dealt out image by image, and their prototypes brought together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from no_time_to_train.config import ReferencesConfig
from no_time_to_train.models.interfaces import FeatureEncoder, MaskModel
from no_time_to_train.references.crops import group_by_image
from no_time_to_train.references.encoding import EncodedReference, encode_references
from no_time_to_train.runs.prototype_cache import PrototypeCache, reference_keys
from no_time_to_train.structures import ReferenceInstance, ReferenceSet

EncodedImages = dict[int, list[EncodedReference]]
"""Encoded references of images, by the image's position among the images of all references."""


def encode_share(
    references: ReferenceSet,
    encoder: FeatureEncoder,
    mask_model: MaskModel,
    config: ReferencesConfig,
    *,
    rank: int = 0,
    world_size: int = 1,
    cache: PrototypeCache | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> EncodedImages:
    """Encode the references on every ``world_size``-th image, beginning with number ``rank``.

    Each crop passes the encoder alone, so that a prototype depends on its reference and on nothing else: neither
    on the number of processes, nor on shots, seed and what the cache holds.

    Args:
        references: all references of the run.
        encoder: the frozen encoder.
        mask_model: makes masks for references with only a box.
        config: crop and mask settings.
        rank: number of this process.
        world_size: number of processes.
        cache: where prototypes are looked for and kept.
        on_progress: called with the number of references after each image.
    """
    encoded: EncodedImages = {}

    def encode(some: Sequence[ReferenceInstance]) -> list[EncodedReference]:
        # Their own categories: all of the run's would be checked for every image.
        categories = dict.fromkeys(reference.category for reference in some)
        chosen = ReferenceSet(tuple(categories), tuple(some))
        return list(encode_references(chosen, encoder, mask_model=mask_model, config=config, batch_size=1))

    for position, of_image in _share(references, rank, world_size):
        encoded[position] = encode(of_image) if cache is None else _through_cache(of_image, encode, cache)
        if on_progress is not None:
            on_progress(len(of_image))
    return encoded


def share_size(references: ReferenceSet, rank: int, world_size: int) -> int:
    """Count the references that :func:`encode_share` encodes."""
    return sum(len(of_image) for _, of_image in _share(references, rank, world_size))


def in_reference_order(shares: Sequence[EncodedImages]) -> list[EncodedReference]:
    """Return all encoded references in one process's order.

    Sums over them are then equal to the bit.
    """
    merged = {position: encoded for share in shares for position, encoded in share.items()}
    return [item for position in sorted(merged) for item in merged[position]]


def _share(references: ReferenceSet, rank: int, world_size: int) -> list[tuple[int, list[ReferenceInstance]]]:
    return list(enumerate(group_by_image(references).values()))[rank::world_size]


def _through_cache(
    of_image: Sequence[ReferenceInstance],
    encode: Callable[[Sequence[ReferenceInstance]], list[EncodedReference]],
    cache: PrototypeCache,
) -> list[EncodedReference]:
    if not of_image[0].image_path.is_file():
        return encode(of_image)  # which says so and goes on
    keys = reference_keys(of_image)
    found = [cache.load(key, reference) for key, reference in zip(keys, of_image, strict=True)]
    new = [position for position, item in enumerate(found) if item is None]
    if any(of_image[position].mask is None for position in new):
        new = list(range(len(of_image)))  # boxes get their masks together
    encoded = encode([of_image[position] for position in new]) if new else []
    if len(encoded) < len(new):  # nothing comes of an image that cannot be read
        return encoded
    for position, item in zip(new, encoded, strict=True):
        cache.store(keys[position], item)
        found[position] = item
    return [item for item in found if item is not None]
