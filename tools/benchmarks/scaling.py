"""Tables of how the time grows: with points, categories, references, image size, batch, threads."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from no_time_to_train.data.images import read_image, resize_for_model
from no_time_to_train.matching import InstanceIndex, Prototypes, match, match_nearest_instances
from tools.benchmarks.stages import (
    BlobProposals,
    Models,
    chosen_decoder_stage,
    decoder_stage,
    encoder_stages,
    mask_stages,
    unit_vectors,
)
from tools.benchmarks.tables import print_row, start_table
from tools.benchmarks.timing import give_back_free_memory, held_megabytes, measure, measure_pair, with_peak_megabytes
from tools.benchmarks.whole_images import scale_images, write_images


def _scale_points(models: Models, options: argparse.Namespace) -> None:
    start_table("Points", "points", "plain s", "fast s", "times faster")
    for points in (64, 256) if options.quick else (64, 256, 1024, 4096):
        (fast, plain), _ = measure_pair(decoder_stage(models, points), models.device, options.repeats)
        assert plain is not None
        print_row(points, f"{plain.median:.4g}", f"{fast.median:.4g}", f"{plain.median / fast.median:.1f}")


def _compare_decoders(models: Models, options: argparse.Namespace) -> None:
    title = f"The decoder that is chosen here against the folded one in torch ({options.points} points)"
    start_table(title, "decoder", "s", "spread", "CPU s", "times faster", "times less CPU", "difference")
    stage = chosen_decoder_stage(models, options.points)
    (chosen, folded), firsts = measure_pair(stage, models.device, options.repeats)
    assert folded is not None and stage.compare is not None
    print_row("`folded`", f"{folded.median:.4g}", f"{folded.spread:.0%}", f"{folded.cpu_median:.4g}", "", "", "")
    gain = f"{folded.median / chosen.median:.2f}", f"{folded.cpu_median / chosen.cpu_median:.2f}"
    difference = stage.compare(firsts[1][0], firsts[0][0])
    print_row("`auto`", f"{chosen.median:.4g}", f"{chosen.spread:.0%}", f"{chosen.cpu_median:.4g}", *gain, difference)


def _scale_categories(models: Models, options: argparse.Namespace) -> None:
    start_table("Categories (class means)", "categories", "matching ms")
    dim = models.fast_dino.feature_dim
    features = unit_vectors(options.points, dim).to(models.device)
    for count in (1, 20, 80, 365, 1203):
        prototypes = Prototypes(unit_vectors(count, dim), torch.arange(count), count).to(models.device)
        timing = measure(lambda p=prototypes: match(features, p), models.device, options.repeats)
        print_row(count, f"{timing.median * 1e3:.3g}")


def _scale_references(models: Models, options: argparse.Namespace) -> None:
    start_table("References (matching=nearest_instances)", "reference instances", "matching ms")
    dim = models.fast_dino.feature_dim
    features = unit_vectors(options.points, dim).to(models.device)
    for count in (10, 100, 1000) if options.quick else (10, 100, 1000, 12030, 36090):
        index = InstanceIndex(unit_vectors(count, dim), torch.arange(count) % options.categories, options.categories)
        timing = measure(lambda i=index: match_nearest_instances(features, i, 4), models.device, options.repeats)
        print_row(count, f"{timing.median * 1e3:.3g}")


def _scale_image_size(models: Models, options: argparse.Namespace) -> None:
    start_table(
        f"Image size ({options.points} masks, all but the networks)",
        *(
            "height x width",
            "reading a JPEG s",
            "its CPU s",
            "squashing s",
            "its CPU s",
            "NMS + merging s",
            "RLE s",
            "peak MB above the models",
        ),
    )
    sizes = ((480, 640), (1000, 1500), (3000, 4000), (4284, 5712))
    for size in sizes[: 2 if options.quick else 4]:
        with tempfile.TemporaryDirectory() as folder:
            [target] = write_images(Path(folder), 1, size)
            reading = measure(lambda path=target.path: read_image(path), models.device, options.repeats)
        give_back_free_memory()
        before = held_megabytes(models.device)
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        *_, merging, encoding = mask_stages(BlobProposals(models, options.points, options.categories, size))
        runs = (lambda i=image: resize_for_model(i, models.fast_sam.image_size), merging.fast, encoding.fast)
        squashing, *others = (measure(run, models.device, options.repeats) for run in runs)
        on_cpu = [f"{value:.4g}" for timing in (reading, squashing) for value in (timing.median, timing.cpu_median)]
        seconds = [*on_cpu, *(f"{timing.median:.4g}" for timing in others)]
        peaks = [with_peak_megabytes(run, models.device)[1] for run in runs]
        above = max(map(float, peaks)) - before if all(peaks) else None
        print_row(f"{size[0]} x {size[1]}", *seconds, "" if above is None else f"{above:.0f}")


def _scale_batch(models: Models, options: argparse.Namespace) -> None:
    start_table("Images per batch", "images", "SAM encoder s / image", "DINO encoder s / image")
    for count in (1, 2) if options.quick else (1, 2, 4, 8):
        timings = [measure(s.fast, models.device, options.repeats) for s in encoder_stages(models, count)]
        print_row(count, *(f"{timing.median / count:.4g}" for timing in timings))


def _scale_threads(models: Models, options: argparse.Namespace) -> None:
    start_table("CPU threads", "threads", "plain decoder s", "fast decoder s", "times faster")
    before = torch.get_num_threads()
    stage = decoder_stage(models, min(options.points, 64))
    for threads in sorted({1, 2, before}):
        torch.set_num_threads(threads)
        (fast, plain), _ = measure_pair(stage, models.device, options.repeats)
        assert plain is not None
        print_row(threads, f"{plain.median:.4g}", f"{fast.median:.4g}", f"{plain.median / fast.median:.1f}")
    torch.set_num_threads(before)


SCALING_TABLES: dict[str, Callable[[Models, argparse.Namespace], None]] = {
    "decoders": _compare_decoders,
    "points": _scale_points,
    "categories": _scale_categories,
    "references": _scale_references,
    "image_size": _scale_image_size,
    "batch": _scale_batch,
    "threads": _scale_threads,
    "images": scale_images,
}
