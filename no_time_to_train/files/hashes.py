"""What a file holds, in a few letters."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_unchanged(path: Path, num_bytes: object, sha256: object) -> bool:
    """Return whether a file is there, of this size and this hash."""
    return path.is_file() and path.stat().st_size == num_bytes and sha256_of_file(path) == sha256
