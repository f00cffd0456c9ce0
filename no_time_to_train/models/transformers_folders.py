"""Networks in folders of transformers' layout: loaded by transformers' own classes, never by code of the folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from no_time_to_train.errors import InputError, UnsafeWeightsError, WeightsNotFoundError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel
    from transformers.image_processing_utils import BaseImageProcessor

CONFIG_FILE = "config.json"
PROCESSOR_FILE = "preprocessor_config.json"


def read_config(folder: Path) -> PreTrainedConfig:
    """Read what network a folder holds.

    Args:
        folder: has a ``config.json``.

    Raises:
        WeightsNotFoundError: there is none.
        InputError: it is damaged, or of a network that transformers does not have.
        UnsafeWeightsError: it names code to run.
    """
    from transformers import AutoConfig

    _refuse_code(folder / CONFIG_FILE)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise InputError(
            f"{folder / CONFIG_FILE} does not describe a network of transformers: {_first_line(error)}"
        ) from error


def read_image_processor(folder: Path) -> BaseImageProcessor:
    """Read how images are prepared for the network of a folder.

    Args:
        folder: has a ``preprocessor_config.json``.

    Raises:
        WeightsNotFoundError, InputError, UnsafeWeightsError: as ``read_config`` does.
    """
    from transformers import AutoImageProcessor

    _refuse_code(folder / PROCESSOR_FILE)
    try:
        with quiet_transformers():
            return AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise InputError(
            f"{folder / PROCESSOR_FILE} does not describe an image processor of transformers: {_first_line(error)}"
        ) from error


def load_network(
    network: type[PreTrainedModel],
    config: PreTrainedConfig,
    weights: Path | Mapping[str, Tensor],
    **arguments: Any,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load a network in float32 as transformers does, which maps the hub's names to its own.

    Args:
        network: class of transformers, or one of its ``AutoModel...``.
        config: from ``read_config``, or made from known values.
        weights: a folder, or names and tensors in the hub's layout.
        arguments: further ones of ``from_pretrained``.

    Returns:
        The network, and what transformers reports: ``missing_keys``, ``unexpected_keys`` and ``mismatched_keys`` (name,
        shape in the file, shape of the network). Nothing of that is an error yet.

    Raises:
        InputError: the weights' files are damaged, or no network of this class.
    """
    from safetensors import SafetensorError

    folder = weights if isinstance(weights, Path) else None
    try:
        with quiet_transformers():
            loaded: Any = network.from_pretrained(
                folder,
                config=config,
                state_dict=None if isinstance(weights, Path) else dict(weights),
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True if folder else None,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **arguments,
            )
            return loaded  # a pair, because of output_loading_info
    except (ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{folder or 'The file'} cannot be loaded as {network.__name__}: {_first_line(error)}"
        ) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bar and report: what matters becomes an error."""
    from transformers.utils import logging

    verbosity, had_progress_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_progress_bar:
            logging.enable_progress_bar()


def _refuse_code(path: Path) -> None:
    """Raise where a file of settings is missing, unreadable, or names code of its folder or of the hub."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsNotFoundError(
            f"{path.parent} has no {path.name}. A folder in transformers' layout holds {CONFIG_FILE}, {PROCESSOR_FILE} "
            "(detectors, mask models) and model.safetensors."
        ) from error
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {_first_line(error)}") from error
    if not isinstance(settings, dict):
        raise InputError(f"{path} must hold a JSON object, got {type(settings).__name__}.")
    for key, value in _entries(settings):
        # Attention that is called owner/repository is compiled code of that repository.
        if key == "auto_map" or (key.endswith("attn_implementation") and "/" in str(value)):
            raise UnsafeWeightsError(
                f"{path} names code to run ({key}: {str(value)[:100]}); not loaded. Only networks that are part of "
                "transformers can be used. Where this is one, remove that entry from the file."
            )


def _entries(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every key and value of nested objects."""
    unread = [settings]
    while unread:
        for key, value in unread.pop().items():
            yield key, value
            if isinstance(value, dict):
                unread.append(value)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
