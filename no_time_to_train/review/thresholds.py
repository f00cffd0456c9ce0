"""Thresholds of a review: those of the run, until a person moves them."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.errors import InputError
from no_time_to_train.files.formats import write_json
from no_time_to_train.files.json_files import read_json_or
from no_time_to_train.references.min_scores import MinScores


class ReviewThresholds:
    """Lowest scores at which undecided detections count, kept on disk once they differ from the run's.

    Args:
        path: file of the person's own.
        of_run: those that the images were labeled with.

    Raises:
        InputError: the file is damaged.
    """

    def __init__(self, path: Path, of_run: MinScores) -> None:
        self.of_run = of_run
        self._path = path
        content = read_json_or(path, None)
        try:
            self._own = None if content is None else MinScores.from_json(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({error!r}). Remove it: the run's thresholds count then.") from error

    @property
    def now(self) -> MinScores:
        """Return the person's, else the run's."""
        return self._own or self.of_run

    def use(self, min_scores: MinScores | None) -> None:
        """Take others from now on; None: the run's again."""
        self._own = min_scores
        if min_scores is None:
            self._path.unlink(missing_ok=True)
        else:
            write_json(self._path, min_scores.to_json())
