"""How long every stage of segmenting one image takes, plain against fast, in one process on the same inputs.

    python tools/benchmark_speed.py --models large --points 1024 --precision float32,bfloat16
    python tools/benchmark_speed.py --models tiny --quick
    python tools/benchmark_speed.py --models demo --scaling points,threads

Full-size networks get random weights (nothing is downloaded); ``--models demo`` takes the bundled ones. Timings are
medians of alternating runs; "spread" is (slowest - fastest) / median of the fast runs. "floor" is the time the fast
way's multiplications would take at this machine's measured rate of large matrix products. Tables are Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmark_stages import (
    MODEL_NAMES,
    BlobProposals,
    Models,
    Stage,
    decoder_stage,
    encoder_stages,
    mask_stages,
    unit_vectors,
)
from torch.utils.flop_counter import FlopCounterMode

from no_time_to_train.matching import InstanceIndex, Prototypes, match, match_nearest_instances
from no_time_to_train.models.precision import resolve_device, resolve_precision
from no_time_to_train.ops.masks import encode_mask_logits

SCALINGS = ("points", "categories", "references", "image_size", "batch", "threads")


def _count_in_place_product(added: list[int], left: list[int], right: list[int], **_: Any) -> int:
    """Operations of ``added.baddbmm_(left, right)`` by shapes, which torch's counter does not know by itself."""
    return 2 * left[0] * left[1] * left[2] * right[2]


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
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{_machine(device)}; models {options.models}, torch {torch.__version__}")
    for precision in options.precision.split(","):
        dtype = resolve_precision(precision, device)
        models = Models(options.models, device, dtype, options.plain_batch)
        rate = _matrix_rate(device, dtype)
        print(f"\n## {precision}: {rate / 1e9:.0f} GFLOP/s measured for large matrix products\n")
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
    for stage in stages:
        difference = _difference(stage)  # also the first, slow run of both
        fast, plain = _measure_pair(stage, device, repeats)
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
            " / ".join(_peak_megabytes(run, device) for run in (stage.plain, stage.fast) if run),
            difference,
        )


def _difference(stage: Stage) -> str:
    fast = stage.fast()
    if stage.plain is None:
        return ""
    plain = stage.plain()
    return stage.compare(plain, fast) if stage.compare else ""


def _measure_pair(stage: Stage, device: torch.device, repeats: int) -> tuple[Timing, Timing | None]:
    """Alternating runs, so that a slow spell of the machine meets both."""
    fast, plain = [], []
    for _ in range(repeats):
        fast.append(_seconds(stage.fast, device))
        if stage.plain is not None:
            plain.append(_seconds(stage.plain, device))
    return Timing(fast), Timing(plain) if plain else None


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
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: _count_in_place_product}) as counter:
        run()
    return counter.get_total_flops()


def _matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of large matrix products; on a CPU the best of this format and float32."""
    side = 8192 if device.type == "cuda" else 2048
    rates = []
    for candidate in {dtype, torch.float32} if device.type == "cpu" else {dtype}:
        left = torch.randn(side, side, device=device).to(candidate)
        out = torch.empty_like(left)
        rates.append(2 * side**3 / min(_measure(lambda a=left, o=out: torch.mm(a, a, out=o), device, 5).seconds))
    return max(rates)


def _peak_megabytes(run: Callable[[], Any], device: torch.device) -> str:
    """The most memory while it runs: of the GPU, or of the whole process (Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return f"{torch.cuda.max_memory_allocated(device) / 1e6:.0f}"
    clear, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not clear.exists():
        return ""
    clear.write_text("5")  # resets the high-water mark
    run()
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return f"{int(line.split()[1]) / 1e3:.0f}"


def _scale_points(models: Models, options: argparse.Namespace) -> None:
    _start_table("Points", "points", "plain s", "fast s", "times faster")
    for points in (64, 256) if options.quick else (64, 256, 1024, 4096):
        fast, plain = _measure_pair(decoder_stage(models, points), models.device, options.repeats)
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
    _start_table("Photo size (encoding 100 masks)", "height x width", "RLE ms", "peak MB")
    for size in ((480, 640), (1000, 1500), (3000, 4000), (4000, 6000))[: 2 if options.quick else 4]:
        logits = BlobProposals(models, 100, 1, size).logits

        def encode(logits: torch.Tensor = logits, size: tuple[int, int] = size) -> Any:
            return encode_mask_logits(logits, size)

        timing = _measure(encode, models.device, options.repeats)
        _print_row(f"{size[0]} x {size[1]}", f"{timing.median * 1e3:.4g}", _peak_megabytes(encode, models.device))


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
        fast, plain = _measure_pair(stage, models.device, options.repeats)
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
