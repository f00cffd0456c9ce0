"""The segmenter without networks and its images, as in ``tests/tasks``."""

from __future__ import annotations

from tests.tasks.conftest import interrupt, nttt, read_folder, segmenters, workplace

__all__ = ["interrupt", "nttt", "read_folder", "segmenters", "workplace"]
