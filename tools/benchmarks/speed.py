"""How long every stage of segmenting one image takes, plain against fast, in one process on the same inputs.

    python -m tools.benchmarks.speed --models large --points 1024 --precision float32,bfloat16
    python -m tools.benchmarks.speed --models large --points 1024 --precision bfloat16 --default-allocator
    python -m tools.benchmarks.speed --models tiny --quick
    python -m tools.benchmarks.speed --models demo --scaling points,threads

Full-size networks get random weights (nothing is downloaded); ``--models demo`` takes the bundled ones. Timings are
medians of alternating runs; "spread" is (slowest - fastest) / median of the fast runs. "floor" is the time the fast
way's multiplications would take at this machine's measured rate of large matrix products. Tables are Markdown.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from no_time_to_train.data.images import resize_for_model
from no_time_to_train.matching import InstanceIndex, Prototypes, match, match_nearest_instances
from no_time_to_train.models.allocator import keep_freed_memory
from no_time_to_train.models.cpu_linear import use_onednn_linear
from no_time_to_train.models.precision import resolve_device, resolve_precision
from tools.benchmarks.stages import (
    MODEL_NAMES,
    BlobProposals,
    Models,
    Stage,
    decoder_stage,
    encoder_stages,
    mask_stages,
    unit_vectors,
)

SCALINGS = ("points", "categories", "references", "image_size", "batch", "threads")


def _count_in_place_product(added: list[int], left: list[int], right: list[int], **_: Any) -> int:
    """Operations of ``added.baddbmm_(left, right)`` by shapes, which torch's counter does not know by itself."""
    return 2 * left[0] * left[1] * left[2] * right[2]


def _count_onednn_linear(inputs: list[int], weight: list[int], *_: Any, **__: Any) -> int:
    """The same for a linear layer that ``models/cpu_linear.py`` has replaced."""
    return 2 * math.prod(inputs) * weight[0]


_UNCOUNTED = {
    torch.ops.aten.baddbmm_: _count_in_place_product,
    torch.ops.mkldnn._linear_pointwise: _count_onednn_linear,
}


@dataclass(frozen=True)
class Timing:
    """Seconds of each run."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        return (max(self.seconds) - min(self.seconds)) / self.median


def main() -> None:
    options = _parse_arguments()
    device = resolve_device(options.device)
    if device.type == "cpu" and not options.default_allocator:
        keep_freed_memory()  # as the package does; the plain way gains by it too
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{_machine(device)}; models {options.models}, torch {torch.__version__}")
    for precision in options.precision.split(","):
        dtype = resolve_precision(precision, device)
        models = Models(options.models, device, dtype, options.plain_batch)
        rate = _matrix_rate(device, dtype)
        print(f"\n## {precision}: {rate / 1e9:.0f} GFLOP/s measured for large matrix products\n")
        if not options.no_stages:
            proposals = BlobProposals(models, options.points, options.categories, options.image_size)
            stages = [*encoder_stages(models), decoder_stage(models, options.points), *mask_stages(proposals)]
            _print_stages(stages, device, rate, options.repeats)
        for scaling in filter(None, options.scaling.split(",")):
            _SCALING_TABLES[scaling](models, options)


def _print_stages(stages: list[Stage], device: torch.device, rate: float, repeats: int) -> None:
    _print_row(
        "stage",
        "plain s",
        "fast s",
        "spread",
        "times faster",
        "floor s",
        "over floor",
        "peak MB plain / fast",
        "difference",
    )
    _print_row(*["---"] * 9)
    plain_seconds, fast_seconds = 0.0, 0.0
    for stage in stages:
        (fast, plain), firsts = _measure_pair(stage, device, repeats)
        fast_peak, plain_peak = firsts[0][1], firsts[1][1] if plain else ""
        difference = stage.compare(firsts[1][0], firsts[0][0]) if stage.compare else ""
        del firsts
        fast_seconds += fast.median
        plain_seconds += (plain or fast).median
        floor = _operations(stage.fast) / rate
        if floor < fast.median / 100:  # the stage is no matter of matrix products
            floor = 0
        _print_row(
            stage.name,
            f"{plain.median:.4g}" if plain else "",
            f"{fast.median:.4g}",
            f"{fast.spread:.0%}",
            f"{plain.median / fast.median:.1f}" if plain else "",
            f"{floor:.3g}" if floor else "",
            f"{fast.median / floor:.1f}" if floor else "",
            f"{plain_peak} / {fast_peak}" if plain_peak else fast_peak,
            difference,
        )
    total = f"{plain_seconds:.4g}", f"{fast_seconds:.4g}", "", f"{plain_seconds / fast_seconds:.1f}"
    _print_row("whole image (sum)", *total, *[""] * 4)


def _measure_pair(
    stage: Stage, device: torch.device, repeats: int
) -> tuple[tuple[Timing, Timing | None], list[tuple[Any, str]]]:
    """The fast and the plain way in turns, so that a slow spell of the machine meets both.

    Of each two runs in a row the second counts: the other way leaves caches and free memory in another state, which
    image after image would not.

    Returns:
        The timings, and of each way's first run the result and the peak memory.
    """
    runs = [stage.fast] if stage.plain is None else [stage.fast, stage.plain]
    firsts: list[tuple[Any, str]] = []
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, timed in zip(runs, seconds, strict=True):
            first = _with_peak_megabytes(run, device)
            if len(firsts) < len(runs):
                firsts.append(first)
            del first
            timed.append(_seconds(run, device))
    return (Timing(seconds[0]), Timing(seconds[1]) if stage.plain else None), firsts


def _measure(run: Callable[[], Any], device: torch.device, repeats: int) -> Timing:
    run()
    return Timing([_seconds(run, device) for _ in range(repeats)])


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    _synchronise(device)
    start = time.perf_counter()
    run()
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _operations(run: Callable[[], Any]) -> int:
    """Floating-point operations of matrix products, convolutions and attention."""
    with FlopCounterMode(display=False, custom_mapping=_UNCOUNTED) as counter:
        run()
    return counter.get_total_flops()


def _matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of large matrix products; on a CPU the best of what the package can use."""
    side = 8192 if device.type == "cuda" else 2048
    layers = []
    for candidate in {dtype, torch.float32} if device.type == "cpu" else {dtype}:
        layer = torch.nn.Sequential(torch.nn.Linear(side, side, bias=False)).to(device, candidate)
        use_onednn_linear(layer, device, candidate)
        layers.append((layer, torch.randn(side, side, device=device).to(candidate)))
    with torch.inference_mode():
        fastest = min(min(_measure(lambda p=pair: p[0](p[1]), device, 5).seconds) for pair in layers)
    return 2 * side**3 / fastest


