"""How many threads torch computes with, and how they wait for each other: set before torch is loaded.

torch's OpenMP threads spin at every barrier. Where other programs use the cores too, or a container may use fewer than
it sees, a spinning thread keeps the core from the one it waits for: tens of times slower, and all of it paid for. So
they sleep instead, and there are as many as this process may really use. What the user has set stays as it is.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_THREADS = "OMP_NUM_THREADS"
_WAITING = "OMP_WAIT_POLICY"
_SET_BY_USER = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_set_here: set[str] = set()
"""Variables of this process that are ours, not the user's."""


@dataclass(frozen=True)
class ThreadSettings:
    """What was found and chosen.

    Attributes:
        num_cores: cores this process may run on.
        quota: cores' worth of time a container may use, or None where there is no limit.
        num_threads: threads torch is to use.
        waiting: ``passive`` (sleep) or ``active`` (spin), or what the user's own settings say.
    """

    num_cores: int
    quota: float | None
    num_threads: int
    waiting: str


def prepare_threads(environment: MutableMapping[str, str] | None = None) -> ThreadSettings:
    """Set the environment that torch's threads read when they are loaded.

    Too late, and without effect, once torch is imported. Child processes inherit it.

    Args:
        environment: to read and to set; None: this process's own.

    Example:
        >>> from no_time_to_train.models.threads import prepare_threads
        >>> settings = prepare_threads({"OMP_NUM_THREADS": "3"})
        >>> settings.num_threads, settings.waiting
        (3, 'passive')
    """
    is_own = environment is None
    environment = os.environ if environment is None else environment
    settings = thread_settings(environment)
    if is_own and "torch" in sys.modules:
        return settings
    if not any(name in environment for name in (_WAITING, *_SET_BY_USER)):
        environment[_WAITING] = "PASSIVE"
        _remember(_WAITING, is_own)
    # Without a quota torch's own choice, the physical cores, is at least as good.
    if _THREADS not in environment and settings.num_threads < settings.num_cores:
        environment[_THREADS] = str(settings.num_threads)
        _remember(_THREADS, is_own)
    return settings


def _remember(name: str, is_own: bool) -> None:
    if is_own:
        _set_here.add(name)


def describe_threads(num_threads: int | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Say how many threads there are and how they wait, and where each number is from.

    Args:
        num_threads: those torch has, where it is loaded.
        environment: to read; None: this process's own.

    Example:
        >>> from no_time_to_train.models.threads import describe_threads
        >>> print(describe_threads(3, {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "active"}).split("; ")[0])
        3 threads (OMP_NUM_THREADS=3, set by you)
    """
    environment = os.environ if environment is None else environment
    settings = thread_settings(environment)
    waiting_from = next((name for name in (_WAITING, *_SET_BY_USER) if name in environment), None)
    threads_from = _origin(_THREADS, environment) if _THREADS in environment else "torch's own choice"
    quota = "no quota" if settings.quota is None else f"a quota of {settings.quota:g} (control groups)"
    return (
        f"{num_threads or settings.num_threads} threads ({threads_from}); "
        f"waiting is {settings.waiting} ({_origin(waiting_from, environment) if waiting_from else 'not set'}); "
        f"{settings.num_cores} of {os.cpu_count() or 1} cores may be used (affinity), {quota}"
    )


def _origin(name: str, environment: Mapping[str, str]) -> str:
    by = "no_time_to_train" if environment is os.environ and name in _set_here else "you"
    return f"{name}={environment[name]}, set by {by}"


def thread_settings(environment: Mapping[str, str]) -> ThreadSettings:
    """Return what :func:`prepare_threads` would choose, and change nothing."""
    num_cores = available_cores()
    quota = cgroup_quota()
    chosen = num_cores if quota is None else max(1, min(num_cores, math.ceil(quota)))
    given = environment.get(_THREADS, "").split(",")[0]
    waiting = environment.get(_WAITING, "active" if any(n in environment for n in _SET_BY_USER) else "passive")
    return ThreadSettings(num_cores, quota, int(given) if given.isdigit() and int(given) else chosen, waiting.lower())


def available_cores() -> int:
    """Return how many cores this process may run on, by its affinity where the system tells it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_quota(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> float | None:
    """Return the cores' worth of time that the container may use; None where it has no limit, or no cgroups.

    Args:
        cgroups: where the control groups are mounted.
        own: which of them this process is in.
    """
    quotas = [
        quota
        for folder in _folders(cgroups, own)
        for quota in (_version_2(folder / "cpu.max"), _version_1(folder))
        if quota is not None
    ]
    return min(quotas, default=None)


def _folders(cgroups: Path, own: Path) -> list[Path]:
    """Return every control group this process is in, its parents and theirs: each may set a limit."""
    folders = [cgroups, cgroups / "cpu", cgroups / "cpu,cpuacct"]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        root = cgroups / controllers if "cpu" in controllers.split(",") else cgroups
        parts = [part for part in path.split("/") if part not in ("", "..")]
        folders += [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return list(dict.fromkeys(folders))


def _version_2(path: Path) -> float | None:
    try:
        quota, period = path.read_text().split()[:2]
        return float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number: there is no limit
        return None


def _version_1(folder: Path) -> float | None:
    try:
        quota = float((folder / "cpu.cfs_quota_us").read_text())
        period = float((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
