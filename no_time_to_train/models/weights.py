"""Finding the weights of a model: the user's path, local folders, the Hugging Face cache, then a download.

Order: an explicit path or hub id; the bundled demo; the folders of ``$NTTT_WEIGHTS`` and ``~/.cache/nttt``; the
Hugging Face cache; the hub. A local folder may hold the official file (``dinov2_vitl14_pretrain.pth``), a converted
``<name>.safetensors``, or a folder called like the model or its hub repository with the hub's or the official files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from no_time_to_train.errors import InputError, InputFileNotFoundError, WeightsNotFoundError
from no_time_to_train.files.paths import WEIGHTS_VARIABLE, demo_data_folder, weights_folders
from no_time_to_train.models.catalog import CATALOG, HUB_ID, ModelSpec, get_spec
from no_time_to_train.models.weight_index import WEIGHTS_FILE, MissingFileError, weight_files


@dataclass(frozen=True)
class WeightsRow:
    """One line of ``nttt weights list``; ``location`` is None where the weights are not on this machine."""

    name: str
    kind: str
    size_mb: float
    license: str
    gated: bool
    location: Path | None


def list_weights() -> list[WeightsRow]:
    """List every model of the catalog and where its weights are, on this machine."""
    return [
        WeightsRow(spec.name, spec.kind, spec.size_mb, spec.license, spec.gated, locate_weights(spec))
        for spec in CATALOG.values()
    ]


def get_weights(name: str) -> Path:
    """Download the weights called ``name`` unless they are here.

    Returns:
        The file or folder.

    Raises:
        InputError: no model of that name.
        WeightsNotFoundError: offline, or the repository is gated and the account has no access.
    """
    return find_weights(get_spec(name))


def find_weights(spec: ModelSpec, explicit: str | Path | None = None) -> Path:
    """Find the weights of ``spec``, downloaded from the hub if need be.

    Args:
        spec: the model.
        explicit: a local file or folder, or a hub id ``owner/repository``, to use instead of the model's own.

    Returns:
        A checkpoint file, or a folder in transformers' layout (``config.json`` and safetensors).

    Raises:
        InputFileNotFoundError: ``explicit`` is neither there nor a hub id.
        InputError: ``explicit`` is a folder without weights.
        WeightsNotFoundError: see ``get_weights``.
    """
    if explicit is not None:
        path = Path(explicit).expanduser()
        if path.exists():
            return _weights_at(path, spec)
        if not HUB_ID.fullmatch(str(explicit)):
            raise InputFileNotFoundError(
                f"{spec.setting}={explicit}: no such file or folder, and not a hub id such as "
                f"{spec.hub_id or 'facebook/dinov2-large'}."
            )
        spec = replace(spec, hub_id=str(explicit), bundled_folder=None, local_folder=None)
        return _in_hub_cache(spec) or _download(spec)
    return locate_weights(spec) or _download(spec)


def locate_weights(spec: ModelSpec) -> Path | None:
    """Locate the weights of ``spec`` on this machine: a file, a folder or None."""
    if spec.bundled_folder or spec.local_folder:
        return _weights_in(_own_folder(spec), spec)
    for folder in weights_folders():
        for file_name in (spec.official_file, f"{spec.name}.safetensors"):
            if spec.takes_file and file_name and (folder / file_name).is_file():
                return folder / file_name
        for subfolder in _subfolder_names(spec):
            found = _weights_in(folder / subfolder, spec)
            if found:
                return found
    return _in_hub_cache(spec)


def _own_folder(spec: ModelSpec) -> Path:
    """Return the only place where the weights of a bundled model, or one that is named by its folder, may be."""
    return Path(spec.local_folder) if spec.local_folder else demo_data_folder() / str(spec.bundled_folder)


def _subfolder_names(spec: ModelSpec) -> list[str]:
    return [spec.name] + ([spec.hub_id.split("/")[-1], spec.hub_id] if spec.hub_id else [])


def _weights_at(path: Path, spec: ModelSpec) -> Path:
    if path.is_file() and spec.takes_file:
        return path
    found = None if path.is_file() else _weights_in(path, spec)
    if found is None:
        wanted = " or ".join(name for name in (spec.official_file, "model.safetensors") if name)
        wanted = wanted if spec.takes_file else "a folder with config.json and model.safetensors"
        raise InputError(
            f"{path} holds no complete weights of {spec.name}: expected {wanted}{' in it' * spec.takes_file}."
        )
    return found


def _weights_in(folder: Path, spec: ModelSpec) -> Path | None:
    """Choose what to load of a model's folder: itself in transformers' layout, else a file."""
    if spec.takes_folder and (folder / "config.json").is_file() and _has_all_shards(folder):
        return folder
    for file_name in (spec.official_file, WEIGHTS_FILE) if spec.takes_file else ():
        if file_name and (folder / file_name).is_file():
            return folder / file_name
    return None


def _has_all_shards(folder: Path) -> bool:
    try:
        weight_files(folder)
    except MissingFileError:
        return False
    except InputError:  # a damaged index: loading says what is wrong with it
        return True
    return True


def _in_hub_cache(spec: ModelSpec) -> Path | None:
    if spec.hub_id is None:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(spec.hub_id, allow_patterns=list(spec.hub_files), local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    return _weights_in(Path(folder), spec)


def _download(spec: ModelSpec) -> Path:
    if spec.bundled_folder:
        raise WeightsNotFoundError(
            f"Weights not found: {spec.name} comes with the package, but its folder {_own_folder(spec)} is incomplete. "
            "Reinstall the package."
        )
    if spec.hub_id is None:
        reason = "expected config.json and model.safetensors in it" if spec.local_folder else "the hub has none of it"
        raise WeightsNotFoundError(
            f"Weights not found: {spec.local_folder or spec.name} ({reason}). Say where they are: {spec.setting}=..."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        folder = Path(snapshot_download(spec.hub_id, allow_patterns=list(spec.hub_files)))
    except RepositoryNotFoundError as error:  # the parent of GatedRepoError; without a token a gated one gives either
        if spec.gated or isinstance(error, GatedRepoError):
            raise _gated_error(spec, error) from error
        raise _missing_error(spec, f"{spec.hub_id} is not on the hub, or is private.") from error
    except (HfHubHTTPError, OSError) as error:
        raise _missing_error(spec, f"The hub could not be reached ({type(error).__name__}).") from error
    found = _weights_in(folder, spec)
    if found is None:
        raise _missing_error(spec, f"{spec.hub_id} holds none of {', '.join(spec.hub_files)}.")
    return found


def _missing_error(spec: ModelSpec, reason: str) -> WeightsNotFoundError:
    folders = [str(folder) for folder in weights_folders()]
    size = f" ({_readable_size(spec.size_mb)})" if spec.size_mb else ""
    return WeightsNotFoundError(
        f"Weights not found: {spec.name}{size}. Looked in {', '.join(folders)} and the Hugging Face cache; {reason} "
        f"Online: nttt weights get {spec.name}. Offline: copy {_files_to_copy(spec)} and set "
        f"{WEIGHTS_VARIABLE}=/that/folder."
    )


def _files_to_copy(spec: ModelSpec) -> str:
    if spec.official_file is None:
        return f"{', '.join(spec.hub_files)} of https://huggingface.co/{spec.hub_id} to /that/folder/{spec.hub_id}"
    return f"{spec.official_file}{f' (from {spec.official_url})' if spec.official_url else ''} into a folder"


def _gated_error(spec: ModelSpec, error: Exception) -> WeightsNotFoundError:
    response = getattr(error, "response", None)
    status = f" (HTTP {response.status_code})" if response is not None else ""
    return WeightsNotFoundError(
        f"{spec.hub_id} is gated and your account has no access{status}. Meta may take weeks or refuse. You do not "
        "need it: the default dinov2_large is free and scored higher in the paper's tests. To use it: accept the "
        f"license at https://huggingface.co/{spec.hub_id}, then `hf auth login`; or pass a local copy, "
        f"encoder={spec.name} encoder.weights=/path/{spec.official_file}."
    )


def _readable_size(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
