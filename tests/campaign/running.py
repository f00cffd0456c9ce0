"""Runs a case in a forked child of a warm process, so that signals and hangs are seen, and says how it ended."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TIME_LIMIT_S = 60.0
MEMORY_LIMIT_BYTES = 6 * 2**30
"""Beyond what the warm process holds."""

OUTCOMES = ("refused", "said", "accepted", "unclear", "silent", "unexpected", "crash", "hang")
"""Refused with a message that names what is wrong; unclear: with one that does not."""
BAD_OUTCOMES = OUTCOMES[3:]

_TELLING = re.compile(
    "warning|cannot|could not|not read|left out|skipped|ignored|missing|damaged|no such|must |has no|have no|is not"
    "|are not|none of|nothing|problem|error|invalid|unknown|outside|only the first|unused|differ|twice|not labeled"
    "|not in|no numbers",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Case:
    """One malformed or odd input.

    Attributes:
        kind: group of cases that differ in their seed.
        seed: with the kind, all that is needed to repeat the case.
        what: was done to a valid input.
        run: carries it out in the current folder and returns the exit code; prints what people would read.
        must_be_told: the input is invalid for certain, so that accepting it without a word is a fault.
        names: of which a refusal must say one; none: anything will do.
    """

    kind: str
    seed: int
    what: str
    run: Callable[[], int]
    must_be_told: bool
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ending:
    """How a case ended: one of ``OUTCOMES``, the exit code or signal, what was printed, and how long it took."""

    case: Case
    outcome: str
    code: int
    text: str
    seconds: float

    def __str__(self) -> str:
        case, text = self.case, self.text.strip()
        shown = f"{case.kind} seed {case.seed} ({case.what}): {self.outcome}, code {self.code}\n  {text[-1500:]}"
        return shown.encode("utf-8", "backslashreplace").decode()


def carry_out(case: Case, folder: Path, usual_lines: frozenset[str]) -> Ending:
    """Run a case in a copy of the current process that may crash, hang or eat memory.

    Args:
        case: what to run.
        folder: its own, where it runs; holds its output afterwards.
        usual_lines: what the same command prints of a valid input, see ``lines_of``.
    """
    output = folder.with_name(folder.name + ".out")
    started = time.monotonic()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _be_the_child(case, folder, output)
    code = _wait(pid, started + TIME_LIMIT_S)
    text = output.read_text(errors="replace")
    seconds = time.monotonic() - started
    outcome = _outcome(case, code, text, usual_lines)
    shutil.rmtree(folder, ignore_errors=True)
    output.unlink()
    return Ending(case, outcome, code if code is not None else -signal.SIGKILL, text, seconds)


def lines_of(text: str) -> frozenset[str]:
    """Return the lines of an output without their numbers."""
    return frozenset(re.sub(r"\d+", "0", line).strip() for line in text.splitlines())


def _be_the_child(case: Case, folder: Path, output: Path) -> None:
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(file, stream)
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_LIMIT_BYTES, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = case.run()
    except BaseException:
        traceback.print_exc()
        print("Unexpected problem: an exception came through")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, until: float) -> int | None:
    """Return the exit code, the negative signal, or None where the child had to be killed."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.005)


def _outcome(case: Case, code: int | None, text: str, usual_lines: frozenset[str]) -> str:
    if code is None:
        return "hang"
    if code < 0:
        return "crash"
    if "Unexpected problem" in text or "Traceback (most recent call last)" in text:
        return "unexpected"
    if code:
        return "refused" if text.strip() and (not case.names or any(name in text for name in case.names)) else "unclear"
    if any(_TELLING.search(line) for line in lines_of(text) - usual_lines):
        return "said"
    return "silent" if case.must_be_told else "accepted"
