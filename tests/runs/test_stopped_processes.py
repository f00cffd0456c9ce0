"""Runs of several processes that a terminal or a cluster stops: one message, and no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SETTINGS = ("preset=demo", "benchmark=demo", "device=cpu", "proposals.points_per_side=8", "shots=1", "limit=12")


def children(process: int) -> set[int]:
    """Processes that a process has started, the helpers of multiprocessing left out."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_text()
        except OSError:
            continue
        if parent == process and "spawn_main" in command:
            found.add(int(folder.name))
    return found


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("when", ["ranks are loading", "ranks are labeling"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_leaves_one_message_and_no_process(tmp_path: Path, how: signal.Signals, when: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, "bench", *SETTINGS, "trainer.devices=2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    ranks: set[int] = set()
    deadline = time.monotonic() + 300
    while len(ranks) < 2 or (when == "ranks are labeling" and not any(tmp_path.rglob("rank=*.jsonl"))):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        ranks |= children(process.pid)
        time.sleep(0.02)
    send = os.killpg if how == signal.SIGINT else os.kill  # a terminal sends Ctrl-C to all of them
    send(process.pid, how)
    output, errors = process.communicate(timeout=120)
    deadline = time.monotonic() + 60
    while any(map(is_alive, ranks)):
        assert time.monotonic() < deadline, "processes go on without the one that started them"
        time.sleep(0.02)
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
        return
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[how], (output, errors)
    assert "Traceback" not in output + errors, errors
    assert errors.endswith("Interrupted.\n") and errors.count("Interrupted") == 1
    assert "continue with:\n  nttt bench" in output


_SCRIPT = """
import signal, sys
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests with it ignored
    from no_time_to_train.commands import main
    sys.exit(main())
"""
