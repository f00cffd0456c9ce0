"""A GPU that is not there: tensors that say they are on ``cuda`` and hold their values in host memory.

Torch's own fake tensors say of every operation whether a GPU would take its inputs, and where its results would be: an
operation on tensors of the CPU and the GPU, or of two GPUs, is refused as there. The values are computed on the CPU, so
that sizes that depend on them are those of a real run. Whatever would make the host wait for the GPU is noted.

``cuda:1`` is the second of two GPUs, while the first is torch's current one. Neither takes float64: Apple's GPUs have
none.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from no_time_to_train.ops import masks, resize

_CPU = torch.device("cpu")
_PACKAGE = "no_time_to_train"
_SIZE_DEPENDS_ON_VALUES = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_consecutive",
    "aten::unique_dim",
    "aten::bincount",
    "aten::equal",
    "torchvision::nms",
}
_CACHES = (masks._taps, masks._cell_starts, resize.interpolation_matrix)
"""What is kept on the device from image to image."""
_COPIES = {"aten::_to_copy", "aten::copy_"}
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_"}
_KNOWN_DEVICES: dict[Any, torch.device | None] = {}
"""Where a function's results are, by the function and the devices of its inputs."""


class CardTensor(Tensor):
    """A tensor on the GPU that is not there."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor, device: torch.device) -> CardTensor:
        with torch.inference_mode(False):  # or torch takes no views of the weights inside of it
            return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
                cls,
                values.shape,
                strides=values.stride(),
                storage_offset=values.storage_offset(),
                dtype=values.dtype,
                device=device,
            )

    def __init__(self, values: Tensor, device: torch.device) -> None:
        self.values = values

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} on the pretended GPU, outside of pretend_card()")


class PretendCard(TorchDispatchMode):
    """Everything that runs while this mode is on.

    Attributes:
        device: of the GPU.
        waits: how often the host would have waited for the GPU, by function of the package and kind of operation.
        sent: bytes copied to the GPU, by function of the package.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.waits: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self._fake = FakeTensorMode(
            shape_env=ShapeEnv(allow_scalar_outputs=True, allow_dynamic_output_shape_ops=True),
            allow_non_fake_inputs=True,
        )
        self._pinned: dict[int, Tensor] = {}  # by the address of their storage

    def __enter__(self) -> PretendCard:
        self._fake.__enter__()  # while it is on, torch looks for no GPU
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._fake.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        if func.name() == "aten::_fused_sdp_choice":
            return 0  # the plain formula, of which the CPU has every operation
        if all(device is None or device.type == "cpu" for device in map(_device_of, leaves)):
            with torch._C._DisableTorchDispatch():
                return func(*args, **kwargs)
        if _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        if func.name().split(".")[0] in _INDEXING:
            _check_indices(*args)
        device = self._device_of_results(func, args, kwargs, leaves)
        self._note_copies(func, args, kwargs)
        with torch._C._DisableTorchDispatch():
            if func is torch.ops.aten._softmax.default and args[2]:  # from half to float at once: a GPU's alone
                args = (on_host(args[0]).float(), args[1], False)
            results = func(*_on_host(args), **_on_host(kwargs))
        given = {id(leaf.values): leaf for leaf in leaves if isinstance(leaf, CardTensor)}

        def place(result: Tensor) -> Tensor:
            if id(result) in given:
                return given[id(result)]
            if device is None or device.type == "cpu":
                # Torch puts there what it copies without waiting.
                return self._as_pinned(result) if kwargs.get("non_blocking") else result
            if result.dtype == torch.float64:
                raise TypeError(f"{func} gives float64, which Apple's GPUs do not have")
            return CardTensor(result, device)

        if isinstance(results, Tensor):
            return place(results)
        return tree_map_only(Tensor, place, results)

    def in_another_thread(self) -> PretendCard:
        """Return the same GPU for another thread; each has its own modes."""
        card = PretendCard(self.device)
        card.waits, card.sent, card._pinned = self.waits, self.sent, self._pinned
        return card

    def note(self, operation: str) -> None:
        """Count one more wait."""
        self.waits[f"{_caller()}: {operation}"] += 1

    def pin(self, tensor: Tensor) -> Tensor:
        """Copy to memory that a GPU reads by itself; what is there already stays."""
        if self.is_pinned(tensor):
            return tensor
        return self._as_pinned(tensor.clone())

    def _as_pinned(self, tensor: Tensor) -> Tensor:
        self._pinned[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    def is_pinned(self, tensor: Tensor) -> bool:
        """Return whether a GPU reads a tensor by itself."""
        return tensor.is_cpu and tensor.untyped_storage().data_ptr() in self._pinned

    def _note_copies(self, func: Any, args: Any, kwargs: Any) -> None:
        name = func.name().split(".")[0]
        if self._makes_host_wait(func, args, kwargs):
            self.note(name.split("::")[1].removeprefix("_"))
        if name in _COPIES and (args[1] if name == "aten::copy_" else args[0]).is_cpu:
            source = args[1] if name == "aten::copy_" else args[0]
            self.sent[_caller()] += source.nbytes

    def _device_of_results(self, func: Any, args: Any, kwargs: Any, leaves: list[Any]) -> torch.device | None:
        """Ask torch's fake tensors, once for each function and devices of its inputs."""
        key = (func, *((_device_of(leaf), isinstance(leaf, Tensor) and leaf.ndim == 0) for leaf in leaves))
        if key not in _KNOWN_DEVICES:

            def fake(tensor: Tensor) -> Tensor:
                return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)

            with self._fake:
                results = func(*tree_map_only(Tensor, fake, args), **tree_map_only(Tensor, fake, kwargs))
            devices = {_device_of(result) for result in tree_leaves(results)} - {None}
            assert len(devices) <= 1, f"{func} has results on {devices}"
            _KNOWN_DEVICES[key] = next(iter(devices), None)
        return _KNOWN_DEVICES[key]

    def _makes_host_wait(self, func: Any, args: Any, kwargs: Any) -> bool:
        name = func.name().split(".")[0]
        if name in _COPIES:
            target, source = (kwargs.get("device"), args[0]) if name == "aten::_to_copy" else (args[0].device, args[1])
            moves = target is not None and torch.device(target).type != source.device.type
            is_waited_for = not kwargs.get("non_blocking") or (source.is_cpu and not self.is_pinned(source))
            return moves and is_waited_for
        if name in _INDEXING:
            indices = [index for index in args[1] if index is not None]
            return any(index.dtype == torch.bool or index.is_cpu for index in indices)
        if name == "aten::repeat_interleave":
            return kwargs.get("output_size") is None
        return name in _SIZE_DEPENDS_ON_VALUES


