"""Instance prototypes kept between runs.

A sweep over shots and seeds encodes every reference once.

One safetensors file per reference, kept beside the proposals of the images (``proposals.cache``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from no_time_to_train.config import Config
from no_time_to_train.data.images import exif_orientation
from no_time_to_train.files.hashes import sha256_of_file
from no_time_to_train.files.tensor_cache import CacheEntry, EntryMemory, TensorCache, cache_fingerprint
from no_time_to_train.proposals.cache import models_identity
from no_time_to_train.references.encoding import EncodedReference
from no_time_to_train.structures import ReferenceInstance


class PrototypeCache:
    """The prototypes of references, by what they are made from.

    Any number of processes may use one folder.

    Args:
        folder: holds one folder per fingerprint; may be deleted at any time. None: nothing is kept on disk.
        fingerprint: of everything but the reference that can change a prototype, see :func:`prototype_fingerprint`.
        memory: keeps entries in this process, too.
    """

    def __init__(self, folder: Path | None, fingerprint: str, memory: EntryMemory | None = None) -> None:
        self._entries = TensorCache(folder, fingerprint, memory)

    def load(self, key: str, reference: ReferenceInstance) -> EncodedReference | None:
        """Load what was stored under this key; None if nothing was.

        None, too, if it cannot be used (this is logged).
        """
        entry = self._entries.load(key)
        if entry is None:
            return None
        prototype = entry.tensors["prototype"]
        return EncodedReference(reference, prototype if len(prototype) else None, **entry.facts)

    def store(self, key: str, encoded: EncodedReference) -> None:
        """Keep the prototype of a reference, or that it has none."""
        prototype = torch.zeros(0) if encoded.prototype is None else encoded.prototype
        facts = {"mask_area_px": encoded.mask_area_px, "crop_size_px": encoded.crop_size_px}
        self._entries.store(key, CacheEntry({"prototype": prototype}, facts))


def reference_keys(of_image: Sequence[ReferenceInstance]) -> list[str]:
    """Return one key for each reference of an image.

    It is made of its box, its mask, and the contents of the image's file.

    A reference with only a box gets its mask together with the others on the image that have none, so that their boxes
    belong to the key.
    """
    first = of_image[0]
    image = sha256_of_file(first.image_path)
    turned = ["upright"] if first.upright and exif_orientation(first.image_path) != 1 else []
    boxes_to_masks = [reference.box_xyxy for reference in of_image if reference.mask is None]
    keys = []
    for reference in of_image:
        mask = boxes_to_masks if reference.mask is None else hashlib.sha256(reference.mask["counts"]).hexdigest()
        content = json.dumps([image, reference.box_xyxy, mask, *turned])
        keys.append(hashlib.sha256(content.encode()).hexdigest()[:32])
    return keys


def prototype_fingerprint(config: Config, weights: Mapping[str, Mapping[str, str]]) -> str:
    """Hash whatever can change prototypes, but for the references themselves.

    The result is 16 hex digits.

    These are both models (the mask model makes masks of boxes), the reading of references, the number format, the
    weights and this program's version; the device gives the same up to rounding.

    Args:
        config: the settings of the run.
        weights: SHA-256 of the weights files by model name and file name, of the models whose files are known.
    """
    crops = [config.references.context_ratio, config.references.min_box_coverage]
    return cache_fingerprint(models_identity(config, weights) | {"crops": crops})
