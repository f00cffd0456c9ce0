"""What weights hold, as the headers of their files say: names, types and shapes, before any network is built."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from no_time_to_train.errors import InputError
from no_time_to_train.models.weight_index import weight_files

_TIMES_LARGER = 4
_SPARE_TENSORS, _SPARE_VALUES = 1_000, 100_000_000
"""What a network may be larger than its files: tied weights are stored once, and tables of positions not at all."""


@dataclass(frozen=True)
class WeightTotals:
    """How much weights hold.

    Attributes:
        num_tensors: how many arrays there are.
        num_values: how many numbers are in all of them.
    """

    num_tensors: int
    num_values: int


def totals_of_folder(folder: Path) -> WeightTotals:
    """Count the tensors and values of a folder's weights, from their headers.

    Raises:
        InputError: a file is damaged or missing, or a weight is no floating-point number.
    """
    sizes = [size for path in weight_files(folder) for size in _header(path)]
    return WeightTotals(len(sizes), sum(sizes))


def totals_of(tensors: Mapping[str, Tensor]) -> WeightTotals:
    """Count the tensors and values of weights that are read."""
    return WeightTotals(len(tensors), sum(tensor.numel() for tensor in tensors.values()))


@contextmanager
def no_larger_than(totals: WeightTotals, source: object) -> Iterator[None]:
    """Stop a network that is built inside the block when it becomes far larger than its weights.

    Settings of 10**6 layers would else take hours, those of a width of 10**9 all memory. Only what is built on
    PyTorch's device ``meta``, without memory, is counted.

    Args:
        totals: what the weights hold.
        source: file or folder, for the message.

    Raises:
        InputError: it does.
    """
    num_tensors = num_values = 0

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal num_tensors, num_values
        if tensor is None or not tensor.is_meta:
            return
        num_tensors += 1
        num_values += tensor.numel()
        if (
            num_tensors > _TIMES_LARGER * totals.num_tensors + _SPARE_TENSORS
            or num_values > _TIMES_LARGER * totals.num_values + _SPARE_VALUES
        ):
            raise InputError(
                f"{source} does not hold the weights of the network that its settings describe: they are "
                f"{totals.num_values:,} values in {totals.num_tensors:,} tensors, the network has more than "
                f"{num_values:,} in {num_tensors:,}. Check the numbers of layers and channels, or fetch both again."
            )

    handles = [
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_finite(weights: Iterable[tuple[str, Tensor]], source: object) -> None:
    """Refuse weights with NaN or infinite values: their network would give nothing but NaN, without a word.

    Args:
        weights: names and tensors.
        source: file or folder, for the message.

    Raises:
        InputError: a tensor has such values; the message names it.
    """
    for name, tensor in weights:
        # One pass without a copy: a sum is finite only where all is, but for sums that are too large themselves.
        if not tensor.is_floating_point() or math.isfinite(float(tensor.detach().sum())) or tensor.isfinite().all():
            continue
        count = int((~tensor.isfinite()).sum())
        raise InputError(
            f"{source}: {count:,} of the {tensor.numel():,} values of the weight {name} are NaN or infinite. The file "
            "is damaged, or training went wrong; fetch it again, or use an earlier checkpoint."
        )


def _header(path: Path) -> list[int]:
    """Return the number of values of every tensor in a file."""
    from safetensors import SafetensorError, safe_open

    sizes = []
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                described = file.get_slice(name)
                if name.endswith((".weight", ".bias")) and not described.get_dtype().startswith(("F", "BF")):
                    raise InputError(
                        f"{path}: the weight {name} is of type {described.get_dtype()}, must be floating point. "
                        "Quantized networks cannot be used; fetch the plain one."
                    )
                sizes.append(math.prod(described.get_shape()))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}). Fetch it again.") from error
    return sizes
