"""References to prototypes: encode every crop, average the features under its mask.

Source: "No time to train!" (arXiv 2507.02798), equations 1 and 2.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from no_time_to_train.config import ReferencesConfig, to_dict
from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import FeatureEncoder, MaskModel
from no_time_to_train.ops.pooling import pool_weighted_features
from no_time_to_train.ops.transfers import to_device, to_host
from no_time_to_train.references.crops import ReferenceCrop, describe_reference, stream_reference_crops
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.memory_bank_builder import MemoryBankBuilder
from no_time_to_train.structures import ReferenceInstance, ReferenceSet

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class EncodedReference:
    """The encoder's output for one reference.

    Attributes:
        reference: whose it is; with the mask that was made where it had only a box.
        prototype: (D,) float32 on the CPU, mean feature under the mask, not normalized (equation 1); None: the mask
            covers no patch.
        mask_area_px: pixels of the mask in the crop that the encoder sees.
        crop_size_px: side of that crop.
    """

    reference: ReferenceInstance
    prototype: Tensor | None
    mask_area_px: int
    crop_size_px: int


def build_memory_bank(
    references: ReferenceSet,
    encoder: FeatureEncoder,
    *,
    mask_model: MaskModel | None,
    config: ReferencesConfig,
    batch_size: int,
    keep_instances: bool,
    on_progress: Callable[[int, int], None] | None = None,
    on_encoded: Callable[[EncodedReference], object] | None = None,
) -> MemoryBank:
    """Encode every reference and average its features (equations 1 and 2).

    The features are those under its mask.

    References are streamed image by image, so memory does not grow with their number (but for ``keep_instances``).
    A reference that covers no patch, and an image that cannot be read, are skipped with a warning.

    Args:
        references: from ``load_references``.
        encoder: the frozen encoder.
        mask_model: makes masks for references with only a box; may be None where all have masks.
        config: crop and mask settings.
        batch_size: crops per forward pass.
        keep_instances: keep every instance prototype in the bank.
        on_progress: called with (references done, references in all).
        on_encoded: called with every reference that was encoded.

    Raises:
        InputError: no reference is usable, a mask has another size than its image, or there are boxes without masks
            and no mask model.
    """
    encoded = encode_references(
        references, encoder, mask_model=mask_model, config=config, batch_size=batch_size, on_progress=on_progress
    )
    if on_encoded is not None:
        encoded = _telling(encoded, on_encoded)
    return combine_references(
        references, encoded, encoder, mask_model=mask_model, config=config, keep_instances=keep_instances
    )


@torch.no_grad()
def encode_references(
    references: ReferenceSet,
    encoder: FeatureEncoder,
    *,
    mask_model: MaskModel | None,
    config: ReferencesConfig,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[EncodedReference]:
    """Encode the references, image by image.

    Those of images that cannot be read are left out with a warning.

    Arguments and errors as for :func:`build_memory_bank`.
    """
    for batch in _batches(stream_reference_crops(references, encoder.image_size, mask_model, config), batch_size):
        pooled = encode_crops([crop.image for crop in batch], [crop.mask for crop in batch], encoder)
        prototypes = iter(to_host(*(prototype for prototype in pooled if prototype is not None)))
        for crop, on_device in zip(batch, pooled, strict=True):
            yield EncodedReference(
                reference=crop.reference,
                prototype=None if on_device is None else next(prototypes),
                mask_area_px=int((crop.mask > 0.5).sum()),
                crop_size_px=crop.mask.shape[0],
            )
        if on_progress is not None:
            on_progress(batch[-1].number, len(references))


def combine_references(
    references: ReferenceSet,
    encoded: Iterable[EncodedReference],
    encoder: FeatureEncoder,
    *,
    mask_model: MaskModel | None,
    config: ReferencesConfig,
    keep_instances: bool,
) -> MemoryBank:
    """Add encoded references up into a memory bank, in order.

    Those without a patch are reported.

    Arguments and errors as for :func:`build_memory_bank`.
    """
    builder = MemoryBankBuilder(references.categories, encoder.feature_dim, keep_instances)
    too_small: list[EncodedReference] = []
    for item in encoded:
        if item.prototype is None:
            too_small.append(item)
        else:
            builder.add(item.reference.category, item.prototype)
    _report_too_small(too_small, builder)
    if not builder.num_instances:
        raise InputError(
            f"None of the {len(references)} references is usable: every image is unreadable or every mask covers no "
            "patch (see the warnings). Use larger examples."
        )
    boxes_only = any(reference.mask is None for reference in references.instances)
    return builder.build(
        encoder_id=encoder.model_id,
        encoder_image_size=encoder.image_size,
        mask_model_id=mask_model.model_id if mask_model is not None and boxes_only else None,
        config_hash=hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode()).hexdigest()[:12],
    )


def _telling(
    encoded: Iterable[EncodedReference], on_encoded: Callable[[EncodedReference], object]
) -> Iterator[EncodedReference]:
    for item in encoded:
        on_encoded(item)
        yield item


def _batches(crops: Iterable[ReferenceCrop], batch_size: int) -> Iterator[list[ReferenceCrop]]:
    batch: list[ReferenceCrop] = []
    for crop in crops:
        batch.append(crop)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def encode_crops(images: Sequence[Tensor], masks: Sequence[Tensor], encoder: FeatureEncoder) -> list[Tensor | None]:
    """Average the features of each crop under its mask (equation 1).

    The host waits for no GPU.

    Args:
        images: (3, S, S) float in 0..1 each, on the CPU.
        masks: (S, S) float in 0..1 each, on the CPU.
        encoder: the frozen encoder.

    Returns:
        (D,) float32 on the encoder's device for each crop, not normalized; None where the mask covers no patch.
    """
    features = encoder.encode(to_device(torch.stack(list(images)), encoder.device))
    weights = torch.stack([_to_patch_grid(mask, features.shape[1], features.shape[2]) for mask in masks])
    pooled = [
        pool_weighted_features(of_crop[None], feature_map)[0]
        for of_crop, feature_map in zip(to_device(weights, features.device), features, strict=True)
    ]
    return [mean if covers.any() else None for mean, covers in zip(pooled, weights, strict=True)]


def _to_patch_grid(mask: Tensor, rows: int, columns: int) -> Tensor:
    """Resize an (S, S) soft mask to weights of patches: nearest, the soft values kept."""
    return torch.nn.functional.interpolate(mask[None, None], (rows, columns), mode="nearest")[0, 0]


def _report_too_small(items: Sequence[EncodedReference], builder: MemoryBankBuilder) -> None:
    for item in items:
        category = item.reference.category
        logger.warning(
            "%s covers 0 patches (mask has %d px after resizing to %d). Skipped; class '%s' still has %d references. "
            "Use a larger example.",
            describe_reference(item.reference),
            item.mask_area_px,
            item.crop_size_px,
            category.name,
            builder.count(category),
        )
