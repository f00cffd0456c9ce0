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
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

from no_time_to_train.errors import EnvironmentProblemError

logger = logging.getLogger(__name__)
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fno-math-errno")
_COMPILERS = ("c++", "g++", "clang++")


def find_compiler() -> str | None:
    """Return the path of a C++ compiler: ``$CXX``, or the first of the usual names; None without any."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else _COMPILERS
    return next(filter(None, map(shutil.which, names)), None)


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
        raise EnvironmentProblemError(
            f"There is no C++ compiler: none of {', '.join(_COMPILERS)} is found, and $CXX names none that is. "
            "Install one (on Debian and Ubuntu: apt install g++)."
        )
    library = _folder() / f"{source.stem}-{_key(source, compiler)}.so"
    if not library.exists():
        _compile(compiler, source, library)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise EnvironmentProblemError(f"{library} cannot be loaded: {error}. Delete it, and run again.") from error


def _key(source: Path, compiler: str) -> str:
    """Hash everything the library depends on: a home folder may be shared by machines with other processors."""
    files = [source, *sorted(source.parent.glob("*.h"))]
    facts = [*(file.read_text() for file in files), _target(), os.path.realpath(compiler), *_FLAGS]
    facts.append(str(sorted(torch.cpu.get_capabilities().items())))
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]


def _target() -> str:
    return "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"


def _folder() -> Path:
    """Where libraries are kept, for this user alone; for this process alone where the home cannot be written to."""
    folder = Path("~/.cache/nttt/compiled").expanduser()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        folder = _folder_of_this_process()
    return folder if os.access(folder, os.W_OK) else _folder_of_this_process()


@functools.cache
def _folder_of_this_process() -> Path:
    return Path(tempfile.mkdtemp(prefix="nttt-compiled-"))


def _compile(compiler: str, source: Path, library: Path) -> None:
    logger.info("Compiling %s for this processor, once; this takes some seconds.", source.name)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        built = Path(folder) / library.name
        command = [compiler, *_FLAGS, _target(), str(source), "-o", str(built)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=600, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EnvironmentProblemError(f"{compiler} does not run: {error}.") from error
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise EnvironmentProblemError(f"{compiler} cannot compile {source.name}: {last}")
        built.replace(library)  # at once, so that other processes see all of it or nothing
