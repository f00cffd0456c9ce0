"""Progress of a process that the run started, told in the process that started it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from torch import multiprocessing

from no_time_to_train.runs.progress import OnProgress, RunProgress

_SECONDS_BETWEEN_LOOKS = 0.1


class _Sender:
    """Sends progress through a pipe; can be given to a process while it is started."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __call__(self, progress: RunProgress) -> None:
        self._pipe.send(progress)


@contextmanager
def relayed(on_progress: OnProgress, start_method: str) -> Iterator[OnProgress]:
    """Give what one started process may call; ``on_progress`` is called here, in a thread.

    Args:
        on_progress: is told what the other process says.
        start_method: ``spawn`` or ``fork``, as the process is started.
    """
    receiver, sender = multiprocessing.get_context(start_method).Pipe(duplex=False)
    ended = threading.Event()

    def listen() -> None:
        while True:
            is_last_look = ended.is_set()  # before the look: what was sent until then is told
            while receiver.poll(0 if is_last_look else _SECONDS_BETWEEN_LOOKS):
                on_progress(receiver.recv())
            if is_last_look:
                return

    listener = threading.Thread(target=listen, name="progress", daemon=True)
    listener.start()
    try:
        yield _Sender(sender)
    finally:
        ended.set()
        listener.join(timeout=5)
        receiver.close()
        sender.close()
