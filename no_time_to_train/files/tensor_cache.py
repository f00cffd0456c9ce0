"""Tensors on disk between runs, one safetensors file per key; what is damaged counts as absent."""

from __future__ import annotations

import hashlib
import json
import logging
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


class TensorCache:
    """Entries by key.

    Any number of processes may use one folder at the same time: an entry is moved into place when it is whole, and all
    writers of a key write the same. An entry that is damaged, or of another key or fingerprint, is reported and counts
    as absent, so that it is made again.

    Args:
        folder: holds one folder per fingerprint; may be deleted at any time.
        fingerprint: of everything but the key that can change an entry, see :func:`cache_fingerprint`.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder / fingerprint
        self._fingerprint = fingerprint

    def path(self, key: str) -> Path:
        """Return the file of a key."""
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        return self._folder / name[:2] / f"{name}.safetensors"

    def load(self, key: str) -> CacheEntry | None:
        """Load what was stored under a key.

        It is None if nothing was, or if it cannot be used (this is logged).
        """
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})[_METADATA_KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            self._check(header, tensors, key)
            return CacheEntry(tensors, header["facts"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            logger.warning("%s is not a usable cache entry (%s). It is made again.", path, error)
            return None

    def store(self, key: str, entry: CacheEntry) -> None:
        """Keep an entry, in place of what was there."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in entry.tensors.items()}
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


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        if tensor.numel():
            digest.update(tensor.view(torch.uint8).numpy().data)
    return digest.hexdigest()
