"""A run's progress, shown to people.

Messages go to standard output; counts are a moving line on standard error.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from no_time_to_train.commands.collector import all_is_loaded
from no_time_to_train.runs.progress import Progress, RunProgress


class Console:
    """Display of one command's progress; give it as ``on_progress``."""

    def __init__(self) -> None:
        self._line: Progress | None = None

    def __call__(self, progress: RunProgress) -> None:
        """Show a message, or a count on the moving line."""
        if progress.message is not None:
            self.end_line()
            print(progress.message, flush=True)
            return
        all_is_loaded()  # what is counted takes the models
        if progress.done == 0 or self._line is None:
            self.end_line()
            self._line = Progress(progress.total, progress.what)
        self._line.advance(progress.done - self._line.done) if progress.done else None
        if progress.total and progress.done >= progress.total:
            self.end_line()

    def __reduce__(self) -> str:
        """Stay this module's ``console`` when a sweep takes it to another process."""
        return "console"

    def end_line(self) -> None:
        """End the moving line, so that the next print begins a line."""
        if self._line is not None:
            self._line.end()


console = Console()
"""Of this process."""


def say_loading() -> None:
    """Say that something happens, before the seconds that importing PyTorch takes."""
    print("Loading ...", file=sys.stderr, flush=True)


_PATIENCE_SECONDS = 0.5


@contextmanager
def said_if_slow(what: str) -> Iterator[Callable[[], None]]:
    """Say what the block does if half a second passes, on a terminal: there somebody waits.

    It is for what is quick but with a lot of data. Call what is yielded where something else is printed before the end.
    """
    timer = threading.Timer(_PATIENCE_SECONDS, print, [f"{what} ..."], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    if sys.stderr.isatty():
        timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()


class LogHandler(logging.StreamHandler):
    """Handler that prints log messages without breaking the moving line."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        console.end_line()
        super().emit(record)
