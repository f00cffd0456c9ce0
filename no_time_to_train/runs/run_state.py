"""``run.json``: the makings of a results folder.

It decides whether a run may continue the folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from no_time_to_train.config import SETTINGS_FORMAT
from no_time_to_train.errors import InputError, Parameter, counted
from no_time_to_train.files.formats import write_json

FINISHED = "finished"
LOCK_FILE = ".lock"
"""Held by the process that writes the folder."""

_OTHER_FOLDER, _ANEW = Parameter("out", "OTHER_FOLDER"), Parameter("overwrite", True)
_MAX_NAMED = 5
"""Categories that a message names."""
_RESULTS = ("per_image", "chunks", "unfinished/shards")
"""Folders of single results: what a run computes. All other files are made from it."""
_OWN_FOLDERS = ("per_image", "chunks", "unfinished", "state", "overlays", "references", "evaluation")
_OWN_FILES = (
    "annotations.json",
    "errors.csv",
    "evaluation_metrics.json",
    "index.html",
    "memory.safetensors",
    "metrics.json",
    "overlay.mp4",
    "predictions.json",
    "proposals.json",
    "references.json",
    "run.json",
    "sheet.jpg",
    "summary.csv",
    "tracks.txt",
)


_KINDS: dict[str, type | tuple[type, ...]] = {
    "references": str,
    "config_hash": str,
    "images": str,
    "min_score": (int, float),
    "config": dict,
    "min_scores": (dict, NoneType),
    "reference_counts": (dict, NoneType),
}
"""What ``settings`` of ``run.json`` must hold."""


@dataclass(frozen=True)
class RunSettings:
    """Settings that must be equal for a folder to be continued.

    Attributes:
        config: every setting, as a nested dict (for messages).
        config_hash: of the settings that can change a result.
        references: fingerprint of the references, or of the memory bank that was given instead.
        reference_counts: how many there are of every category, by name (for messages).
        images: the folder of the images.
        min_score: lowest score drawn and counted; a folder may be continued with another one.
        min_scores: the same of every category, by name; empty: not known yet, or all have ``min_score``.
        asked_min_score: what was asked for, where results depend on it (videos); else empty.
    """

    config: dict[str, Any]
    config_hash: str
    references: str
    images: str
    min_score: float
    min_scores: Mapping[str, float] = field(default_factory=dict)
    asked_min_score: str = ""
    reference_counts: Mapping[str, int] = field(default_factory=dict)

    def difference(self, earlier: dict[str, Any]) -> str | None:
        """Describe differences from the settings in an earlier ``run.json``.

        None: the folder can be continued.
        """
        if earlier["images"] != self.images:
            return f"of other images ({earlier['images']} vs {self.images})"
        if earlier["references"] != self.references:
            before = earlier.get("reference_counts")
            return f"from different references{_describe_counts(before, self.reference_counts)}"
        if earlier.get("settings_format", 1) != SETTINGS_FORMAT:
            return "by another version of this program, whose settings had other names or meanings"
        if earlier["config_hash"] != self.config_hash:
            changed = ", ".join(_differences(earlier["config"], self.config))
            return f"with other settings ({changed})"
        asked = earlier.get("asked_min_score", "")
        if asked != self.asked_min_score:
            return f"with another lowest score ({asked or 'a number'} vs {self.asked_min_score or 'a number'})"
        return None

    def draws_like(self, earlier: dict[str, Any]) -> bool:
        """Return whether the same scores are drawn as by the settings in an earlier ``run.json``."""
        return drawn_from(earlier) == (self.min_score, dict(self.min_scores))


DrawnFrom = tuple[float, Mapping[str, float]]
"""Lowest score that is drawn, and those of categories that have one of their own, by name."""


def drawn_from(settings: Mapping[str, Any]) -> DrawnFrom:
    """Return which scores were drawn, from the settings in ``run.json``."""
    return settings["min_score"], settings.get("min_scores", {})


def read_run(path: Path) -> dict[str, Any] | None:
    """Read ``run.json`` of a folder.

    None where there is no such folder, or it is empty.

    Raises:
        InputError: the folder holds files, but not those of a run; nothing in it will be touched.
    """
    if not path.exists() or (path.is_dir() and not any(file.name != LOCK_FILE for file in path.iterdir())):
        return None
    run_file = path / "run.json"
    if not run_file.is_file():
        raise InputError(
            f"{path} exists and is not a results folder (it has no run.json), so nothing was written to it. "
            f"Choose another one with {_OTHER_FOLDER}.",
            parameters=[_OTHER_FOLDER],
        )
    try:
        return _checked(json.loads(run_file.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{run_file} is damaged ({error}). Choose another folder with {_OTHER_FOLDER}.", parameters=[_OTHER_FOLDER]
        ) from error


def _checked(content: Any) -> dict[str, Any]:
    """Return the content of ``run.json``; raise ValueError where it is not one."""
    settings = content.get("settings") if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise ValueError("it must hold the settings of a run")
    for key, kind in _KINDS.items():
        if not isinstance(settings.get(key), kind):
            raise ValueError(f"its settings.{key} is {settings.get(key)!r}")
    if not all(isinstance(value, int | float) for value in (settings.get("min_scores") or {}).values()):
        raise ValueError(f"its settings.min_scores is {settings['min_scores']!r}")
    return content


def continued(path: Path, settings: RunSettings, advice: str | None = None) -> dict[str, Any] | None:
    """Return ``run.json`` of the run that these settings continue.

    None where there is nothing to continue.

    A run that ended before its first result leaves nothing to continue, whatever its settings were.

    Args:
        path: the results folder.
        settings: of the run to be.
        advice: what to do where they differ; None: choose another folder, or overwrite.

    Raises:
        InputError: the folder holds results of other settings, or foreign files.
    """
    earlier = read_run(path)
    if earlier is None:
        return None
    difference = settings.difference(earlier["settings"])
    if difference is None:
        return earlier
    if earlier.get("status") != FINISHED and not _holds_results(path):
        return None
    if advice is not None:
        raise InputError(f"{path} was made {difference}. {advice}")
    raise InputError(
        f"{path} was made {difference}. Choose: {_OTHER_FOLDER}, or {_ANEW}.", parameters=[_OTHER_FOLDER, _ANEW]
    )


def _holds_results(path: Path) -> bool:
    files = (file for folder in _RESULTS for file in (path / folder).rglob("*"))
    return any(file.is_file() and file.stat().st_size for file in files)


def clear(path: Path) -> None:
    """Remove what a run writes, and nothing else.

    ``run.json`` goes last: a half-cleared folder is still known.
    """
    for name in _OWN_FOLDERS:
        shutil.rmtree(path / name, ignore_errors=True)
    for name in sorted(_OWN_FILES, key=lambda name: name == "run.json"):
        (path / name).unlink(missing_ok=True)


def write_run(path: Path, settings: RunSettings, details: dict[str, Any]) -> None:
    """Write ``run.json``.

    It has the settings a later run is compared with, and how this one went.
    """
    shown = {
        "references": settings.references,
        **({"reference_counts": dict(settings.reference_counts)} if settings.reference_counts else {}),
        "settings_format": SETTINGS_FORMAT,
        "config_hash": settings.config_hash,
        "images": settings.images,
        "min_score": settings.min_score,
        **({"min_scores": dict(settings.min_scores)} if settings.min_scores else {}),
        **({"asked_min_score": settings.asked_min_score} if settings.asked_min_score else {}),
        "config": settings.config,
    }
    write_json(path / "run.json", {**details, "settings": shown})


def _describe_counts(earlier: Mapping[str, int] | None, now: Mapping[str, int]) -> str:
    """Say in parentheses how many references of which categories changed; nothing where an earlier version ran."""
    if not earlier or not now:
        return ""
    changed = [name for name in {**earlier, **now} if earlier.get(name, 0) != now.get(name, 0)]
    if not changed:
        return " (as many of every category, but other images, boxes, masks or prototypes)"
    shown = [f"{name}: {earlier.get(name, 0)} then, {now.get(name, 0)} now" for name in changed[:_MAX_NAMED]]
    others = len(changed) - len(shown)
    return f" ({'; '.join([*shown, *([counted(others, 'other category')] if others else [])])})"


def _differences(earlier: dict[str, Any], now: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Return settings that differ, as ``key=before vs after``; the device may differ in a continued run."""
    for key, after in now.items():
        before = earlier.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after and key != "device":
            yield f"{prefix}{key}={before} vs {after}"
