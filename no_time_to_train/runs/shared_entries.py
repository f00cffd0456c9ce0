"""Candidate masks and prototypes of earlier runs, in memory for the next one.

A sweep in one process makes each of them once.
"""

from __future__ import annotations

from typing import Literal

from no_time_to_train.files.tensor_cache import EntryMemory

_memories: dict[str, EntryMemory] = {}


def shared_memory(kind: Literal["proposals", "prototypes"], max_bytes: int) -> EntryMemory | None:
    """Return what this process keeps of a kind; None where it is to keep nothing."""
    if max_bytes == 0:
        return None
    if kind not in _memories or _memories[kind].max_bytes != max_bytes:
        _memories[kind] = EntryMemory(max_bytes)
    return _memories[kind]


def forget_entries() -> None:
    """Free all of it."""
    _memories.clear()