def _with_peak_megabytes(run: Callable[[], Any], device: torch.device) -> tuple[Any, str]:
    """The result, and the most memory while it was made: of the GPU, or of the whole process (Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        result = run()
        return result, f"{torch.cuda.max_memory_allocated(device) / 1e6:.0f}"
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        return run(), ""
    clear.write_text("5")  # resets the high-water mark
    result = run()
    return result, f"{_process_megabytes('VmHWM'):.0f}"


def _scale_points(models: Models, options: argparse.Namespace) -> None:
    _start_table("Points", "points", "plain s", "fast s", "times faster")
    for points in (64, 256) if options.quick else (64, 256, 1024, 4096):
        (fast, plain), _ = _measure_pair(decoder_stage(models, points), models.device, options.repeats)
        assert plain is not None
        _print_row(points, f"{plain.median:.4g}", f"{fast.median:.4g}", f"{plain.median / fast.median:.1f}")


def _scale_categories(models: Models, options: argparse.Namespace) -> None:
    _start_table("Categories (class means)", "categories", "matching ms")
    dim = models.fast_dino.feature_dim
    features = unit_vectors(options.points, dim).to(models.device)
    for count in (1, 20, 80, 365, 1203):
        prototypes = Prototypes(unit_vectors(count, dim), torch.arange(count), count).to(models.device)
        timing = _measure(lambda p=prototypes: match(features, p), models.device, options.repeats)
        _print_row(count, f"{timing.median * 1e3:.3g}")


def _scale_references(models: Models, options: argparse.Namespace) -> None:
    _start_table("References (matching=nearest_instances)", "reference instances", "matching ms")
    dim = models.fast_dino.feature_dim
    features = unit_vectors(options.points, dim).to(models.device)
    for count in (10, 100, 1000) if options.quick else (10, 100, 1000, 12030, 36090):
        index = InstanceIndex(unit_vectors(count, dim), torch.arange(count) % options.categories, options.categories)
        timing = _measure(lambda i=index: match_nearest_instances(features, i, 4), models.device, options.repeats)
        _print_row(count, f"{timing.median * 1e3:.3g}")


def _scale_image_size(models: Models, options: argparse.Namespace) -> None:
    _start_table(
        f"Photo size ({options.points} masks, all but the networks)",
        *("height x width", "squashing s", "NMS + merging s", "RLE s", "peak MB above the models"),
    )
    sizes = ((480, 640), (1000, 1500), (3000, 4000), (4284, 5712))
    for size in sizes[: 2 if options.quick else 4]:
        _give_back_free_memory()
        before = _process_megabytes("VmRSS")
        photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        *_, merging, encoding = mask_stages(BlobProposals(models, options.points, options.categories, size))
        runs = (lambda p=photo: resize_for_model(p, models.fast_sam.image_size), merging.fast, encoding.fast)
        seconds = [f"{_measure(run, models.device, options.repeats).median:.4g}" for run in runs]
        peaks = [_with_peak_megabytes(run, models.device)[1] for run in runs]
        above = max(map(float, peaks)) - before if all(peaks) else None
        _print_row(f"{size[0]} x {size[1]}", *seconds, "" if above is None else f"{above:.0f}")


def _give_back_free_memory() -> None:
    """What earlier tables left on the heap, to the system (glibc)."""
    gc.collect()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


def _process_megabytes(field: str) -> float:
    """``VmRSS``, what the process holds now, or ``VmHWM``, the most it has held (Linux; 0 elsewhere)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1e3


