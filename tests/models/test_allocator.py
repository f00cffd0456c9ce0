from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from no_time_to_train.models import allocator


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_large_tensors_reuse_their_pages() -> None:
    """A large tensor made again and again must not fault its pages in again and again."""
    code = """
import resource, torch
from no_time_to_train.models.allocator import keep_freed_memory
assert keep_freed_memory()
for _ in range(40):  # until the heap has settled
    torch.ones(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    torch.ones(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000  # 64 MB are 16384 pages, three times


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.platform, "system", lambda: "Darwin")
    assert allocator.keep_freed_memory() is False
