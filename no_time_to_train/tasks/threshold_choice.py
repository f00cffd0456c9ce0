"""Choose the thresholds of a run: asked for, measured, or of the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from no_time_to_train import build
from no_time_to_train.config import Config
from no_time_to_train.references.min_scores import MinScoreRequest, MinScores, choose_min_scores, read_min_score
from no_time_to_train.runs.run import Run
from no_time_to_train.structures import Category

if TYPE_CHECKING:
    from no_time_to_train.references.memory_bank import MemoryBank


@dataclass(frozen=True)
class ThresholdChoice:
    """What was asked for, and what takes its place where nothing was measured.

    Attributes:
        asked: as :func:`read_min_score` reads it; None: ``auto``.
        otherwise: where nothing is measured.
        setting: name of the setting that ``otherwise`` is of.
    """

    asked: float | Mapping[str, float] | None
    otherwise: float
    setting: str

    @classmethod
    def of(cls, request: MinScoreRequest, config: Config, overrides: Sequence[str], setting: str) -> ThresholdChoice:
        """Read a request; without one, a setting given by hand counts."""
        asked = read_min_score(request)
        otherwise = config.tracking.min_score if setting == "tracking.min_score" else config.output.draw_min_score
        if request is None and setting in build.named_settings(overrides):
            asked = otherwise
        return cls(asked, otherwise, setting)

    @property
    def needs_measuring(self) -> bool:
        """Return whether thresholds measured on the reference images are of use."""
        return self.asked is None or isinstance(self.asked, Mapping)

    def describe_request(self) -> str:
        """Return what was asked for where it is no single number."""
        if isinstance(self.asked, Mapping):
            return ",".join(f"{name}={value:g}" for name, value in sorted(self.asked.items()))
        return "auto" if self.asked is None else ""

    def check(self, categories: Sequence[Category]) -> None:
        """Raise InputError where a category is named that there is not."""
        choose_min_scores(self.asked, categories, measured=None, otherwise=self.otherwise)

    def choose(self, run: Run, memory: MemoryBank) -> MinScores:
        """Choose, and let the run write down what and why.

        It says so where nothing was measured.
        """
        chosen = choose_min_scores(self.asked, memory.categories, measured=memory.min_scores, otherwise=self.otherwise)
        is_measured = memory.min_scores is not None
        if self.needs_measuring and not is_measured:
            run.say(f"no thresholds were measured for these references: {self.setting}={self.otherwise:g} is used.")
        parts = (["given"] if self.asked is not None else []) + (
            ["measured on the reference images" if is_measured else self.setting] if self.needs_measuring else []
        )
        run.use_min_scores(chosen.default, chosen.by_name(memory.categories), ", ".join(parts))
        return chosen
