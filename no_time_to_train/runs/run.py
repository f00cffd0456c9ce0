"""The run engine: one results folder from first file to last.

It is the same for every verb.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from filelock import FileLock, Timeout

from no_time_to_train.config import Config
from no_time_to_train.errors import InputError, Parameter, RunInterrupted
from no_time_to_train.files.arguments import as_function
from no_time_to_train.runs.progress import OnProgress, RunProgress, tell_nobody
from no_time_to_train.runs.provenance import versions, weight_hashes
from no_time_to_train.runs.run_state import (
    FINISHED,
    LOCK_FILE,
    DrawnFrom,
    RunSettings,
    clear,
    continued,
    drawn_from,
    read_run,
    write_run,
)

if TYPE_CHECKING:
    from no_time_to_train.segmenter import Segmenter

Result = TypeVar("Result")


class Run:
    """One run over a results folder, or the rest of it.

    It decides whether the folder is continued, keeps other processes out, writes ``run.json`` and leaves a valid folder
    whatever happens. Nothing in the folder changes before :meth:`begin`: what fails while models and data are loaded
    costs no earlier result.

    Args:
        path: the results folder.
        settings: what must be equal for it to be continued.
        command: the command line that continues the run, for ``run.json``.
        overwrite: begin anew where it holds other results.
        on_progress: is told how far the run is.
        advice: what to do where it holds other results; None: choose another folder, or overwrite.

    Attributes:
        earlier: ``run.json`` of the run that is continued, None where there is nothing to continue.
        details: further entries of ``run.json``.
        forget_drawings: removes what was drawn of earlier lowest scores and looks different with the present ones; all
            of it where nothing better is known.

    Raises:
        InputError: the folder holds other results or foreign files, or another process is writing it.
    """

    def __init__(
        self,
        path: Path,
        settings: RunSettings,
        *,
        command: Sequence[str] = (),
        overwrite: bool = False,
        on_progress: OnProgress = tell_nobody,
        advice: str | None = None,
    ) -> None:
        self.path = path
        self.on_progress = as_function(on_progress, "on_progress")
        self._settings = settings
        self._lock: FileLock | None = None
        self._has_begun = False
        self.forget_drawings: Callable[[DrawnFrom, DrawnFrom], object] = self._forget_all_drawings
        if read_run(path) is not None:
            self._keep_out_others()
        try:
            self.earlier = None if overwrite else continued(path, settings, advice)
        except BaseException:
            self.close()
            raise
        self.details: dict[str, Any] = {
            **(self.earlier or {}),
            "command": shlex.join(command),
            "versions": versions(),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes have the folder."""
        if self._lock is not None:
            (self.path / LOCK_FILE).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def say(self, message: str) -> None:
        """Tell whoever listens what the run does now."""
        self.on_progress(RunProgress("", 0, 0, message))

    def use_min_scores(self, default: float, by_category: Mapping[str, float], source: str) -> None:
        """Write down which scores are drawn and counted, once they are known; before :meth:`begin`.

        Args:
            default: of categories that have none of their own.
            by_category: of every category, by name.
            source: where they come from.
        """
        are_equal = set(by_category.values()) <= {default}
        self._settings = replace(self._settings, min_score=default, min_scores={} if are_equal else dict(by_category))
        self.details["min_score_source"] = source

    def begin(self) -> None:
        """Record that the run is under way.

        Results that it does not continue are removed.

        Call it when everything that the run needs is loaded.

        Raises:
            InputError: another process has begun a run in the same folder.
        """
        if self._lock is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._keep_out_others()
            if read_run(self.path) is not None:
                raise InputError(f"another process has just begun a run in {self.path}. Run the same again.")
        if self.earlier is None:
            clear(self.path)
        elif not self._settings.draws_like(self.earlier["settings"]):
            self.forget_drawings(
                drawn_from(self.earlier["settings"]), (self._settings.min_score, self._settings.min_scores)
            )
        self._has_begun = True
        self.write_state("running")

    def carry_out(
        self, work: Callable[[], object], summarize: Callable[[], Result], how_far: Callable[[], str]
    ) -> Result:
        """Do the work, then write what is made of all of it.

        Args:
            work: computes what is not there yet; it calls :meth:`begin`.
            summarize: writes what is made from the single results, also from those of an interrupted run.
            how_far: what is done, for a message: ``2 of 5 images labeled``.

        Raises:
            RunInterrupted: Ctrl-C or SIGTERM, once the run has begun; the folder is valid and can be continued.
        """
        try:
            work()
        except KeyboardInterrupt as stop:
            if not self._has_begun:
                raise
            summarize()
            self.write_state("interrupted")
            raise RunInterrupted(f"Interrupted with {how_far()}. {self.path} is valid", stop) from stop
        result = summarize()
        self.write_state(FINISHED)
        return result

    def write_state(self, status: str) -> None:
        """Write ``run.json``."""
        write_run(self.path, self._settings, {**self.details, "status": status})

    def _forget_all_drawings(self, before: DrawnFrom, now: DrawnFrom) -> None:
        shutil.rmtree(self.path / "overlays", ignore_errors=True)

    def _keep_out_others(self) -> None:
        """Lock the folder, which exists. A dead process keeps no lock."""
        lock = FileLock(self.path / LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            owner = (self.path / LOCK_FILE).read_text(encoding="utf-8") or "another process"
            other = Parameter("out", "OTHER_FOLDER")
            raise InputError(
                f"{self.path} is being written by {owner}. Wait until it ends, or choose {other}.", parameters=[other]
            ) from error
        self._lock = lock
        (self.path / LOCK_FILE).write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")


def describe_models(segmenter: Segmenter) -> dict[str, Any]:
    """Return what ``run.json`` says of the device and the models."""
    models = {"encoder": segmenter.encoder.model_id, "mask_model": segmenter.mask_model.model_id}
    return {"device": str(segmenter.device), "models": models}


def add_missing_hashes(config: Config, details: dict[str, Any]) -> None:
    """Hash the weights of a run that was killed before it knew them, where nothing is left to compute."""
    if "weights" not in details:
        details["weights"] = weight_hashes(config)


@contextmanager
def hashing_weights(config: Config, details: dict[str, Any]) -> Iterator[None]:
    """Hash the weights in a thread beside the block's work.

    Afterwards ``details["weights"]`` holds the hashes. A block that fails or is stopped does not wait for them.
    """
    hashes: Future[dict[str, dict[str, str]]] = Future()

    def compute() -> None:
        try:
            hashes.set_result(weight_hashes(config))
        except Exception as error:
            hashes.set_exception(error)

    threading.Thread(target=compute, name="hashes", daemon=True).start()  # a daemon: the process may end before
    yield
    details["weights"] = hashes.result()
