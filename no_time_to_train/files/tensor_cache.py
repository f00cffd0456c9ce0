"""Tensors between runs, on disk and in memory.

On disk they are one safetensors file per key; what is damaged counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

import no_time_to_train
from no_time_to_train.files.atomic import replacing

logger = logging.getLogger(__name__)

_FORMAT_VERSION = 1
_METADATA_KEY = "no_time_to_train.cache"


@dataclass(frozen=True, eq=False)
class CacheEntry:
    """What is kept under one key: tensors by name, and anything else that JSON can hold."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @property
    def num_bytes(self) -> int:
        """Count the bytes of the tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


class EntryMemory:
    """Entries kept in this process, up to a number of bytes.

    What comes first is kept: where all images are read in turn again and again, forgetting the oldest would forget each
    of them just before it is needed. In full memory only entries of other fingerprints make room.

    Args:
        max_bytes: of all tensors; what does not fit is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._entries: dict[tuple[str, str], CacheEntry] = {}
        self._num_bytes = 0
        self._lock = threading.Lock()

    def get(self, fingerprint: str, key: str) -> CacheEntry | None:
        """Return what is kept under a key; None if nothing is."""
        return self._entries.get((fingerprint, key))

    def keep(self, fingerprint: str, key: str, entry: CacheEntry) -> None:
        """Keep an entry if it fits."""
        with self._lock:
            self._forget((fingerprint, key))
            if self._num_bytes + entry.num_bytes > self.max_bytes:
                for other in [place for place in self._entries if place[0] != fingerprint]:
                    self._forget(other)
            if self._num_bytes + entry.num_bytes <= self.max_bytes:
                self._entries[fingerprint, key] = entry
                self._num_bytes += entry.num_bytes

    def _forget(self, place: tuple[str, str]) -> None:
        forgotten = self._entries.pop(place, None)
        self._num_bytes -= 0 if forgotten is None else forgotten.num_bytes


class TensorCache:
    """Entries by key.

    Any number of processes may use one folder at the same time: an entry is moved into place when it is whole, and all
    writers of a key write the same. An entry that is damaged, or of another key or fingerprint, is reported and counts
    as absent, so that it is made again.

    Args:
        folder: holds one folder per fingerprint; may be deleted at any time. None: nothing is kept on disk.
        fingerprint: of everything but the key that can change an entry, see :func:`cache_fingerprint`.
        memory: saves reading from disk what was read or stored before; may serve several caches.
    """

    def __init__(self, folder: Path | None, fingerprint: str, memory: EntryMemory | None = None) -> None:
        self._folder = None if folder is None else folder / fingerprint
        self._fingerprint = fingerprint
        self._memory = memory

    def path(self, key: str) -> Path:
        """Return the file of a key."""
        assert self._folder is not None
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        return self._folder / name[:2] / f"{name}.safetensors"

    def load(self, key: str) -> CacheEntry | None:
        """Load what was stored under a key.

        It is None if nothing was, or if it cannot be used (this is logged).
        """
        kept = None if self._memory is None else self._memory.get(self._fingerprint, key)
        if kept is not None or self._folder is None:
            return kept
        read = self._read(key)
        if self._memory is not None and read is not None:
            self._memory.keep(self._fingerprint, key, read)
        return read

    def _read(self, key: str) -> CacheEntry | None:
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})[_METADATA_KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            self._check(header, tensors, key)
            return CacheEntry(tensors, header["facts"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            logger.warning("%s is not a usable cache entry (%s). It is made again.", path, error)
            return None

    def store(self, key: str, entry: CacheEntry) -> None:
        """Keep an entry, in place of what was there."""
        tensors = {name: _owned(tensor) for name, tensor in entry.tensors.items()}
        if self._memory is not None:
            self._memory.keep(self._fingerprint, key, CacheEntry(tensors, dict(entry.facts)))
        if self._folder is None:
            return
        header = self._expected_header(key) | {"facts": dict(entry.facts)}
        header["checksum"] = _checksum(header, tensors)
        with replacing(self.path(key), shared=True) as unfinished:
            unfinished.write_bytes(save(tensors, metadata={_METADATA_KEY: json.dumps(header, sort_keys=True)}))

    def _expected_header(self, key: str) -> dict[str, Any]:
        return {"format_version": _FORMAT_VERSION, "fingerprint": self._fingerprint, "key": key}

    def _check(self, header: dict[str, Any], tensors: Mapping[str, Tensor], key: str) -> None:
        for name, expected in self._expected_header(key).items():
            if header[name] != expected:
                raise ValueError(f"its {name} is {header[name]}, not {expected}")
        if header.pop("checksum") != _checksum(header, tensors):
            raise ValueError("its contents do not agree with its checksum")


def cache_fingerprint(content: Mapping[str, Any]) -> str:
    """Return 16 hex digits that change with the content and this program's version."""
    identity = {"program": no_time_to_train.__version__, "format_version": _FORMAT_VERSION, **content}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _owned(tensor: Tensor) -> Tensor:
    """Return a tensor on the CPU that keeps no larger one alive, and no pinned memory, of which there is little."""
    tensor = tensor.detach().cpu().contiguous()
    is_owned = tensor.untyped_storage().nbytes() == tensor.nbytes and not tensor.is_pinned()
    return tensor if is_owned else tensor.clone()


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        if tensor.numel():
            digest.update(tensor.view(torch.uint8).numpy().data)
    return digest.hexdigest()
