"""Python's garbage collector, which has nothing to find while a command's modules and models are loaded.

Each of its rounds walks much of what the modules have made so far, half a million objects in the end, and the round at
the end of the process walks all of it once more.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WHILE_LOADING = (100_000, 50, 10)
"""Loading makes a million objects: a dozen rounds over the youngest. What goes on for hours is still collected."""
_REPORTS_LEAKS = "triton"
"""Prints hundreds of lines about its own objects where the round at the end of the process passes over them."""
_before: list[tuple[int, int, int]] = []
"""What held before; empty unless something is being loaded."""


@contextmanager
def seldom_while_loading() -> Iterator[None]:
    """Collect seldom until the block, or what it does, says that all is loaded.

    It is for the process of a command: who imports the package keeps their own collector.
    """
    _before.append(gc.get_threshold())
    gc.set_threshold(*WHILE_LOADING)
    try:
        yield
    finally:
        all_is_loaded()
        if _REPORTS_LEAKS in sys.modules:
            gc.unfreeze()


def all_is_loaded() -> None:
    """Collect as before from now on, without ever walking again what has been loaded.

    It has no effect but in :func:`seldom_while_loading`, and only once.
    """
    if _before:
        gc.freeze()
        gc.set_threshold(*_before.pop())
