from __future__ import annotations

from pathlib import Path

import pytest
import torch

from no_time_to_train.models import processor
from no_time_to_train.models.precision import resolve_precision

CORE = "processor\t: {number}\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags}\ncpu MHz\t\t: {mhz}\n"


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "_CPUINFO", path)
    return path


def test_a_torch_that_cannot_tell(cpuinfo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert processor.cpu_capabilities() == {}
    assert resolve_precision("auto", torch.device("cpu")) == torch.float32
    assert not processor.is_amd_processor()
    cpuinfo.write_text(CORE.format(number=0, vendor="AuthenticAMD", flags="avx2", mhz=2400))
    assert processor.is_amd_processor()


def test_instructions_count_and_speed_does_not(cpuinfo: Path) -> None:
    def described(flags: str, mhz: int) -> str:
        cores = [CORE.format(number=n, vendor="GenuineIntel", flags=flags, mhz=mhz) for n in range(2)]
        cpuinfo.write_text("\n".join(cores))
        return processor.instruction_set()

    assert described("avx2", 2400) == described("avx2", 800)
    assert described("avx2", 2400) != described("avx2 gfni", 2400)


def test_without_a_list_each_machine_is_its_own(cpuinfo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = processor.instruction_set()
    monkeypatch.setattr(processor.platform, "node", lambda: "another-machine")
    assert here and processor.instruction_set() != here
