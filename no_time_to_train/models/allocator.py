"""Keeping freed memory in the process: on a CPU, the price of large temporary tensors."""

from __future__ import annotations

import ctypes
import platform

# Parameters of glibc's mallopt.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGE = 2_000_000_000  # fits the C int that mallopt takes
_TOP_PAD = 64 << 20


def keep_freed_memory() -> bool:
    """Let the C library reuse freed memory rather than give it back to the system after every large tensor.

    By default glibc maps each block above 32 MB anew and unmaps it when freed, so that every layer's output pays for
    fresh, zeroed pages: in virtual machines several times the arithmetic. The peak stays the same; what was once used
    stays with the process. Returns whether the C library took it (Linux with glibc only).
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_M_MMAP_THRESHOLD: _LARGE, _M_TRIM_THRESHOLD: _LARGE, _M_TOP_PAD: _TOP_PAD}
    return all([mallopt(parameter, value) == 1 for parameter, value in settings.items()])
