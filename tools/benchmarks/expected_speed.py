"""What GPUs should take for one image, on paper: nothing is measured and no GPU is needed.

    python -m tools.benchmarks.expected_speed
    python -m tools.benchmarks.expected_speed --models small --points 256

Operations, bytes and kernels of every stage are counted on fake tensors at the real sizes. A kernel takes the longer of
its operations at ``COMPUTE_SHARE`` of the card's peak and its bytes at ``BANDWIDTH_SHARE`` of its bandwidth; a stage
takes the longer of its kernels' time and the time to start them all. Every mask is upscaled, the decoder's worst case.
What the CPU does (reading and squashing images, NMS, merging, writing) is not in it. Tables are Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from no_time_to_train.matching import Prototypes, match
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.models.dino.encoder import load_dino
from no_time_to_train.models.frozen_encoder import prepare_encoder
from no_time_to_train.models.interfaces import PromptBatch
from no_time_to_train.models.patch_encoder import PatchEncoder
from no_time_to_train.models.sam2.model import Sam2MaskModel, build_sam2
from no_time_to_train.ops.resize import interpolation_matrix
from no_time_to_train.proposals.interfaces import EncodedImage, MaskProposals
from no_time_to_train.proposals.pooled import pool_proposals
from tools.benchmarks.operations import Operations, count
from tools.benchmarks.stages import MODEL_NAMES
from tools.benchmarks.tables import print_row, start_table

COMPUTE_SHARE, BANDWIDTH_SHARE = 0.5, 0.75
"""Of the peaks in the data sheets, what is assumed to be reached."""
SECONDS_TO_START_A_KERNEL = 5e-6
"""Assumed, from Python."""
INSTEAD = "(in place of it, sam2's own decoder)"
"""The stage that is not one of the whole image's."""


@dataclass(frozen=True)
class Card:
    """A GPU by its maker's data sheet.

    Attributes:
        name: as torch names it, or the beginning of that.
        half: operations per second of dense products in the format below, summed up in float32.
        single: the same in float32 without TF32.
        bandwidth: bytes per second.
        half_dtype: bfloat16, or float16 where the card does not multiply in bfloat16.
    """

    name: str
    half: float
    single: float
    bandwidth: float
    half_dtype: str = "bfloat16"


CARDS = (
    Card("NVIDIA H200", 989e12, 67e12, 4.8e12),
    Card("NVIDIA H100", 989e12, 67e12, 3.35e12),
    Card("NVIDIA A100", 312e12, 19.5e12, 2.039e12),
    Card("NVIDIA GeForce RTX 4090", 165.2e12, 82.6e12, 1.008e12),
    Card("Tesla T4", 65e12, 8.1e12, 0.32e12, "float16"),
)
"""SXM modules of 141, 80 and 80 GB, a GeForce, and a T4: without sparsity."""


def main() -> None:
    options = _parse_arguments()
    print_row("card", "TFLOP/s half", "TFLOP/s float32", "TB/s", "half is")
    print_row(*["---"] * 5)
    for card in CARDS:
        print_row(card.name, f"{card.half / 1e12:g}", f"{card.single / 1e12:g}", card.bandwidth / 1e12, card.half_dtype)
    for name in options.models.split(","):
        for precision in options.precision.split(","):
            dtype = torch.float32 if precision == "float32" else torch.bfloat16
            stages = count_stages(name, dtype, options.points, options.categories)
            _print_table(" + ".join(MODEL_NAMES[name]), precision, options.points, stages)


def expected_seconds(work: Operations, card: Card) -> float:
    """Return how long a stage takes on a card, by the assumptions above."""
    on_device = sum(
        max(
            kernel.flops / (COMPUTE_SHARE * (card.single if kernel.dtype == torch.float32 else card.half)),
            kernel.num_bytes / (BANDWIDTH_SHARE * card.bandwidth),
        )
        for kernel in work.kernels
    )
    return max(on_device, SECONDS_TO_START_A_KERNEL * len(work.kernels))


def count_stages(models: str, dtype: torch.dtype, num_points: int, num_categories: int = 80) -> dict[str, Operations]:
    """Count the stages of one image that a GPU works on.

    Args:
        models: a key of ``MODEL_NAMES``.
        dtype: number format of both networks.
        num_points: prompts.
        num_categories: with one prototype each.
    """
    networks = _build_networks(models, dtype)
    with _pretended_gpu():
        sam, plain, dino = _wrap(models, networks, dtype)
        large, small = (torch.zeros(1, 3, m.image_size, m.image_size, device="cuda") for m in (sam, dino))
        [embedding] = sam.encode_images(large)
        prompts = PromptBatch.of_clicks(torch.zeros(num_points, 2, device="cuda"))
        masks = torch.zeros(num_points, sam.mask_size, sam.mask_size, device="cuda")
        proposals = MaskProposals(masks, masks[:, 0, 0])
        image = EncodedImage((sam.image_size, sam.image_size), dino.encode(small)[0], embedding)
        stages: dict[str, Callable[[], Any]] = {
            "SAM encoder": lambda: sam.encode_images(large),
            "DINO encoder": lambda: dino.encode(small),
            f"decoder, {num_points} points": lambda: sam.predict_best(embedding, prompts, min_predicted_iou=0.0),
            INSTEAD: lambda: plain.predict_best(embedding, prompts, min_predicted_iou=0.0),
            "pooling": lambda: pool_proposals(proposals, image),
        }
        counted = {name: count(run) for name, run in stages.items()}
    features, vectors = torch.ones(num_points, dino.feature_dim), torch.ones(num_categories, dino.feature_dim)
    prototypes = Prototypes(vectors, torch.arange(num_categories), num_categories)
    return counted | {f"matching, {num_categories} categories": count(lambda: match(features, prototypes))}


