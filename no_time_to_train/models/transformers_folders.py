"""Networks in folders of transformers' layout: loaded by transformers' own classes, never by code of the folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from no_time_to_train.errors import InputError, UnsafeWeightsError, WeightsNotFoundError
from no_time_to_train.files.json_files import is_number, read_json
from no_time_to_train.models.weight_headers import check_finite, no_larger_than, totals_of, totals_of_folder

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel
    from transformers.image_processing_utils import BaseImageProcessor

CONFIG_FILE = "config.json"
PROCESSOR_FILE = "preprocessor_config.json"

# transformers makes lists as long as some settings say before any network is built.
_LARGEST_SETTING = 10**7
"""Beyond any width or table of a network."""
_MOST_LAYERS = 10**4
_PER_LAYER = re.compile("layer|depth|block|stage")
"""Settings that count layers, or say something of every one."""
_LARGEST_SIDE_PX = 16_384
_SIZES = frozenset({"size", "crop_size", "pad_size", "image_size"})
"""Settings that hold sides of images in pixels."""


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

    _check_settings(folder / CONFIG_FILE)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ImportError:
        raise
    except Exception as error:  # what the classes of networks make of odd settings is nearly anything
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

    _check_settings(folder / PROCESSOR_FILE)
    try:
        with quiet_transformers():
            processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ImportError:
        raise
    except Exception as error:  # as above
        raise InputError(
            f"{folder / PROCESSOR_FILE} does not describe an image processor of transformers: {_first_line(error)}"
        ) from error
    for name in ("image_mean", "image_std"):
        values: Any = getattr(processor, name, None)
        is_three = isinstance(values, list | tuple) and len(values) == 3 and all(map(is_number, values))
        if not is_three or (name == "image_std" and min(values) <= 0):
            above = " above 0" if name == "image_std" else ""
            raise InputError(
                f"{folder / PROCESSOR_FILE} must give {name} as three numbers{above}, got {str(values)[:60]}."
            )
    return processor


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
        InputError: the weights' files are damaged or hold NaN, or their network is none of this class or far larger
            than they are.
    """
    folder = weights if isinstance(weights, Path) else None
    source = folder or "The file"
    totals = totals_of_folder(weights) if isinstance(weights, Path) else totals_of(weights)
    try:
        with quiet_transformers(), no_larger_than(totals, source):
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
    except (ImportError, InputError, MemoryError):
        raise
    except Exception as error:  # what the classes of networks make of odd settings is nearly anything
        raise InputError(f"{source} cannot be loaded as {network.__name__}: {_first_line(error)}") from error
    module, report = loaded  # a pair, because of output_loading_info
    missing = report["missing_keys"]  # filled at random; callers refuse them
    check_finite(((name, weight) for name, weight in module.named_parameters() if name not in missing), source)
    return module, report


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


def _check_settings(path: Path) -> None:
    """Raise where a file of settings is missing, unreadable, absurd, or names code of its folder or of the hub."""
    try:
        settings = read_json(path)
    except FileNotFoundError as error:
        raise WeightsNotFoundError(
            f"{path.parent} has no {path.name}. A folder in transformers' layout holds {CONFIG_FILE}, {PROCESSOR_FILE} "
            "(detectors, mask models) and model.safetensors."
        ) from error
    except OSError as error:
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
        least, most = _bounds(key)
        if isinstance(value, int) and not isinstance(value, bool) and not least <= value <= most:
            raise InputError(
                f"{path} says {key}: {value}, which must be between {least:,} and {most:,}. Fetch the file again."
            )


def _bounds(key: str) -> tuple[int, int]:
    """Return what a whole number of a setting lies between."""
    if key in _SIZES:
        return 1, _LARGEST_SIDE_PX
    if _PER_LAYER.search(key):
        return -_MOST_LAYERS, _MOST_LAYERS
    return -_LARGEST_SETTING, _LARGEST_SETTING


def _entries(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every value of nested objects and lists with its key; what is in a size, ``height``, as that size's."""
    unread: list[tuple[str, Any]] = list(settings.items())
    while unread:
        key, value = unread.pop()
        yield key, value
        if isinstance(value, dict):
            unread += [(key if key in _SIZES else inner, entry) for inner, entry in value.items()]
        elif isinstance(value, list):
            unread += [(key, entry) for entry in value]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
