"""Count what a piece of work asks of a device: floating-point operations, bytes moved, kernels started."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count


@dataclass(frozen=True)
class Operation:
    """One kernel.

    Attributes:
        flops: of matrix products, convolutions and attention; 0 for all else.
        num_bytes: read and written, each input and output once.
        dtype: of the first tensor.
    """

    flops: int
    num_bytes: int
    dtype: torch.dtype


@dataclass
class Operations:
    """All kernels of some work."""

    kernels: list[Operation] = field(default_factory=list)

    @property
    def flops(self) -> int:
        return sum(kernel.flops for kernel in self.kernels)

    @property
    def num_bytes(self) -> int:
        return sum(kernel.num_bytes for kernel in self.kernels)


def count(run: Callable[[], Any]) -> Operations:
    """Run once and count; on a fake GPU nothing is computed.

    Example:
        >>> work = count(lambda: torch.ones(4, 8) @ torch.ones(8, 2))
        >>> work.flops, len(work.kernels)
        (128, 3)
    """
    with torch.inference_mode(), _Counting() as counting:
        run()
    return counting.operations


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations = Operations()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # a question about a fake tensor
            return func(*args, **kwargs)
        is_attention = func is torch.ops.aten.scaled_dot_product_attention.default
        if not is_attention and _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        results = func(*args, **kwargs)
        name = func.name().split("::")[1].split(".")[0]
        if not func.is_view and name not in _NOT_A_KERNEL:
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            written = [leaf for leaf in tree_leaves(results) if isinstance(leaf, Tensor)]
            read = tensors[1:] + written if name in _READS_WHAT_IT_WRITES else tensors
            num_bytes = sum(map(_num_bytes, (*read, *written)))
            dtype = (tensors or written)[0].dtype if tensors or written else torch.float32
            self.operations.kernels.append(Operation(_flops(func, args, kwargs, results), num_bytes, dtype))
        return results


_NOT_A_KERNEL = {"empty", "empty_strided", "new_empty", "empty_like", "detach", "lift_fresh", "new_empty_strided"}
_READS_WHAT_IT_WRITES = {"index", "index_select", "gather", "embedding"}
"""They read no more of their first input than they write."""


def _is_composite(func: Any) -> bool:
    has_kernel: Callable[[str, str], bool] = torch._C._dispatch_has_kernel_for_dispatch_key
    return has_kernel(func.name(), "CompositeImplicitAutograd")


def _num_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor; what is only repeated counts once."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or size == 0)
    return math.prod(sizes) * tensor.element_size()


def _flops(func: Any, args: Any, kwargs: Any, results: Any) -> int:
    """By torch's own formulas, and for three functions that it does not know."""
    if func is torch.ops.aten.scaled_dot_product_attention.default:
        return int(sdpa_flop_count(*(tensor.shape for tensor in args[:3])))
    if func is torch.ops.aten.baddbmm_.default:
        return 2 * args[1].numel() * args[2].shape[2]
    if func is torch.ops.mkldnn._linear_pointwise.default:  # what models/cpu_linear.py puts in
        return 2 * args[0].numel() * args[1].shape[0]
    formula = flop_registry.get(func._overloadpacket)
    return int(formula(*args, **kwargs, out_val=results)) if formula else 0
