"""Over 1,000 malformed or odd inputs through every verb; ``python -m tests.campaign`` prints the figures of all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.api import API_KIND, NUM_API_CASES
from tests.campaign.kinds import KINDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("campaign")


def test_there_are_enough_cases() -> None:
    assert sum(count for count, _ in KINDS.values()) >= 1_000
    assert NUM_API_CASES >= 500


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, API_KIND])
def test_nothing_crashes_hangs_or_is_accepted_in_silence(kind: str, work: Path) -> None:
    """In a process of its own, as its children are copies of it; what is printed names the seed."""
    line = [sys.executable, "-m", "tests.campaign", kind, "--work", str(work)]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
