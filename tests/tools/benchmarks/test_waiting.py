"""The table of sleeping and spinning threads, from what its processes print."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tools.benchmarks import waiting


def test_the_two_policies_take_turns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    policies = []

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        policies.append(env["OMP_WAIT_POLICY"])
        times = {"PASSIVE": "[3.0, 4.0]", "ACTIVE": "[2.0, 8.0]"}[policies[-1]]
        return subprocess.CompletedProcess(command, 0, f'a line of torch\n{{"decoder": {times}}}\n')

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["waiting", "--repeats", "2"])
    waiting.main()

    assert policies == ["PASSIVE", "ACTIVE"] * 2
    assert "| decoder | 3 | 0% | 4 | 2 | 0% | 8 | 1.50 | 0.50 |" in capsys.readouterr().out
