"""The tables of what commands and imports cost, from what their processes are said to take."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.benchmarks import start
from tools.benchmarks.start import Cost


def test_checkouts_take_turns_and_the_first_round_does_not_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    labeled: list[Path] = []

    def run(command: Sequence[str], checkout: Path, until: str | None = None) -> tuple[Cost | None, Cost]:
        if "--limit" not in command:
            return None, Cost(0.5, 1.0)
        labeled.append(checkout)
        cpu = 99.0 if len(labeled) <= 2 else float(len(labeled))
        return Cost(cpu / 2, cpu), Cost(cpu, 2 * cpu)

    monkeypatch.setattr(start, "_run", run)
    monkeypatch.setattr(sys, "argv", ["start", "--repeats", "2", "--also", str(tmp_path)])
    start.main()

    assert labeled == [Path(start.__file__).parents[2], tmp_path] * 3
    printed = capsys.readouterr().out
    assert "| nttt label, to the end | 4.00 | 50% | 8.00 | 5.00 | 40% | 10.00 |" in printed
    assert "| nttt label, to the first image | 2.00 | 50% | 4.00 | 2.50 | 40% | 5.00 |" in printed
    assert "| torch | 0.50 | 0% | 1.00 | 0.50 | 0% | 1.00 |" in printed


def test_tells_what_a_process_took_when_it_said_something_and_at_its_end() -> None:
    code = "import sys; print('1/1 images', file=sys.stderr, flush=True)"
    first, last = start._run([sys.executable, "-S", "-c", code], Path.cwd(), until="1/1 images")
    assert first is not None and first.wall <= last.wall and last.cpu > 0