class _Stream:
    def __init__(self, card: PretendCard, device: torch.device | None) -> None:
        assert device == card.device, f"a stream of {device} says nothing of what {card.device} has done"
        self._card = card

    def synchronize(self) -> None:
        self._card.note("synchronize")


@contextmanager
def pretend_card(monkeypatch: pytest.MonkeyPatch, device: str = "cuda") -> Iterator[PretendCard]:
    """Let this device exist for this block: ``cuda``, the first of two, or ``cuda:1``."""
    card = PretendCard(torch.device("cuda", torch.device(device).index or 0))
    with monkeypatch.context() as patch, card:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.cuda, "device", lambda device: nullcontext())
        patch.setattr(torch.cuda, "device_count", lambda: 2)
        patch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
        patch.setattr(torch.cuda, "current_stream", lambda device=None: _Stream(card, device))
        patch.setattr(Tensor, "pin_memory", lambda tensor: card.pin(tensor))
        patch.setattr(Tensor, "is_pinned", lambda tensor: card.is_pinned(tensor))
        run = threading.Thread.run

        def run_with_card(thread: threading.Thread) -> None:
            with card.in_another_thread():
                run(thread)

        patch.setattr(threading.Thread, "run", run_with_card)
        for cached in _CACHES:
            cached.cache_clear()
        yield card
    for cached in _CACHES:
        cached.cache_clear()


def on_host(tensor: Tensor) -> Tensor:
    """Return the values, wherever the tensor is; no wait is noted."""
    return tensor.values if isinstance(tensor, CardTensor) else tensor


@cache
def _is_composite(func: Any) -> bool:
    has_kernel: Callable[[str, str], bool] = torch._C._dispatch_has_kernel_for_dispatch_key
    return has_kernel(func.name(), "CompositeImplicitAutograd")


def _check_indices(indexed: Tensor, indices: Sequence[Tensor | None], values: Tensor | None = None, *_: Any) -> None:
    """Refuse what torch refuses; fake tensors let it pass."""
    if any(index is not None and not index.is_cpu and index.device != indexed.device for index in indices):
        raise RuntimeError(f"indices should be either on cpu or on the same device as the indexed ({indexed.device})")
    if values is not None and values.device != indexed.device and values.ndim:
        raise RuntimeError(f"values on {values.device} into a tensor on {indexed.device}")


def _on_host(values: Any) -> Any:
    """Put values in the place of the GPU's tensors, and the CPU in the place of its name; lists and dicts go in."""
    if isinstance(values, CardTensor):
        return values.values
    if isinstance(values, torch.device):
        return _CPU
    if isinstance(values, list | tuple):
        return [_on_host(value) for value in values]
    return {key: _on_host(value) for key, value in values.items()} if isinstance(values, dict) else values


def _device_of(leaf: Any) -> torch.device | None:
    """Return where a tensor is or is asked for; a GPU's name without a number is the current one's."""
    device = leaf.device if isinstance(leaf, Tensor) else leaf
    if not isinstance(device, torch.device):
        return None
    return torch.device(device.type, 0) if device.index is None and device.type != "cpu" else device


def _caller() -> str:
    """Return the innermost function of the package on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_PACKAGE):
            return f"{module.removeprefix(_PACKAGE + '.')}.{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "outside of the package"
