"""Candidate masks and their features between runs.

With them a sweep over references or merging runs both networks once.

One safetensors file per image: every run with the same models and the same ``proposals`` settings finds it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch

from no_time_to_train.config import Config, EncoderConfig, MaskModelConfig
from no_time_to_train.data.images import exif_orientation
from no_time_to_train.errors import InputError
from no_time_to_train.files.hashes import sha256_of_file
from no_time_to_train.files.tensor_cache import CacheEntry, EntryMemory, TensorCache, cache_fingerprint
from no_time_to_train.models.precision import resolve_device, resolve_precision
from no_time_to_train.ops.rle import Rle
from no_time_to_train.ops.transfers import to_device, to_host
from no_time_to_train.proposals.pooled import PooledProposals
from no_time_to_train.settings.walk import result_settings
from no_time_to_train.structures import TargetImage


class ProposalCache:
    """The candidate masks of images, by image.

    Any number of processes may use one folder at the same time.

    Args:
        folder: holds one folder per fingerprint; may be deleted at any time. None: nothing is kept on disk.
        fingerprint: of everything that can change the entries, see :func:`proposal_fingerprint`.
        device: where loaded tensors are put; the segmenter's, to label them there.
        memory: keeps entries in this process, too.
    """

    def __init__(
        self,
        folder: Path | None,
        fingerprint: str,
        device: torch.device | str = "cpu",
        memory: EntryMemory | None = None,
    ) -> None:
        self._entries = TensorCache(folder, fingerprint, memory)
        self._device = torch.device(device)

    def path(self, image_key: str) -> Path:
        """Return the file of an image."""
        return self._entries.path(image_key)

    def load(self, image_key: str) -> PooledProposals | None:
        """Load what was stored for an image; None if nothing was.

        None, too, if it cannot be used (this is logged).

        Labeling it gives exactly the detections that labeling the original gives.
        """
        entry = self._entries.load(image_key)
        return None if entry is None else _from_entry(entry, self._device)

    def store(self, image_key: str, pooled: PooledProposals) -> None:
        """Store the candidate masks of an image in place of earlier ones."""
        self._entries.store(image_key, _to_entry(pooled))


def image_key(target: TargetImage) -> str:
    """Return the key of an image: its id and its file's contents.

    Sources that read boxes from a file go by the id.

    Where turning it upright makes a difference, the key says so.
    """
    turned = " upright" if target.upright and exif_orientation(target.path) != 1 else ""
    return f"{target.id} {sha256_of_file(target.path)}{turned}"


def proposal_fingerprint(config: Config, weights: Mapping[str, Mapping[str, str]]) -> str:
    """Hash whatever can change candidate masks or features, as 16 hex digits.

    These are the settings of both models and of the proposals, the number format, the weights and this program's
    version; not the references, matching, merging and output, and neither the device, the decoder nor batch sizes,
    which give the same up to rounding.

    Args:
        config: the settings of the run.
        weights: SHA-256 of the weights files by model name and file name, of the models whose files are known.

    Raises:
        InputError: the masks depend on the references (``proposals.point_grid.prefilter=semantic``), so that another
            run has no use for them.
    """
    if depend_on_references(config):
        raise InputError(
            "proposals.point_grid.prefilter=semantic looks for masks where the references would match, so masks cannot "
            "be kept for other references. Use cache.enabled=false or proposals.point_grid.prefilter=none."
        )
    return cache_fingerprint(models_identity(config, weights) | {"proposals": proposals_identity(config)})


def depend_on_references(config: Config) -> bool:
    """Return whether candidate masks are looked for where the references would match."""
    return "point_grid" in config.proposals.chosen and config.proposals.point_grid.prefilter == "semantic"


def models_identity(config: Config, weights: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return what can change the outputs of both models.

    Arguments are as for :func:`proposal_fingerprint`.
    """

    def identity(settings: EncoderConfig | MaskModelConfig) -> list[Any]:
        files = weights.get(settings.name)
        return [settings.name, settings.weights if files is None else dict(files)]

    return {
        "features": [*identity(config.encoder), config.encoder.image_size],
        "mask_model": [*identity(config.mask_model), config.mask_model.add_no_memory_embedding],
        "precision": str(resolve_precision(config.precision, resolve_device(config.device))),
    }


def proposals_identity(config: Config) -> dict[str, Any]:
    """Return the settings of the proposals in use; of files, their contents."""
    settings = {key: value for key, value in result_settings(config).items() if key.startswith("proposals.")}
    return settings if config.tiles == "none" else settings | {"tiles": config.tiles}


def _to_entry(pooled: PooledProposals) -> CacheEntry:
    rles = pooled.rles()
    counts = bytearray(b"".join(rle["counts"] for rle in rles))
    names = ("predicted_ious", "stabilities", "grid_boxes_xyxy", "features", "consistencies")
    tensors = {
        **dict(zip(names, to_host(*(getattr(pooled, name) for name in names)), strict=True)),
        "rle_counts": torch.frombuffer(counts, dtype=torch.uint8) if counts else torch.zeros(0, dtype=torch.uint8),
        "rle_lengths": torch.tensor([len(rle["counts"]) for rle in rles], dtype=torch.int64),
    }
    return CacheEntry(tensors, {"image_size_hw": list(pooled.image_size_hw)})


def _from_entry(entry: CacheEntry, device: torch.device) -> PooledProposals:
    on_device = {
        name: to_device(tensor, device) for name, tensor in entry.tensors.items() if not name.startswith("rle_")
    }
    height, width = entry.facts["image_size_hw"]
    masks = _PackedMasks(entry.tensors["rle_counts"].numpy(), entry.tensors["rle_lengths"].numpy(), (height, width))
    return PooledProposals(**on_device, masks=masks, image_size_hw=(height, width))


class _PackedMasks(Sequence[Rle]):
    """Run-length encoded masks that are taken out of an entry one by one: labeling wants a few of many.

    Args:
        counts: uint8, those of all masks in a row.
        lengths: (N,) int64, how many of them each mask has.
        size_hw: (height, width) of the masks.
    """

    def __init__(self, counts: np.ndarray, lengths: np.ndarray, size_hw: tuple[int, int]) -> None:
        self._counts = counts
        self._ends = lengths.cumsum()
        self._starts = self._ends - lengths
        self._size_hw = size_hw

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Rle: ...

    @overload
    def __getitem__(self, index: slice) -> list[Rle]: ...

    def __getitem__(self, index: int | slice) -> Rle | list[Rle]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        counts = self._counts[self._starts[index] : self._ends[index]].tobytes()
        return Rle(size=list(self._size_hw), counts=counts)
