"""Which files hold the weights of a folder in transformers' layout."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.errors import InputError
from no_time_to_train.files.json_files import read_json

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


class MissingFileError(InputError):
    """The folder lacks weights, or some of those that its index names."""


def weight_files(folder: Path) -> list[Path]:
    """List the files that hold a folder's weights: one, or those its index names.

    Raises:
        MissingFileError: there is neither, or a file that the index names is missing.
        InputError: the index is damaged.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    index = folder / INDEX_FILE
    if not index.is_file():
        raise MissingFileError(f"{folder} has neither {WEIGHTS_FILE} nor {INDEX_FILE}.")
    content = read_json(index)
    names = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not names or not all(_is_file_name(name) for name in names.values()):
        raise InputError(f"{index} must hold weight_map, the file of every weight's name. Fetch the folder again.")
    files = [folder / name for name in sorted(set(names.values()))]
    for path in files:
        if not path.is_file():
            raise MissingFileError(f"{index} names {path.name}, which is not in the folder. Fetch the folder again.")
    return files


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and "\0" not in name and Path(name).name == name
