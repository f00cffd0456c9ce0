"""``nttt doctor``: what is there, what is missing, how to mend it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from no_time_to_train.errors import EnvironmentProblemError, install_command
from no_time_to_train.files.packages import installed_version, is_satisfied, requirements
from no_time_to_train.models.threads import describe_threads

_MIN_PYTHON = (3, 11)
_USES = {
    "app": "the review page",
    "bench": "benchmarks and plots",
    "faiss": "K-means, nearest instances, semantic proposals",
    "lvis": "LVIS",
    "supervision": "supervision",
    "video": "video",
}
"""What the package's extras are for."""

_CPU_BUILD = "the command that PyTorch's page 'Get started' gives for CPU"
_DEFAULT_MODELS = ("dinov2_large", "sam2.1_large")
_COMFORTABLE_MEMORY_GIB = 8


@dataclass(frozen=True)
class Check:
    """One finding: ``ok``, ``note`` (works, but could be better) or ``broken``.

    Example:
        >>> check, *_ = ntt.doctor()
        >>> check.name, check.state
        ('python', 'ok')
    """

    name: str
    state: Literal["ok", "note", "broken"]
    text: str


def doctor() -> tuple[Check, ...]:
    """Look at this machine: packages, GPU, memory, weights.

    Example:
        >>> [check.name for check in ntt.doctor() if check.state == "broken"]
        []
    """
    return tuple(check() for check in CHECKS)


def check_python() -> Check:
    """Check the version of Python."""
    version = platform.python_version()
    if sys.version_info < _MIN_PYTHON:
        return Check("python", "broken", f"{version}; at least {'.'.join(map(str, _MIN_PYTHON))} is needed.")
    return Check("python", "ok", f"{version} on {platform.system()} {platform.machine()}")


def check_packages() -> Check:
    """Compare what the package asks for with what is installed."""
    try:
        needed = list(requirements())
    except EnvironmentProblemError as error:
        return Check("packages", "note", str(error))
    found = {requirement: installed_version(requirement.name) for requirement in needed}
    lacking = [requirement for requirement in needed if not is_satisfied(requirement)]
    if lacking:
        problems = (f"{r.name} {found[r]} (needs {r.specifier})" if found[r] else f"{r.name} missing" for r in lacking)
        names = " ".join(f"'{r.name}{r.specifier}'" for r in lacking)
        return Check("packages", "broken", f"{', '.join(problems)}. Fix: pip install {names}")
    return Check("packages", "ok", ", ".join(f"{requirement.name} {version}" for requirement, version in found.items()))


def check_torch() -> Check:
    """Check that PyTorch can be imported."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return Check(
            "torch", "broken", f"cannot be imported ({_first_line(error)}). Fix: pip install torch torchvision"
        )
    built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU only"
    return Check("torch", "ok", f"{torch.__version__}, built {built}, {torch.get_num_threads()} threads")


def check_torchvision() -> Check:
    """Check that torchvision fits the torch beside it.

    The two packages come in pairs: torchvision built for CUDA does not import beside a torch without it.
    """
    try:
        version = importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        return Check("torchvision", "broken", "not installed; sam2 needs it. Fix: pip install torchvision")
    try:
        importlib.import_module("torchvision.ops")
    except Exception as error:  # RuntimeError "operator torchvision::nms does not exist", and others
        torch_version = importlib.metadata.version("torch")
        return Check(
            "torchvision",
            "broken",
            f"torchvision {version} does not fit torch {torch_version} ({_first_line(error)}). Fix: install both from "
            f"the same place: pip install --force-reinstall torch torchvision, or on a machine without a GPU, smaller: "
            f"{_CPU_BUILD}, with --force-reinstall",
        )
    return Check("torchvision", "ok", version)


def check_gpu() -> Check:
    """Check the GPU."""
    torch = _torch_or_none()
    if torch is None:
        return Check("gpu", "note", "unknown: torch cannot be imported.")
    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        return Check("gpu", "ok", ", ".join(f"{gpu.name} {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus))
    if torch.backends.mps.is_available():
        return Check("gpu", "ok", "Apple GPU (mps)")
    hint = "device=cpu is used: some 15 to 25 s per image, a fraction of it with preset=fast."
    if os.path.exists("/proc/driver/nvidia/version"):
        return Check(
            "gpu", "note", f"an NVIDIA driver is there but torch sees no GPU: it may be too old for this torch. {hint}"
        )
    if torch.version.cuda:
        hint += f" A smaller torch does, installed first by {_CPU_BUILD}."
    return Check("gpu", "note", f"none seen. {hint}")


def check_cpu() -> Check:
    """Report the CPU."""
    torch = _torch_or_none()
    capability = torch.backends.cpu.get_cpu_capability() if torch is not None else "unknown instructions"
    return Check("cpu", "ok", f"{os.cpu_count()} cores, {capability}")


def check_threads() -> Check:
    """Report how many threads compute, how they wait for each other, and why."""
    torch = _torch_or_none()
    return Check("threads", "ok", describe_threads(torch.get_num_threads() if torch is not None else None))


def check_compiler() -> Check:
    """Check that the decoder's passes can be compiled for the CPU."""
    if _torch_or_none() is None:
        return Check("compiler", "note", "unknown: torch cannot be imported.")
    from no_time_to_train.models.native_code import describe_missing_compiler, find_compiler

    compiler = find_compiler()
    if compiler is None:
        return Check(
            "compiler", "note", f"{describe_missing_compiler()} Without, a CPU decodes masks at half the speed."
        )
    return Check("compiler", "ok", f"{' '.join(compiler)}: the first run on a CPU compiles the mask decoder with it")


