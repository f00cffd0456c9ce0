"""Files that are either whole or not there: written under another name first, then moved into place."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UNFINISHED_SUFFIX = ".part"


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Give a path to write to in place of ``path``.

    The file is moved to ``path`` if the block succeeds, and removed if it fails.

    Args:
        path: the file; its folder is made.
        shared: other processes may write the same file at the same time. Each then has an unfinished file of its own
            (a killed process leaves it behind), and the last to finish wins. Otherwise the next run writes over it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f".{secrets.token_hex(4)}" if shared else ""
    unfinished = path.with_name(f".{path.name}{writer}{_UNFINISHED_SUFFIX}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
