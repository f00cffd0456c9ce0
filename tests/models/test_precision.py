from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from no_time_to_train.errors import EnvironmentProblemError, InputError
from no_time_to_train.models.precision import forward_precision, resolve_device, resolve_precision

CPU = torch.device("cpu")


def test_auto_device_prefers_cuda_then_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == CPU


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentProblemError, match="No CUDA GPU seen by torch .* Use device=cpu"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(EnvironmentProblemError, match="sees no Apple GPU"):
        resolve_device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(EnvironmentProblemError, match="has 2 CUDA GPUs: the last is cuda:1"):
        resolve_device("cuda:2")
    with pytest.raises(InputError, match="device=gpu is not a device"):
        resolve_device("gpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx2": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_precision_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve_precision("auto", CPU) == expected


def test_auto_precision_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    current = [0]

    @contextmanager
    def make_current(device: torch.device) -> Iterator[None]:
        before = current.pop()
        current.append(before if device.index is None else device.index)
        yield
        current[:] = [before]

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current == [0])
    monkeypatch.setattr(torch.cuda, "device", make_current)
    assert resolve_precision("auto", torch.device("cuda")) == torch.bfloat16
    assert resolve_precision("auto", torch.device("cuda:1")) == torch.float32, "the second one is older"
    assert resolve_precision("auto", torch.device("mps")) == torch.float32


def test_named_precisions() -> None:
    assert resolve_precision("float16", CPU) == torch.float16
    with pytest.raises(InputError, match="precision=bf16 is not a choice. Use one of: auto, float32"):
        resolve_precision("bf16", CPU)


def test_forward_pass_in_a_format() -> None:
    layer, x = torch.nn.Linear(4, 4), torch.rand(2, 4)
    with forward_precision(CPU, torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        with forward_precision(CPU, torch.float32):
            assert layer(x).dtype == torch.float32
        assert not layer(x).requires_grad
    assert layer(x).dtype == torch.float32


def test_float32_on_a_gpu_switches_tf32_off_and_back() -> None:
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = matmul.fp32_precision, convolution.fp32_precision
    try:
        matmul.fp32_precision = convolution.fp32_precision = "tf32"
        with forward_precision(torch.device("cuda"), torch.float32):
            assert (matmul.fp32_precision, convolution.fp32_precision) == ("ieee", "ieee")
        assert (matmul.fp32_precision, convolution.fp32_precision) == ("tf32", "tf32")
        first, second = (forward_precision(torch.device("cuda"), torch.float32) for _ in range(2))
        first.__enter__(), second.__enter__()  # as of two threads
        first.__exit__(None, None, None)
        assert convolution.fp32_precision == "ieee", "the other one still computes"
        second.__exit__(None, None, None)
        assert convolution.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision, convolution.fp32_precision = before
