"""Read ahead of the model's work, and write behind it.

This happens in threads with bounded queues.

Decoding, encoding and disk access release the interpreter lock, so they run beside the model at no cost; the bound
keeps a run over any number of images in constant memory. What goes wrong in a thread is raised in the caller's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, num_threads: int = 2, num_ahead: int = 4
) -> Generator[Result, None, None]:
    """Yield ``map(function, items)`` in order, computed ahead.

    Up to ``num_ahead`` results are computed before they are asked for.

    Raises:
        Exception: whatever ``function`` raises, when its result's turn comes.
    """
    executor = ThreadPoolExecutor(num_threads, thread_name_prefix="read-ahead")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) > num_ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class BackgroundWork:
    """Runs calls in threads; at most ``max_pending`` wait, then ``submit`` blocks.

    As a context manager it waits for everything on exit, also on Ctrl-C, so that finished work is kept; then it raises
    the first failure, unless an exception is on its way already.
    """

    def __init__(self, *, num_threads: int = 2, max_pending: int = 8) -> None:
        self._executor = ThreadPoolExecutor(num_threads, thread_name_prefix="background")
        self._max_pending = max_pending
        self._pending: deque[Future[Any]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True)
        if kind is None:
            while self._pending:
                self._pending.popleft().result()

    def submit(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call ``function(*arguments)`` in a thread.

        Raises here what an earlier call raised there.
        """
        while self._pending and (self._pending[0].done() or len(self._pending) >= self._max_pending):
            self._pending.popleft().result()
        self._pending.append(self._executor.submit(function, *arguments))
