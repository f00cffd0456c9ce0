from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from no_time_to_train.errors import EnvironmentProblemError, InputError
from no_time_to_train.models.native_code import find_compiler, load_native
from no_time_to_train.models.sam2 import compiled_passes, decoder_choice
from no_time_to_train.models.sam2.decoder_choice import build_decoder
from no_time_to_train.models.sam2.plain_decoder import PlainDecoder
from no_time_to_train.models.sam2.shared_decoder import PointDecoder
from tests.models.sam2.test_shared_decoder import Network, compiled  # noqa: F401

CPU_FLOAT = torch.float32


@pytest.fixture
def network() -> Network:
    network = Network()
    network.no_mem_embed = nn.Parameter(torch.zeros(1))
    return network


@pytest.fixture
def full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny network count as one of full size."""
    monkeypatch.setattr(decoder_choice, "_FULL_SIZE", 64)


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(compiled_passes, "load_native", load_native.__wrapped__)


def is_compiled(decoder: object) -> bool:
    assert isinstance(decoder, PointDecoder)
    return decoder._transformer._passes is not None


def test_plain_and_folded(network: Network) -> None:
    assert isinstance(build_decoder(network, "plain", CPU_FLOAT), PlainDecoder)
    assert not is_compiled(build_decoder(network, "folded", CPU_FLOAT))


@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
@pytest.mark.usefixtures("compiled")
def test_compiled_when_asked_for_or_worth_it(network: Network, request: pytest.FixtureRequest) -> None:
    assert is_compiled(build_decoder(network, "compiled", CPU_FLOAT))
    assert not is_compiled(build_decoder(network, "auto", CPU_FLOAT)), "a small network"
    request.getfixturevalue("full_size")
    assert is_compiled(build_decoder(network, "auto", CPU_FLOAT))


@pytest.mark.usefixtures("full_size", "without_compiler")
def test_no_compiler_is_said(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not is_compiled(build_decoder(network, "auto", CPU_FLOAT))
    assert "no C++ compiler" in caplog.text and "twice as long" in caplog.text
    with pytest.raises(EnvironmentProblemError, match="no C.. compiler"):
        build_decoder(network, "compiled", CPU_FLOAT)


@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
@pytest.mark.usefixtures("compiled", "full_size")
def test_compiled_in_float32_where_the_processor_has_bfloat16(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_tile": True}, raising=False)
    chosen = build_decoder(network, "auto", torch.bfloat16)
    assert is_compiled(chosen) and chosen._transformer.dtype == torch.float32
    folded = build_decoder(network, "folded", torch.bfloat16)
    assert not is_compiled(folded) and folded._transformer.dtype == torch.bfloat16


@pytest.mark.usefixtures("full_size", "without_compiler")
def test_half_precision_without_a_compiler(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_tile": True}, raising=False)
    assert build_decoder(network, "auto", torch.bfloat16)._transformer.dtype == torch.bfloat16


def test_networks_of_other_sizes(network: Network) -> None:
    network.sam_mask_decoder.output_upscaling[2] = nn.GELU("tanh")
    with pytest.raises(InputError, match="a network of these sizes"):
        build_decoder(network, "compiled", CPU_FLOAT)


def test_unknown_name(network: Network) -> None:
    with pytest.raises(InputError, match="auto, compiled, folded, plain"):
        build_decoder(network, "quick", CPU_FLOAT)


def test_the_source_is_part_of_the_package() -> None:
    folder = Path(decoder_choice.__file__).parent / "kernels"
    assert (folder / "decoder.cpp").exists()