def _build_networks(models: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """Both, without values: none of them matters."""
    from transformers import Dinov2Config, Dinov2Model

    sam_spec, dino_spec = (get_spec(part) for part in MODEL_NAMES[models])
    with mock.patch.multiple(nn.init, trunc_normal_=_leave, kaiming_uniform_=_leave, uniform_=_leave, normal_=_leave):
        sam = build_sam2(sam_spec)
    if dino_spec.bundled_folder:  # its file alone says how large it is
        dino = load_dino(dino_spec).module
    else:
        with torch.device("meta"):
            dino = Dinov2Model(Dinov2Config(**dino_spec.architecture))
    prepare_encoder(sam.image_encoder, torch.device("cuda"), dtype)
    prepare_encoder(dino, torch.device("cuda"), dtype)
    return sam, dino


def _leave(given: Any, *_: Any, **__: Any) -> Any:
    return given


def _wrap(
    models: str, networks: tuple[nn.Module, nn.Module], dtype: torch.dtype
) -> tuple[Sam2MaskModel, Sam2MaskModel, PatchEncoder]:
    """SAM 2 with our decoder and with its own, and the encoder."""
    sam_spec, dino_spec = (get_spec(part) for part in MODEL_NAMES[models])
    device = torch.device("cuda")
    sam, dino = (network.to_empty(device=device) for network in networks)
    encoder = PatchEncoder(
        dino,
        model_id=dino_spec.name,
        patch_size=dino.config.patch_size,
        feature_dim=dino.config.hidden_size,
        image_size=dino_spec.image_size,
        device=device,
        dtype=dtype,
    )
    folded, plain = (
        Sam2MaskModel(sam, model_id=sam_spec.name, device=device, dtype=dtype, decoder=decoder)
        for decoder in ("folded", "plain")
    )
    return folded, plain, encoder


@contextmanager
def _pretended_gpu() -> Iterator[None]:
    """Let torch's fake tensors be on a GPU; every prompt's mask is kept."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)  # made before torch believes that there is a GPU
    gpu = mock.patch.multiple(torch.cuda, is_available=lambda: True, is_bf16_supported=lambda *_, **__: True)
    memory = mock.patch.object(Tensor, "pin_memory", lambda tensor: tensor)
    moves = mock.patch.multiple(nn.Module, to=_leave, float=_leave)  # the modules are where they should be
    interpolation_matrix.cache_clear()
    with fake, gpu, memory, moves, _EveryMaskKept():
        yield
    interpolation_matrix.cache_clear()


class _EveryMaskKept(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.nonzero.default:
            return torch.empty(args[0].numel(), args[0].ndim, dtype=torch.int64, device=args[0].device)
        return func(*args, **(kwargs or {}))


def _print_table(models: str, precision: str, num_points: int, stages: dict[str, Operations]) -> None:
    names = [f"{card.name.split()[-1]} ms" for card in CARDS]
    start_table(f"{models}, {num_points} points, {precision}", "stage", "GFLOP", "GB moved", "kernels", *names)
    for name, work in stages.items():
        _print_work(name, work, [expected_seconds(work, card) for card in CARDS])
    ours = [work for name, work in stages.items() if name != INSTEAD]
    totals = [sum(expected_seconds(work, card) for work in ours) for card in CARDS]
    _print_work("whole image", Operations([kernel for work in ours for kernel in work.kernels]), totals)
    print_row("images/s", "", "", "", *(f"{1 / total:.2g}" for total in totals))


def _print_work(name: str, work: Operations, seconds: list[float]) -> None:
    cells = f"{work.flops / 1e9:.3g}", f"{work.num_bytes / 1e9:.3g}", len(work.kernels)
    print_row(name, *cells, *(f"{second * 1e3:.3g}" for second in seconds))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="large,small", help=f"comma-separated: {', '.join(MODEL_NAMES)}")
    parser.add_argument(
        "--precision", default="half,float32", help="comma-separated: half (bfloat16 or float16), float32"
    )
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--categories", type=int, default=80)
    return parser.parse_args()


if __name__ == "__main__":
    main()
