"""Progress for people.

It is one line that moves in a terminal, a plain line now and then elsewhere (log files, CI).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True)
class RunProgress:
    """How far a run is, as it is given to ``on_progress``.

    Attributes:
        what: name of the items: ``images``, ``references``, ``overlays``, ``frames``, ``episodes``.
        done, total: items; a total of 0: not known.
        message: a sentence on what the run does now; None: only the counts are new.

    Example:
        >>> ntt.RunProgress("images", 2, 5).done
        2
    """

    what: str
    done: int
    total: int
    message: str | None = None


OnProgress = Callable[[RunProgress], None]
"""Is told how far a run is."""


def tell_nobody(progress: RunProgress) -> None:
    """Take the place of an ``on_progress`` that was not given."""


class Counter:
    """Counts done items, takes the time, and tells whoever listens.

    Args:
        what: name of the items.
        total: number of items; 0: not known.
        on_progress: is told at once that nothing is done yet, then of every item.
        clock: seconds, increasing (for tests).

    Example:
        >>> counter = Counter("images", 5)
        >>> counter.advance(2)
        >>> counter.done
        2
    """

    def __init__(
        self,
        what: str,
        total: int,
        on_progress: OnProgress = tell_nobody,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what = what
        self.total = total
        self.done = 0
        self._tell = on_progress
        self._clock = clock
        self._start = clock()
        on_progress(RunProgress(what, 0, total))

    @property
    def seconds(self) -> float:
        """Return the seconds since the start."""
        return self._clock() - self._start

    def advance(self, count: int = 1) -> None:
        """Count items as done."""
        self.done += count
        self._tell(RunProgress(self.what, self.done, self.total))

    def timings(self) -> dict[str, Any]:
        """Return what ``run.json`` says of the time it took."""
        each = round(self.seconds / self.done, 4) if self.done else None
        one = self.what.removesuffix("s")
        return {self.what: self.done, "seconds": round(self.seconds, 3), f"seconds_per_{one}": each}


_SECONDS_BETWEEN_UPDATES = 0.1
_SECONDS_BETWEEN_PLAIN_LINES = 10.0


class Progress:
    """Counts done items of a total and shows rate and time left.

    Args:
        total: number of items; 0: not known, as of videos without a frame count.
        what: name of the items, for the rate ("images").
        stream: where it is written; None: standard error.
        clock: seconds, increasing (for tests).
    """

    def __init__(
        self,
        total: int,
        what: str = "images",
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.done = 0
        self._what = what
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._start = clock()
        self._last_shown = self._start
        self._is_terminal = self._stream.isatty()
        self._shown_length = 0

    @property
    def seconds(self) -> float:
        """Return the seconds since the start."""
        return self._clock() - self._start

    def advance(self, count: int = 1) -> None:
        """Count items as done. The first one gives an estimate for all."""
        is_first = self.done == 0
        self.done += count
        now = self._clock()
        pause = _SECONDS_BETWEEN_UPDATES if self._is_terminal else _SECONDS_BETWEEN_PLAIN_LINES
        if is_first or 0 < self.total <= self.done or now - self._last_shown >= pause:
            self._last_shown = now
            self._show(self.line())

    def line(self) -> str:
        """Format as ``12/500 images 3.1 images/s 2 min 37 s left``."""
        counts = f"{self.done}/{self.total} {self._what}" if self.total else f"{self.done} {self._what}"
        if not self.done or self.seconds <= 0:
            return counts
        rate = self.done / self.seconds
        pace = f"{rate:.1f} {self._what}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
        if not self.total:
            return f"{counts}  {pace}"
        if self.done >= self.total:
            return f"{counts}  {pace}  {readable_duration(self.seconds)} in all"
        return f"{counts}  {pace}  {readable_duration((self.total - self.done) / rate)} left"

    def message(self, text: str) -> None:
        """Print a line of its own without breaking the moving one."""
        self.end()
        print(text, file=self._stream, flush=True)

    def end(self) -> None:
        """End the moving line, so that the next print begins a line."""
        if self._shown_length:
            self._stream.write("\n")
            self._stream.flush()
            self._shown_length = 0

    def _show(self, line: str) -> None:
        if self._is_terminal:
            self._stream.write("\r" + line.ljust(self._shown_length))
            self._shown_length = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def readable_duration(seconds: float) -> str:
    """Format ``8 s``, ``2 min 5 s``, ``3 h 20 min``: two units.

    Fewer where one is enough.
    """
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
