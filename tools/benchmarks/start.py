"""What a command costs from its start to the first labeled image, and to the end of its process.

    python -m tools.benchmarks.start                        # nttt label on the demo models, small commands, imports
    python -m tools.benchmarks.start --also ../earlier      # in turns with another checkout

CPU time is that of the process and all its threads; on a machine that others use it says more than the clock. Medians
of several processes, after one that is not counted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.commands.collector import WHILE_LOADING
from tools.benchmarks.tables import print_row, start_table

_HERE = Path(__file__).parents[2]
_DEMO = _HERE / "data/demo/benchmark"
_MODELS = ("--preset", "demo", "--device", "cpu", "proposals.points_per_side=8")
_IMPORTS = {
    "Python alone": "pass",
    "numpy": "import numpy",
    "Hydra": "import hydra",
    "torch": "import torch",
    "torchvision": "import torchvision",
    "sam2": "import sam2.build_sam",
    "DINOv2 of transformers": "from transformers import Dinov2Model",
    "nttt label, without networks": "import no_time_to_train.tasks.label",
}


@dataclass(frozen=True)
class Cost:
    """CPU and wall seconds from the start of a process."""

    cpu: float
    wall: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="processes of each kind (5)")
    parser.add_argument("--also", type=Path, metavar="CHECKOUT", help="another checkout, measured in turns")
    parser.add_argument("--no-imports", action="store_true", help="leave out what single imports cost")
    options = parser.parse_args()
    checkouts = {"here": _HERE} | ({"there": options.also.resolve()} if options.also else {})
    with tempfile.TemporaryDirectory() as folder:
        _measure_commands(Path(folder), checkouts, options.repeats)
    if not options.no_imports:
        _measure_imports(options.repeats)


def _measure_commands(folder: Path, checkouts: dict[str, Path], repeats: int) -> None:
    memory, of_train = folder / "memory.safetensors", ["--ref-images", str(_DEMO / "train"), "--classes", "teal_gear"]
    references = ["--refs", str(_DEMO / "annotations/train.json"), *of_train]
    fit = ["fit", references[1], *of_train, "-o", str(memory)]
    _run(_nttt([*fit, *_MODELS, "output.threshold_images=0"]), _HERE)
    label = ["label", str(_DEMO / "test"), "--memory", str(memory), "--limit", "1", "--min-score", "0.3", *_MODELS]
    out = folder / "out"
    commands = {
        "nttt label, to the end": [*label, "--out", str(out), "--overwrite"],
        "nttt export": ["export", str(out), "--to", "coco", "--out", str(folder / "exported")],
        "nttt label of a folder that is not there": ["label", str(folder / "nowhere"), *references],
        "nttt --help": ["--help"],
    }
    costs: dict[tuple[str, str], list[Cost]] = {}
    for repeat in range(repeats + 1):
        for what, arguments in commands.items():
            for name, checkout in checkouts.items():
                first, last = _run(_nttt(arguments), checkout, until="1/1 images")
                if repeat:
                    costs.setdefault((what, name), []).append(last)
                    if first is not None:
                        costs.setdefault(("nttt label, to the first image", name), []).append(first)
                if what == "nttt export":
                    shutil.rmtree(folder / "exported", ignore_errors=True)
    rows = ["nttt label, to the first image", *commands]
    start_table("Commands", "", *(f"{name}: {what}" for name in checkouts for what in ("CPU s", "spread", "wall s")))
    for what in rows:
        print_row(what, *(text for name in checkouts for text in _texts(costs[what, name])))


def _measure_imports(repeats: int) -> None:
    """Each in a process of its own; whatever needs torch has it in its figure."""
    ways = {
        "as Python collects": "{}",
        "as a command does": f"import gc; gc.set_threshold(*{WHILE_LOADING}); {{}}; gc.freeze()",
    }
    costs: dict[tuple[str, str], list[Cost]] = {}
    for repeat in range(repeats + 1):
        for what, statement in _IMPORTS.items():
            for way, code in ways.items():
                _, cost = _run([sys.executable, "-c", code.format(statement)], _HERE)
                if repeat:
                    costs.setdefault((what, way), []).append(cost)
    start_table("Imports", "", *(f"{what}, {way}" for way in ways for what in ("CPU s", "spread", "wall s")))
    for what in _IMPORTS:
        print_row(what, *(text for way in ways for text in _texts(costs[what, way])))


def _texts(costs: Sequence[Cost]) -> tuple[str, str, str]:
    def median(of: Callable[[Cost], float]) -> float:
        return statistics.median(map(of, costs))

    cpu = [cost.cpu for cost in costs]
    spread = (max(cpu) - min(cpu)) / statistics.median(cpu)
    return f"{median(lambda cost: cost.cpu):.2f}", f"{spread:.0%}", f"{median(lambda cost: cost.wall):.2f}"


def _nttt(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "no_time_to_train", *arguments]


def _run(command: Sequence[str], checkout: Path, until: str | None = None) -> tuple[Cost | None, Cost]:
    """Run a process with the code of a checkout.

    Returns:
        Its cost when it said ``until`` (None: it never did), and at its end.
    """
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    start, first = time.monotonic(), None
    process = subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if first is None and until is not None and line.startswith(until):
            first = Cost(_cpu_seconds(process.pid), time.monotonic() - start)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return first, Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - start)


def _cpu_seconds(process_id: int) -> float:
    """Of a process that runs (Linux; NaN elsewhere)."""
    stat = Path(f"/proc/{process_id}/stat")
    if not stat.exists():
        return float("nan")
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
