"""Linear layers through oneDNN give the numbers of the layers they replace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from no_time_to_train.models import cpu_linear
from no_time_to_train.models.cpu_linear import use_onednn_linear

CPU = torch.device("cpu")


@pytest.fixture
def amd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_linear, "is_amd_processor", lambda: True)


def network() -> nn.Module:
    torch.manual_seed(0)
    block = nn.ModuleDict({"first": nn.Linear(6, 8), "second": nn.Linear(8, 4, bias=False)})
    return nn.Sequential(nn.Linear(5, 6), nn.GELU(), block["first"], nn.Sequential(block["second"])).eval()


def num_plain_layers(module: nn.Module) -> int:
    return sum(type(layer) is nn.Linear for layer in module.modules())


@torch.no_grad()
@pytest.mark.parametrize("shape", [(5,), (3, 5), (0, 5), (2, 3, 4, 5)])
def test_same_numbers(amd: None, shape: tuple[int, ...]) -> None:
    inputs, module = torch.randn(shape), network()
    expected = module(inputs)
    use_onednn_linear(module, CPU, torch.float32)
    assert num_plain_layers(module) == 0
    assert list(module.state_dict()) == list(network().state_dict())
    torch.testing.assert_close(module(inputs), expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_inputs_need_not_be_contiguous(amd: None) -> None:
    inputs, module = torch.randn(5, 7).T, network()
    expected = module(inputs)
    use_onednn_linear(module, CPU, torch.float32)
    torch.testing.assert_close(module(inputs), expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_autocast_works(amd: None) -> None:
    inputs, module = torch.randn(3, 5), network()
    use_onednn_linear(module, CPU, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert module(inputs).dtype == torch.bfloat16


@pytest.mark.parametrize("device, dtype", [(CPU, torch.bfloat16), (torch.device("meta"), torch.float32)])
def test_elsewhere_nothing_changes(amd: None, device: torch.device, dtype: torch.dtype) -> None:
    module = network()
    use_onednn_linear(module, device, dtype)
    assert num_plain_layers(module) == 3


def test_other_processors_keep_their_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Intel Xeon"}, raising=False)
    module = network()
    use_onednn_linear(module, CPU, torch.float32)
    assert num_plain_layers(module) == 3
