"""Time runs in turns, with their peak memory."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from no_time_to_train.models.cpu_linear import use_onednn_linear
from tools.benchmarks.stages import Stage


@dataclass(frozen=True)
class Timing:
    """Seconds of each run, by the clock and of all the process's threads on the CPU."""

    seconds: list[float]
    cpu_seconds: list[float]

    @classmethod
    def of(cls, runs: list[tuple[float, float]]) -> Timing:
        return cls([wall for wall, _ in runs], [cpu for _, cpu in runs])

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def cpu_median(self) -> float:
        return statistics.median(self.cpu_seconds)

    @property
    def spread(self) -> float:
        return (max(self.seconds) - min(self.seconds)) / self.median


def measure_pair(
    stage: Stage, device: torch.device, repeats: int
) -> tuple[tuple[Timing, Timing | None], list[tuple[Any, str]]]:
    """The fast and the plain way in turns, so that a slow spell of the machine meets both.

    Of each two runs in a row the second counts: the other way leaves caches and free memory in another state, which
    image after image would not.

    The first run of each way warms it up: kernels are compiled and chosen, memory is fetched from the driver.

    Returns:
        The timings, and of each way's first run the result and the peak memory.
    """
    runs = [stage.fast] if stage.plain is None else [stage.fast, stage.plain]
    firsts: list[tuple[Any, str]] = []
    times: list[list[tuple[float, float]]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, timed in zip(runs, times, strict=True):
            first = with_peak_megabytes(run, device)
            if len(firsts) < len(runs):
                firsts.append(first)
            del first
            timed.append(run_times(run, device))
    return (Timing.of(times[0]), Timing.of(times[1]) if stage.plain else None), firsts


def measure(run: Callable[[], Any], device: torch.device, repeats: int) -> Timing:
    run()
    return Timing.of([run_times(run, device) for _ in range(repeats)])


def run_times(run: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Seconds by the clock, and of all threads on the CPU."""
    _synchronize(device)
    start, cpu_start = time.perf_counter(), time.process_time()
    run()
    _synchronize(device)
    return time.perf_counter() - start, time.process_time() - cpu_start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of large matrix products; on a CPU the best of what the package can use."""
    side = 8192 if device.type == "cuda" else 2048
    layers = []
    for candidate in {dtype, torch.float32} if device.type == "cpu" else {dtype}:
        layer = torch.nn.Sequential(torch.nn.Linear(side, side, bias=False)).to(device, candidate)
        use_onednn_linear(layer, device, candidate)
        layers.append((layer, torch.randn(side, side, device=device).to(candidate)))
    with torch.inference_mode():
        fastest = min(min(measure(lambda p=pair: p[0](p[1]), device, 5).seconds) for pair in layers)
    return 2 * side**3 / fastest


def with_peak_megabytes(run: Callable[[], Any], device: torch.device) -> tuple[Any, str]:
    """The result, and the most memory while it was made: of the GPU, or of the whole process (Linux).

    With all that is held anyway: see :func:`held_megabytes`.
    """
    if device.type == "cuda":
        _synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        result = run()
        return result, f"{torch.cuda.max_memory_allocated(device) / 1e6:.0f}"
    clear = Path("/proc/self/clear_refs")
    if device.type != "cpu" or not clear.exists():
        return run(), ""
    clear.write_text("5")  # resets the high-water mark
    result = run()
    return result, f"{process_megabytes('VmHWM'):.0f}"


def held_megabytes(device: torch.device) -> float:
    """Memory that is held now, where :func:`with_peak_megabytes` looks: models and inputs of both ways."""
    return torch.cuda.memory_allocated(device) / 1e6 if device.type == "cuda" else process_megabytes("VmRSS")


def give_back_free_memory() -> None:
    """What earlier tables left on the heap, to the system (glibc)."""
    gc.collect()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


def process_megabytes(field: str) -> float:
    """``VmRSS``, what the process holds now, or ``VmHWM``, the most it has held (Linux; 0 elsewhere)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1e3
