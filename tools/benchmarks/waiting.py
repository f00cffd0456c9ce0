"""What it costs and gains that torch's threads sleep at barriers instead of spinning.

    python -m tools.benchmarks.waiting --models tiny --points 64

Processes with ``OMP_WAIT_POLICY`` passive and active take turns on the same inputs; each times the encoders and the
decoder, in torch alone and as it is chosen here, the second of two runs in a row. The load that others put on the
machine is printed beside it: the price is what an idle machine shows, the gain what a busy one does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

from tools.benchmarks.tables import print_row, start_table

_POLICIES = ("passive", "active")


def main() -> None:
    options = _parse_arguments()
    if options.here:
        print(json.dumps(_time_stages(options.models, options.points)))
        return
    runs: dict[str, list[dict[str, tuple[float, float]]]] = {policy: [] for policy in _POLICIES}
    loads = []
    for _ in range(options.repeats):
        for policy in _POLICIES:
            loads.append(os.getloadavg()[0])
            runs[policy].append(_run(policy, options))
    print(f"Load of the machine before each process: {', '.join(f'{load:.1f}' for load in loads)}")
    _print(runs)


def _time_stages(models_name: str, points: int) -> dict[str, tuple[float, float]]:
    """Seconds by the clock and on the CPU of each stage, in this process."""
    import torch

    from no_time_to_train.models.allocator import keep_freed_memory
    from tools.benchmarks.stages import Models, Stage, chosen_decoder_stage, encoder_stages
    from tools.benchmarks.timing import measure

    keep_freed_memory()
    device = torch.device("cpu")
    models = Models(models_name, device, torch.float32, 1)
    decoders = chosen_decoder_stage(models, points)
    assert decoders.plain is not None
    in_torch = Stage(f"decoder in torch, {points} points", decoders.plain)
    stages = [*encoder_stages(models), in_torch, Stage(f"decoder, {points} points", decoders.fast)]
    timings = {stage.name: measure(stage.fast, device, 1) for stage in stages}
    return {name: (timing.median, timing.cpu_median) for name, timing in timings.items()}


def _run(policy: str, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    command = [sys.executable, "-m", "tools.benchmarks.waiting", "--here"]
    command += ["--models", options.models, "--points", str(options.points)]
    environment = {**os.environ, "OMP_WAIT_POLICY": policy.upper()}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _print(runs: dict[str, list[dict[str, tuple[float, float]]]]) -> None:
    from tools.benchmarks.timing import Timing

    columns = [f"{policy} {column}" for policy in _POLICIES for column in ("s", "spread", "CPU s")]
    start_table("Waiting", "stage", *columns, "passive / active", "of the CPU time")
    for stage in runs["passive"][0]:
        passive, active = (Timing.of([run[stage] for run in runs[policy]]) for policy in _POLICIES)
        cells = [
            cell
            for timing in (passive, active)
            for cell in (f"{timing.median:.3g}", f"{timing.spread:.0%}", f"{timing.cpu_median:.3g}")
        ]
        ratios = passive.median / active.median, passive.cpu_median / active.cpu_median
        print_row(stage, *cells, *(f"{ratio:.2f}" for ratio in ratios))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", choices=("large", "base", "small", "tiny", "demo"), default="tiny")
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3, help="processes of each kind (default 3)")
    parser.add_argument("--here", action="store_true", help="time in this process, and print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
