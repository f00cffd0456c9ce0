"""Where the files that come with the package and the user's weights lie."""

from __future__ import annotations

import os
from pathlib import Path

from no_time_to_train.errors import InputFileNotFoundError

_PACKAGE = Path(__file__).resolve().parents[1]
WEIGHTS_VARIABLE = "NTTT_WEIGHTS"


def demo_data_folder() -> Path:
    """Return the folder of the bundled demo.

    It holds images, annotations and two small models: ``_data/demo`` in a wheel, else ``data/demo``.
    """
    return _packaged_or_repository("_data/demo", "data/demo")


def configs_folder() -> Path:
    """Return the folder of the YAML files that Hydra composes."""
    return _PACKAGE / "configs"


def weights_folders() -> list[Path]:
    """Return where weights are looked for, in order.

    These are the folders of ``$NTTT_WEIGHTS``, then ``~/.cache/nttt``.

    ``$NTTT_WEIGHTS`` may hold several paths, separated as in ``$PATH``. Folders need not exist.
    """
    named = [Path(entry).expanduser() for entry in os.environ.get(WEIGHTS_VARIABLE, "").split(os.pathsep) if entry]
    return [*named, Path("~/.cache/nttt").expanduser()]


def _packaged_or_repository(packaged: str, repository: str) -> Path:
    candidates = (_PACKAGE / packaged, _PACKAGE.parent / repository)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise InputFileNotFoundError(
        f"The installation lacks {repository}: neither {candidates[0]} nor {candidates[1]} exists. "
        "Reinstall the package, or run from a complete copy of the repository."
    )
