"""What takes longer than a click: labeling again with the corrected objects, and exports."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock, Thread
from typing import Any, Literal

from no_time_to_train.errors import InputError

Report = Callable[[int, int], None]
"""Called with (done, total)."""
Job = Callable[[dict[str, Any], Report], str]
"""Given the request's values; returns what to tell the person at the end."""


@dataclass(frozen=True)
class JobProgress:
    """How far a job is.

    Attributes:
        name: of the job, empty before the first one.
        status: ``idle``, ``running``, ``finished`` or ``failed``.
        done: steps done.
        total: steps in all, 0 where unknown.
        message: the outcome, or what went wrong.
    """

    name: str = ""
    status: Literal["idle", "running", "finished", "failed"] = "idle"
    done: int = 0
    total: int = 0
    message: str = ""


class ReviewJobs:
    """Run one job at a time beside the server.

    Args:
        jobs: by name.
        formats: that the export job offers.
        can_label: whether there is something to label with.
    """

    def __init__(self, jobs: dict[str, Job], *, formats: Sequence[str] = (), can_label: bool = True) -> None:
        self.formats = tuple(formats)
        self.can_label = can_label
        self._jobs = jobs
        self._progress = JobProgress()
        self._lock = Lock()

    def start(self, name: str, values: dict[str, Any]) -> None:
        """Begin a job; raises InputError for an unknown one, or while another one runs."""
        if name not in self._jobs:
            raise InputError(f"there is no job {name!r}. There are: {', '.join(self._jobs)}.")
        with self._lock:
            if self._progress.status == "running":
                raise InputError(f"'{self._progress.name}' is still running. Wait until it has ended.")
            self._progress = JobProgress(name, "running")
        Thread(target=self._run, args=(name, values), daemon=True).start()

    def progress(self) -> dict[str, Any]:
        """Return the state of the last job as plain values."""
        return dict(vars(self._progress))

    def _run(self, name: str, values: dict[str, Any]) -> None:
        def report(done: int, total: int) -> None:
            self._progress = replace(self._progress, done=done, total=total)

        try:
            message = self._jobs[name](values, report)
            self._progress = replace(self._progress, status="finished", message=message)
        except Exception as error:  # the page must learn of anything that ends a job
            if not isinstance(error, InputError | OSError):
                traceback.print_exc()
            self._progress = replace(self._progress, status="failed", message=str(error) or type(error).__name__)
