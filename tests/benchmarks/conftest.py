from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from no_time_to_train.benchmarks.registry import load_task
from no_time_to_train.benchmarks.task import BenchmarkTask
from no_time_to_train.build import compose_bench_config


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., BenchmarkTask]:
    """Loads a benchmark below ``tmp_path``; settings as on the command line."""
    return lambda name, *settings: load_task(
        compose_bench_config([f"benchmark={name}", f"benchmark.root={tmp_path}", *settings])
    )
