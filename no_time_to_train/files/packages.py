"""Know which packages this installation asks for, and which are there."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

from packaging.requirements import Requirement

from no_time_to_train.errors import EnvironmentProblemError

_DISTRIBUTION = "no-time-to-train"

# Meta's own SAM 2 and its re-upload do as well as the wheel that is asked for.
_SAME_PACKAGE = {"rf-sam-2": ("sam2", "SAM-2")}


def requirements(extra: str = "") -> Iterator[Requirement]:
    """Yield what the package asks for on this system: always, or for an extra only.

    Raises:
        EnvironmentProblemError: the package runs without being installed.
    """
    for requirement in map(Requirement, _metadata().get_all("Requires-Dist") or []):
        marker = requirement.marker
        for_extra = marker is not None and "extra" in str(marker)
        if for_extra == bool(extra) and (marker is None or marker.evaluate({"extra": extra})):
            yield requirement


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or of one that does as well; None where there is none."""
    for name in (package, *_SAME_PACKAGE.get(package, ())):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return version if name == package else f"{version} of {name}"
    return None


def is_satisfied(requirement: Requirement) -> bool:
    """Return whether the package is there in a version that is asked for."""
    version = installed_version(requirement.name)
    if version is None:
        return False
    return " of " in version or requirement.specifier.contains(version, prereleases=True)


def _metadata() -> importlib.metadata.PackageMetadata:
    try:
        return importlib.metadata.metadata(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise EnvironmentProblemError(
            "no_time_to_train is imported from a folder, but not installed: pip install . in the repository's folder."
        ) from error
