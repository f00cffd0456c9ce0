"""The makings of a result, for ``run.json``."""

from __future__ import annotations

import platform
from functools import cache, lru_cache
from pathlib import Path

import no_time_to_train
from no_time_to_train.config import Config
from no_time_to_train.files.hashes import sha256_of_file
from no_time_to_train.files.packages import installed_version
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.models.weights import locate_weights

_PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "rf-sam-2",
    "numpy",
    "pillow",
    "pycocotools",
    "pytorch-lightning",
    "av",
    "scipy",
)


def versions() -> dict[str, str | None]:
    """Return versions by package name, None where one is not installed."""
    found: dict[str, str | None] = {
        "python": platform.python_version(),
        "no_time_to_train": no_time_to_train.__version__,
    }
    return found | _package_versions()


@cache
def _package_versions() -> dict[str, str | None]:
    """Return what is installed; looking it up takes longer than a run of a sweep should wait for."""
    return {package: installed_version(package) for package in _PACKAGES}


def weight_hashes(config: Config) -> dict[str, dict[str, str]]:
    """Hash every weights file of both models with SHA-256.

    Hashes are by model name and file name. Reads gigabytes the first time.
    """
    hashes: dict[str, dict[str, str]] = {}
    for settings in (config.encoder, config.mask_model):
        explicit = settings.weights
        location = locate_weights(get_spec(settings.name)) if explicit is None else Path(explicit).expanduser()
        if location is None or not location.exists():  # a hub id: the hub's cache has its own hashes
            continue
        files = sorted(location.glob("*.safetensors")) if location.is_dir() else [location]
        hashes[settings.name] = {file.name: _sha256(file, file.stat().st_mtime_ns) for file in files}
    return hashes


@lru_cache
def _sha256(path: Path, modified_ns: int) -> str:
    """Return a file that has not changed is read once by the runs of a sweep."""
    return sha256_of_file(path)