def _scale_batch(models: Models, options: argparse.Namespace) -> None:
    _start_table("Images per batch", "images", "SAM encoder s / image", "DINO encoder s / image")
    for count in (1, 2) if options.quick else (1, 2, 4, 8):
        timings = [_measure(s.fast, models.device, options.repeats) for s in encoder_stages(models, count)]
        _print_row(count, *(f"{timing.median / count:.4g}" for timing in timings))


def _scale_threads(models: Models, options: argparse.Namespace) -> None:
    _start_table("CPU threads", "threads", "plain decoder s", "fast decoder s", "times faster")
    before = torch.get_num_threads()
    stage = decoder_stage(models, min(options.points, 64))
    for threads in sorted({1, 2, before}):
        torch.set_num_threads(threads)
        (fast, plain), _ = _measure_pair(stage, models.device, options.repeats)
        assert plain is not None
        _print_row(threads, f"{plain.median:.4g}", f"{fast.median:.4g}", f"{plain.median / fast.median:.1f}")
    torch.set_num_threads(before)


_SCALING_TABLES: dict[str, Callable[[Models, argparse.Namespace], None]] = {
    "points": _scale_points,
    "categories": _scale_categories,
    "references": _scale_references,
    "image_size": _scale_image_size,
    "batch": _scale_batch,
    "threads": _scale_threads,
}


def _start_table(title: str, *columns: str) -> None:
    print(f"\n### {title}\n")
    _print_row(*columns)
    _print_row(*["---"] * len(columns))


def _print_row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    capabilities = torch.cpu.get_capabilities()
    names = [name for name in ("avx512_f", "avx512_bf16", "amx_bf16") if capabilities.get(name)]
    return f"{capabilities.get('cpu_name', 'CPU')} ({', '.join(names)}), {torch.get_num_threads()} threads"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", choices=list(MODEL_NAMES), default="large")
    parser.add_argument("--points", type=int, default=1024, help="prompts of one image (default 1024)")
    parser.add_argument("--precision", default="float32", help="comma-separated: float32, bfloat16, float16, auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--categories", type=int, default=80)
    parser.add_argument("--image-size", type=int, nargs=2, default=(1000, 1500), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--plain-batch", type=int, default=256, help="prompts per batch of the plain decoder")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scaling", default="", help=f"more tables, comma-separated: {', '.join(SCALINGS)}; or all")
    parser.add_argument(
        "--default-allocator",
        action="store_true",
        help="leave the C library's memory settings as they come: what the plain way takes without this package's",
    )
    parser.add_argument("--no-stages", action="store_true", help="only the tables of --scaling")
    parser.add_argument("--quick", action="store_true", help="64 points in plain batches of 16, one repeat")
    options = parser.parse_args()
    if options.quick:
        options.points, options.plain_batch, options.repeats = min(options.points, 64), min(options.plain_batch, 16), 1
    if options.scaling == "all":
        options.scaling = ",".join(SCALINGS)
    unknown = set(filter(None, options.scaling.split(","))) - set(SCALINGS)
    if unknown:
        parser.error(f"--scaling={','.join(sorted(unknown))}: use {', '.join(SCALINGS)} or all")
    options.image_size = tuple(options.image_size)
    return options


if __name__ == "__main__":
    main()