def check_memory() -> Check:
    """Check how much memory the machine has."""
    try:
        gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return Check("memory", "note", "unknown on this system.")
    state: Literal["ok", "note"] = "ok" if gib >= _COMFORTABLE_MEMORY_GIB else "note"
    advice = "" if state == "ok" else f"; below {_COMFORTABLE_MEMORY_GIB} GiB use preset=fast"
    return Check("memory", state, f"{gib:.0f} GiB{advice}")


def check_weights() -> Check:
    """Check which models' weights are on this machine."""
    if _torch_or_none() is None:
        return Check("weights", "note", "unknown: torch cannot be imported.")
    from no_time_to_train.models.weights import list_weights

    here = [row.name for row in list_weights() if row.location is not None]
    missing = [name for name in _DEFAULT_MODELS if name not in here]
    listing = f"on this machine: {', '.join(here) or 'none'}"
    if missing:
        return Check("weights", "note", f"{listing}. The default also needs: nttt weights get {' '.join(missing)}")
    return Check("weights", "ok", listing)


def check_demo() -> Check:
    """Check that the bundled models and images are there."""
    from no_time_to_train.files.paths import demo_data_folder

    needed = ("benchmark/annotations/test.json", "dinov2_demo", "sam2_demo")
    missing = [name for name in needed if not (demo_data_folder() / name).exists()]
    if missing:
        return Check("demo", "note", f"nttt demo cannot run, missing in {demo_data_folder()}: {', '.join(missing)}")
    return Check("demo", "ok", "models and images are there: nttt demo")


def check_optional() -> Check:
    """Name the extras that are not complete.

    None is needed to label, fit, evaluate, export or run the demo.
    """
    try:
        lacking = {name: [r.name for r in requirements(name) if not is_satisfied(r)] for name in _USES}
    except EnvironmentProblemError:
        return Check("optional", "note", "unknown: the package is not installed.")
    missing = {name: packages for name, packages in lacking.items() if packages}
    if not missing:
        return Check("optional", "ok", ", ".join(_USES))
    listing = "; ".join(f"{_USES[name]}: {', '.join(packages)}" for name, packages in missing.items())
    return Check("optional", "note", f"not installed: {listing}. To have them: {install_command(','.join(missing))}")


CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_packages,
    check_torch,
    check_torchvision,
    check_gpu,
    check_cpu,
    check_threads,
    check_compiler,
    check_memory,
    check_weights,
    check_demo,
    check_optional,
)


def _torch_or_none() -> Any:
    """Return the module, or None: the doctor must run without it."""
    try:
        return importlib.import_module("torch")
    except (ImportError, OSError):
        return None


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
