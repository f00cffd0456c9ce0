"""How long every stage of segmenting one image takes, plain against fast, in one process on the same inputs.

    python -m tools.benchmarks.speed --models large --points 1024 --precision float32,bfloat16
    python -m tools.benchmarks.speed --models large --points 1024 --precision bfloat16 --default-allocator
    python -m tools.benchmarks.speed --models tiny --quick
    python -m tools.benchmarks.speed --models demo --scaling points,threads
    python -m tools.benchmarks.speed --models tiny --points 1024 --no-stages --scaling decoders

Full-size networks get random weights (nothing is downloaded); ``--models demo`` takes the bundled ones. Timings are
medians of alternating runs; "spread" is (slowest - fastest) / median of the fast runs. "CPU s" is the
time of all threads on the CPU. "floor" is the time the fast
way's multiplications would take at this machine's measured rate of large matrix products, and "share of peak" the share
of that rate which is reached. Operations and bytes are counted as ``expected_speed`` does. Tables are Markdown.
"""

from __future__ import annotations

import argparse

import torch

from no_time_to_train.models.allocator import keep_freed_memory
from no_time_to_train.models.precision import resolve_device, resolve_precision
from no_time_to_train.models.processor import cpu_capabilities
from tools.benchmarks.expected_speed import CARDS
from tools.benchmarks.operations import count
from tools.benchmarks.scaling import SCALING_TABLES
from tools.benchmarks.stages import (
    MODEL_NAMES,
    BlobProposals,
    Models,
    Stage,
    decoder_stage,
    encoder_stages,
    mask_stages,
)
from tools.benchmarks.tables import print_row
from tools.benchmarks.timing import held_megabytes, matrix_rate, measure_pair


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
        rate = matrix_rate(device, dtype)
        print(f"\n## {precision}: {rate / 1e9:.0f} GFLOP/s measured for large matrix products\n")
        if not options.no_stages:
            proposals = BlobProposals(models, options.points, options.categories, options.image_size)
            print(f"{held_megabytes(device):.0f} MB are held by the models and inputs of both ways.\n")
            stages = [*encoder_stages(models), decoder_stage(models, options.points), *mask_stages(proposals)]
            _print_stages(stages, device, rate, options.repeats)
        for scaling in filter(None, options.scaling.split(",")):
            SCALING_TABLES[scaling](models, options)


def _print_stages(stages: list[Stage], device: torch.device, rate: float, repeats: int) -> None:
    print_row(
        "stage",
        "plain s",
        "fast s",
        "spread",
        "times faster",
        "CPU s plain / fast",
        "GFLOP",
        "GB moved",
        "floor s",
        "over floor",
        "share of peak",
        "peak MB plain / fast",
        "difference",
    )
    print_row(*["---"] * 13)
    plain_seconds, fast_seconds, plain_cpu, fast_cpu = 0.0, 0.0, 0.0, 0.0
    for stage in stages:
        (fast, plain), firsts = measure_pair(stage, device, repeats)
        fast_peak, plain_peak = firsts[0][1], firsts[1][1] if plain else ""
        difference = stage.compare(firsts[1][0], firsts[0][0]) if stage.compare else ""
        del firsts
        fast_seconds += fast.median
        plain_seconds += (plain or fast).median
        fast_cpu += fast.cpu_median
        plain_cpu += (plain or fast).cpu_median
        work = count(stage.counted or stage.fast)
        floor = work.flops / rate
        if floor < fast.median / 100:  # the stage is no matter of matrix products
            floor = 0
        print_row(
            stage.name,
            f"{plain.median:.4g}" if plain else "",
            f"{fast.median:.4g}",
            f"{fast.spread:.0%}",
            f"{plain.median / fast.median:.1f}" if plain else "",
            f"{plain.cpu_median:.4g} / {fast.cpu_median:.4g}" if plain else f"{fast.cpu_median:.4g}",
            f"{work.flops / 1e9:.3g}",
            f"{work.num_bytes / 1e9:.3g}",
            f"{floor:.3g}" if floor else "",
            f"{fast.median / floor:.1f}" if floor else "",
            f"{floor / fast.median:.0%}" if floor else "",
            f"{plain_peak} / {fast_peak}" if plain_peak else fast_peak,
            difference,
        )
    total = f"{plain_seconds:.4g}", f"{fast_seconds:.4g}", "", f"{plain_seconds / fast_seconds:.1f}"
    print_row("whole image (sum)", *total, f"{plain_cpu:.4g} / {fast_cpu:.4g}", *[""] * 7)


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        known = [card for card in CARDS if name.startswith(card.name)]
        peaks = [
            f"{card.half / 1e12:g} TFLOP/s half, {card.single / 1e12:g} float32, {card.bandwidth / 1e12} TB/s"
            for card in known
        ]
        return f"{name} (data sheet: {peaks[0]})" if peaks else name
    capabilities = cpu_capabilities()
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
    parser.add_argument(
        "--scaling", default="", help=f"more tables, comma-separated: {', '.join(SCALING_TABLES)}; or all"
    )
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
        options.scaling = ",".join(SCALING_TABLES)
    unknown = set(filter(None, options.scaling.split(","))) - set(SCALING_TABLES)
    if unknown:
        parser.error(f"--scaling={','.join(sorted(unknown))}: use {', '.join(SCALING_TABLES)} or all")
    options.image_size = tuple(options.image_size)
    return options


if __name__ == "__main__":
    main()
