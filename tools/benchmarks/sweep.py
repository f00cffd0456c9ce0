"""What a sweep costs beside one run of it: both from a fresh process, start-up included.

    python -m tools.benchmarks.sweep                              # 6 shot counts x 10 seeds on the demo benchmark
    python -m tools.benchmarks.sweep --sweep 'seed=range(0,4)' limit=20

Every command starts with an empty folder of runs. CPU time is that of the process and all its threads; on a machine
that others use it says more than the seconds on the clock. There the sweep's own first run, start-up included, is the
fairer one to compare its seconds with: the two commands may meet different loads.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks.tables import print_row, start_table

_SWEEP = ("shots=1,2,3,5,10,20", "seed=range(0,10)")
_ALONE = ("shots=10", "seed=0")


@dataclass(frozen=True)
class Cost:
    """Seconds of one command and of its first run on the clock, the most memory it took, and how many runs it was."""

    cpu: float
    wall: float
    first_wall: float
    peak_mb: float
    num_runs: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", nargs="+", default=_SWEEP, metavar="KEY=VALUES", help="what the sweep goes over")
    parser.add_argument("--alone", nargs="+", default=_ALONE, metavar="KEY=VALUE", help="the run it is compared with")
    parser.add_argument("overrides", nargs="*", help="key=value settings of both, e.g. limit=20")
    arguments = parser.parse_args()
    settings = ["benchmark=demo", "preset=demo", *arguments.overrides]
    one = _cost_of(["bench", *settings, *arguments.alone])
    many = _cost_of(["bench", "-m", *settings, *arguments.sweep])
    start_table("A sweep beside one run", "", "CPU s", "wall s", "peak MB")
    for title, cost in (("one run", one), ("sweep", many)):
        print_row(title, f"{cost.cpu:.1f}", f"{cost.wall:.1f}", f"{cost.peak_mb:.0f}")
    print_row("sweep / one run", f"{many.cpu / one.cpu:.2f}", f"{many.wall / one.wall:.2f}", "")
    print_row("sweep / its first run", "", f"{many.wall / many.first_wall:.2f}", "")
    further = max(many.num_runs - 1, 1)
    each_cpu, each_wall = (many.cpu - one.cpu) / further, (many.wall - many.first_wall) / further
    print_row(f"each of {many.num_runs - 1} further runs", f"{each_cpu:.2f}", f"{each_wall:.2f}", "")


def _cost_of(arguments: list[str]) -> Cost:
    """Run ``nttt`` in a process of its own, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "no_time_to_train", *arguments, f"runs={folder}/runs"]
        print(" ".join(command[2:]), file=sys.stderr, flush=True)
        start, started_at = time.monotonic(), time.time()
        process = subprocess.Popen(command, stdout=sys.stderr)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        finished_at = [file.stat().st_mtime for file in Path(folder).rglob("metrics.json")]
    if status:
        raise SystemExit(f"the command ended with status {os.waitstatus_to_exitcode(status)}")
    first_wall = min(finished_at) - started_at
    return Cost(usage.ru_utime + usage.ru_stime, wall, first_wall, usage.ru_maxrss / 1000, len(finished_at))


if __name__ == "__main__":
    main()
