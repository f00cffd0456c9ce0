"""C++ of this package, compiled once for the processor it runs on and kept.

Nothing is needed but a compiler. Where there is none, the caller does without and says so.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from no_time_to_train.errors import EnvironmentProblemError
from no_time_to_train.models.processor import instruction_set

logger = logging.getLogger(__name__)
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fno-math-errno")
_COMPILERS = ("c++", "g++", "clang++")


def find_compiler() -> tuple[str, ...] | None:
    """Return the command of a C++ compiler, its path first; None where there is none.

    It is ``$CXX``, which may have arguments as in ``ccache g++``, or the first of the usual names.
    """
    asked = os.environ.get("CXX", "").strip()
    commands = [(asked,), _words(asked)] if asked else [(name,) for name in _COMPILERS]
    for program, *arguments in filter(None, commands):
        path = shutil.which(program)
        if path is not None:
            return (path, *arguments)
    return None


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:  # a quotation mark without its other half
        return ()


def describe_missing_compiler() -> str:
    """Say that there is no C++ compiler, why, and how to mend it."""
    asked = os.environ.get("CXX", "").strip()
    missing = f"$CXX is {asked!r}, which is no program" if asked else f"none of {', '.join(_COMPILERS)} is found"
    return (
        f"There is no C++ compiler: {missing}. Install one (on Debian and Ubuntu: apt install g++)"
        f"{', or unset CXX' if asked else ''}."
    )


@functools.cache
def load_native(source: Path) -> ctypes.CDLL:
    """Load a C++ file as a library, compiled the first time on this kind of machine.

    Args:
        source: the file; headers beside it belong to it.

    Raises:
        EnvironmentProblemError: there is no compiler, or it fails.
    """
    compiler = find_compiler()
    if compiler is None:
        raise EnvironmentProblemError(describe_missing_compiler())
    library = _folder() / f"{source.stem}-{_key(source, compiler)}.so"
    if not library.exists():
        _compile(compiler, source, library)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise EnvironmentProblemError(f"{library} cannot be loaded: {error}. Delete it, and run again.") from error


def _key(source: Path, compiler: Sequence[str]) -> str:
    """Hash everything the library depends on: a home folder may be shared by machines with other processors."""
    files = [source, *sorted(source.parent.glob("*.h"))]
    program, *arguments = compiler
    facts = [*(file.read_text() for file in files), _target(), os.path.realpath(program), *arguments, *_FLAGS]
    facts.append(instruction_set())
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]


def _target() -> str:
    return "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"


def _folder() -> Path:
    """Return where libraries are kept for this user; where that is not possible, a folder of this process."""
    try:
        folder = Path("~/.cache/nttt/compiled").expanduser()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return _folder_of_this_process()
    return folder if os.access(folder, os.W_OK) and _is_own(folder) else _folder_of_this_process()


def _is_own(folder: Path) -> bool:
    """Return whether only this user can write to a folder: what lies there is run."""
    if not hasattr(os, "getuid"):
        return True
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def _folder_of_this_process() -> Path:
    return Path(tempfile.mkdtemp(prefix="nttt-compiled-"))


def _compile(compiler: Sequence[str], source: Path, library: Path) -> None:
    logger.info("Compiling %s for this processor, once; this takes some seconds.", source.name)
    try:
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            built = Path(folder) / library.name
            command = [*compiler, *_FLAGS, _target(), str(source), "-o", str(built)]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=600, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise EnvironmentProblemError(f"{' '.join(compiler)} cannot compile {source.name}: {last}")
            built.replace(library)  # at once, so that other processes see all of it or nothing
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentProblemError(f"{' '.join(compiler)} cannot compile {source.name}: {error}.") from error
