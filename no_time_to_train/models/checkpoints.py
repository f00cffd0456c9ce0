"""Reading checkpoints: safetensors, and PyTorch files without running what is in them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from no_time_to_train.errors import (
    EnvironmentProblemError,
    InputError,
    InputFileNotFoundError,
    Parameter,
    UnsafeWeightsError,
)
from no_time_to_train.files.atomic import replacing
from no_time_to_train.models.weight_headers import check_finite

_SHOWN_NAMES = 3
_WRAPPERS = ("model", "teacher", "state_dict")
"""Keys under which published checkpoints keep their weights."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the names and tensors of a ``.safetensors`` or PyTorch file.

    Wrappers of published checkpoints (``{"model": ...}``, a self-distillation ``{"teacher": {"backbone.*": ...}}``)
    are taken off. PyTorch files are read with ``weights_only=True``.

    Raises:
        InputFileNotFoundError: there is no such file.
        InputError: the file is damaged or holds no weights.
        UnsafeWeightsError: the file holds Python objects other than tensors and plain containers.
    """
    path = Path(path)
    if not path.is_file():
        raise InputFileNotFoundError(f"{path} is not a file.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _unwrap(_read_pytorch(path), path)


def convert_checkpoint(source: str | Path, target: str | Path, *, trust: bool = False) -> Path:
    """Write the weights of ``source`` as safetensors, names and values unchanged.

    Args:
        source: a PyTorch checkpoint.
        target: the file to write; ends in ``.safetensors``.
        trust: unpickle any Python object in ``source``. This can run code: only for files whose origin you trust.

    Raises:
        UnsafeWeightsError: ``source`` holds Python objects and ``trust`` is False.
        InputError: ``source`` is damaged or holds no weights or NaN, or ``target`` is not called ``*.safetensors``.
        EnvironmentProblemError: ``target`` cannot be written; what was there before is left as it was.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    source, target = Path(source), Path(target)
    if target.suffix != ".safetensors":
        raise InputError(f"The converted file must end in .safetensors, got {target.name}.")
    if trust and source.suffix != ".safetensors":
        state_dict = _unwrap(_read_pytorch(source, any_object=True), source)
    else:
        state_dict = read_state_dict(source)
    check_finite(state_dict.items(), source)
    # safetensors refuses tensors that share memory (tied weights): each gets its own.
    own = {name: tensor.detach().clone().contiguous() for name, tensor in state_dict.items()}
    try:
        with replacing(target) as unfinished:
            save_file(own, unfinished)
    except SafetensorError as error:
        raise EnvironmentProblemError(f"{target} cannot be written ({error}). Free some space.") from error
    return target


def check_names_and_shapes(
    expected: Mapping[str, Tensor], found: Mapping[str, Tensor], *, source: str | Path, model: str
) -> None:
    """Raise one readable InputError unless ``found`` has exactly the names and shapes of ``expected``."""
    raise_mismatch(
        missing=expected.keys() - found.keys(),
        unexpected=found.keys() - expected.keys(),
        wrong_shapes={
            name: (tuple(expected[name].shape), tuple(found[name].shape))
            for name in expected.keys() & found.keys()
            if expected[name].shape != found[name].shape
        },
        source=source,
        model=model,
    )


def raise_mismatch(
    *,
    missing: Iterable[str],
    unexpected: Iterable[str],
    wrong_shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
    source: str | Path,
    model: str,
) -> None:
    """Raise an InputError that names the first few differences; return where there are none.

    ``wrong_shapes`` maps a name to the shape the model needs and the shape in the file.
    """
    shapes = [f"{name} is {found}, must be {needed}" for name, (needed, found) in sorted(wrong_shapes.items())]
    parts = [
        _first_few(label, names)
        for label, names in (("missing", sorted(missing)), ("unexpected", sorted(unexpected)), ("wrong shape", shapes))
        if names
    ]
    if parts:
        raise InputError(
            f"{source} does not hold the weights of {model}: {'; '.join(parts)}. "
            "Choose the model these weights belong to, or fetch the right ones with "
            f"`nttt weights get {model}`."
        )


def _first_few(label: str, names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"{len(names)} {label} ({', '.join(names[:_SHOWN_NAMES])}{more})"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _read_pytorch(path: Path, *, any_object: bool = False) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=not any_object)
    except pickle.UnpicklingError as error:
        objects = _foreign_objects(path, error)
        if not objects:
            raise _damaged(path, error) from error
        trust = Parameter("trust", True)
        raise UnsafeWeightsError(
            f"{path.name} holds Python objects ({', '.join(objects)}) and could run code; not loaded. Convert it on a "
            f"computer you trust with {trust} (nttt weights convert {path.name}), or get the safetensors.",
            parameters=[trust],
        ) from error
    except (MemoryError, InputError):
        raise
    except Exception as error:  # unpickling broken bytes raises nearly anything
        raise _damaged(path, error) from error


def _foreign_objects(path: Path, error: pickle.UnpicklingError) -> list[str]:
    """Names of the Python objects in a PyTorch file that ``weights_only`` refuses; empty for a damaged file."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)[:_SHOWN_NAMES]
    except Exception:  # files of torch < 1.6 and damaged ones: any error, and the refusal itself has to tell
        return re.findall(r"GLOBAL ([\w.]+)", str(error))[:1]


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    size_mb = path.stat().st_size / 1e6
    return InputError(
        f"{path} ({size_mb:.1f} MB) is not a readable checkpoint: {reason[:200]} "
        "The download may have broken off; fetch the file again."
    )


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path} holds no weights: expected names and tensors, got {type(content).__name__}.")
    state_dict = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not state_dict:
        raise InputError(f"{path} holds no tensors, only: {', '.join(map(str, list(content)[:_SHOWN_NAMES]))}.")
    _check_tensors(state_dict, path)
    backbone = {
        name.removeprefix("backbone."): value for name, value in state_dict.items() if name.startswith("backbone.")
    }
    return backbone or state_dict


def _check_tensors(state_dict: Mapping[str, Tensor], path: Path) -> None:
    """Refuse what no file of weights holds: other names than text, sparse tensors, and tensors larger than the file.

    A few bytes can stand for a tensor of any size, every row of which is the same.
    """
    num_bytes = path.stat().st_size
    for name, tensor in state_dict.items():
        if not isinstance(name, str) or tensor.layout != torch.strided or tensor.is_quantized:
            raise InputError(f"{path} holds {str(name)[:60]}, which is no weight: plain tensors with names are needed.")
        if tensor.numel() * tensor.element_size() > num_bytes:
            raise InputError(
                f"{path} is damaged: {name} has the shape {tuple(tensor.shape)}, which is larger than the file. "
                "Fetch the file again."
            )
