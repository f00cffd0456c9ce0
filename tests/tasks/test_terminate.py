"""SIGTERM, which clusters and containers send, ends a command as Ctrl-C does."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.tasks.test_kill import stop_after_two_images


@pytest.mark.slow
@pytest.mark.parametrize("is_beside", [False, True])
def test_sigterm(workplace: Path, is_beside: bool) -> None:
    terminated = stop_after_two_images(workplace, signal.SIGTERM, is_beside)
    assert terminated.returncode == 143
    assert "continue with:\n  nttt label photos/ --refs refs/ --out parts" in terminated.stdout
    assert "Traceback" not in terminated.stderr
    assert json.loads((workplace / "parts/run.json").read_text())["status"] == "interrupted"
    assert not (workplace / "parts/.lock").exists()
