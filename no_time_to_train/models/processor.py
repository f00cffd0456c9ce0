"""What the CPU is and can do, on every version of torch that the package works with."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

_CPUINFO = Path("/proc/cpuinfo")


def cpu_capabilities() -> Mapping[str, Any]:
    """Return ``torch.cpu.get_capabilities()``; nothing before torch 2.11, which has none."""
    ask = getattr(torch.cpu, "get_capabilities", dict)
    capabilities: Mapping[str, Any] = ask()
    return capabilities


def is_amd_processor() -> bool:
    """Return whether the CPU is one of AMD's (False where nothing tells)."""
    return "AMD" in str(cpu_capabilities().get("cpu_name", _described()))


def instruction_set() -> str:
    """Describe the CPU so that what is compiled for it runs on all that are described alike.

    Linux lists what the processor can do. Elsewhere this is the machine itself.
    """
    return _described() or f"{platform.processor()} of {platform.node()}"


def _described() -> str:
    """Return the lines of ``/proc/cpuinfo`` that say what one core is and can do; nothing without that file."""
    try:
        first = _CPUINFO.read_text(errors="replace").split("\n\n")[0]
    except OSError:
        return ""
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part", "CPU variant")
    return "\n".join(line for line in first.splitlines() if line.split(":")[0].strip() in wanted)
