"""Which device, which number format, and how a forward pass runs in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any

import torch

from no_time_to_train.errors import EnvironmentProblemError, InputError
from no_time_to_train.models.processor import cpu_capabilities

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: str | torch.device) -> torch.device:
    """Resolve ``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        InputError: not the name of a device.
        EnvironmentProblemError: this machine does not have it.
    """
    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device={device} is not a device. Use auto, cpu, cuda, cuda:1 or mps.") from error
    if resolved.type == "cuda":
        _check_cuda(resolved)
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise EnvironmentProblemError(
            f"device=mps, but torch {torch.__version__} sees no Apple GPU. Use device=auto or device=cpu."
        )
    return resolved


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Resolve ``auto``, ``float32``, ``bfloat16`` or ``float16``.

    ``auto`` is bfloat16 where the hardware multiplies in it (CUDA GPUs since Ampere, CPUs with AMX or AVX512-BF16),
    else float32. Raises InputError for any other name.
    """
    if precision == "auto":
        return torch.bfloat16 if _has_fast_bfloat16(device) else torch.float32
    if precision not in _DTYPES:
        raise InputError(f"precision={precision} is not a choice. Use one of: auto, {', '.join(_DTYPES)}.")
    return _DTYPES[precision]


@contextmanager
def forward_precision(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Run a forward pass without gradients, in one number format.

    It is under autocast to ``dtype``, or in true float32 (no TF32, no outer autocast).
    """
    reduced = dtype != torch.float32
    with torch.no_grad(), torch.autocast(device.type, dtype=dtype if reduced else None, enabled=reduced):
        if reduced or device.type != "cuda":
            yield
            return
        with _no_tf32:
            yield


class _NoTf32:
    """Switch TF32 off as long as any thread is inside: the switch is the whole process's."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._num_inside = 0
        self._before: tuple[str, str] = "none", "none"

    def __enter__(self) -> None:
        matmul, convolution = self._switches()
        with self._lock:
            if not self._num_inside:
                self._before = matmul.fp32_precision, convolution.fp32_precision
            self._num_inside += 1
            matmul.fp32_precision = convolution.fp32_precision = "ieee"

    def __exit__(self, *error: object) -> None:
        matmul, convolution = self._switches()
        with self._lock:
            self._num_inside -= 1
            if not self._num_inside:
                matmul.fp32_precision, convolution.fp32_precision = self._before

    @staticmethod
    def _switches() -> tuple[Any, Any]:
        return torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]


_no_tf32 = _NoTf32()


def current_device(device: torch.device) -> AbstractContextManager[object]:
    """Make a CUDA GPU the one that ``cuda`` without a number means; other devices change nothing."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _check_cuda(device: torch.device) -> None:
    if not torch.cuda.is_available():
        built_for = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise EnvironmentProblemError(
            f"No CUDA GPU seen by torch {torch.__version__} ({built_for}), but device={device} was asked for. "
            "Use device=cpu (about a minute per image; preset=fast is quicker), or see nttt doctor for the driver."
        )
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise EnvironmentProblemError(
            f"device={device}, but this machine has {count} CUDA GPU{'s' if count > 1 else ''}: "
            f"the last is cuda:{count - 1}."
        )


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        with current_device(device):  # torch looks at no other
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = cpu_capabilities()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False
