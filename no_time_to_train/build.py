"""Config -> objects: the only place that chooses classes. Past this module no Hydra object exists."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from no_time_to_train.config import Config, to_dict, validate
from no_time_to_train.errors import InputError
from no_time_to_train.locations import configs_folder
from no_time_to_train.models.catalog import CATALOG, ModelSpec

if TYPE_CHECKING:
    from no_time_to_train.proposals.interfaces import ProposalSource
    from no_time_to_train.segmenter import Segmenter


def compose_config(overrides: Sequence[str] = ()) -> Config:
    """The validated config of a command line's ``key=value`` overrides.

    Raises:
        InputError: an unknown key or option, a value of the wrong type or out of range; the message names the key.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    _register_options()
    GlobalHydra.instance().clear()  # `import sam2` initialises Hydra globally; composing must not depend on it
    try:
        with initialize_config_dir(config_dir=str(configs_folder()), version_base="1.3"):
            composed = compose(config_name="config", overrides=list(overrides))
            config = OmegaConf.to_object(composed)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_readable_override_error(error, overrides)) from error
    assert isinstance(config, Config)
    return validate(config)


def load_segmenter(
    *overrides: str,
    features: str | None = None,
    mask_model: str | None = None,
    device: str | None = None,
    precision: str | None = None,
    preset: str | None = None,
) -> Segmenter:
    """A ready segmenter: both frozen models loaded, every setting checked.

    Args:
        overrides: further ``"key=value"`` settings, e.g. ``"merging=hard"``, ``"proposals.points_per_side=16"``.
        features: encoder, a name of ``nttt weights list`` (default ``dinov2_large``).
        mask_model: mask model, a name of ``nttt weights list`` (default ``sam2.1_large``).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        preset: ``default``, ``paper``, ``fast`` or ``demo``.

    Example:
        >>> segmenter = load_segmenter(preset="demo", device="cpu")
    """
    named = {
        "preset": preset,
        "features": features,
        "mask_model": mask_model,
        "device": device,
        "precision": precision,
    }
    settings = [f"{key}={value}" for key, value in named.items() if value is not None]
    return build_segmenter(compose_config([*settings, *overrides]))


def build_segmenter(config: Config) -> Segmenter:
    """Load both models and put the stages together."""
    from no_time_to_train.models.allocator import keep_freed_memory
    from no_time_to_train.models.dino import load_dino
    from no_time_to_train.models.precision import resolve_device, resolve_precision
    from no_time_to_train.models.sam2 import load_sam2
    from no_time_to_train.segmenter import Segmenter

    device = resolve_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    dtype = resolve_precision(config.precision, device)
    encoder = load_dino(
        config.features.name,
        weights=config.features.weights,
        image_size=config.features.image_size,
        device=device,
        dtype=dtype,
        compile=config.features.compile,
    )
    mask_model = load_sam2(
        config.mask_model.name,
        weights=config.mask_model.weights,
        device=device,
        dtype=dtype,
        decoder=config.mask_model.decoder,
        prompts_per_batch=config.mask_model.prompts_per_batch,
        compile=config.mask_model.compile,
    )
    return Segmenter(encoder, mask_model, config, proposals=build_proposals(config))


def build_proposals(config: Config) -> ProposalSource:
    """The source of candidate masks that ``config.proposals`` describes."""
    from no_time_to_train.proposals.point_grid import PointGrid, SemanticPrefilter

    settings = config.proposals
    prefilter = None
    if settings.prefilter == "semantic":
        prefilter = SemanticPrefilter(settings.prefilter_min_similarity, settings.prefilter_top_k)
    return PointGrid(settings.points_per_side, settings.min_predicted_iou, prefilter)


def config_hash(config: Config) -> str:
    """12 hex digits that change with every setting that can change a result.

    The device, the decoder (same numbers) and batch sizes are left out, so that a folder begun on one machine can be
    continued on another.
    """
    settings = to_dict(config)
    settings.pop("device")
    for section, keys in {
        "features": ("batch_size", "compile"),
        "mask_model": ("decoder", "prompts_per_batch", "compile"),
        "output": ("draw_min_score",),
    }.items():
        for key in keys:
            settings[section].pop(key)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def _register_options() -> None:
    """Tell Hydra the schema, and one option per model of the catalogue (values, not files)."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for spec in CATALOG.values():
        store.store(group=spec.kind, name=spec.name, node=_option(spec))


def _option(spec: ModelSpec) -> dict[str, Any]:
    if spec.kind == "features":
        return {"name": spec.name, "image_size": spec.image_size}
    return {"name": spec.name}


def _readable_override_error(error: Exception, overrides: Sequence[str]) -> str:
    """One sentence out of Hydra's and OmegaConf's: which override, what it may be."""
    text = str(error.__cause__ or error) if "Error merging override" in str(error) else str(error)
    missing = re.search(r"(?:Could not find|In '.*?': Could not (?:find|load)) '?([\w/.@-]+)'?", text)
    if missing and "/" in missing.group(1):
        group, option = missing.group(1).split("/", 1)
        choices = _group_options(group)
        return f"{group}={option}: no such option. Known: {', '.join(choices)}.{_did_you_mean(option, choices)}"
    unknown = re.search(r"(?:Key|Could not override) '([\w.]+)'", text)
    if unknown and ("not in" in text or "No match in the defaults list" in text or "Could not override" in text):
        key = next((o.split("=")[0].lstrip("+~") for o in overrides if o.split("=")[0].endswith(unknown.group(1))), "")
        key = key or unknown.group(1)
        return f"{key}: no such setting.{_did_you_mean(key, _all_keys(Config()))}"
    override = next((o for o in overrides if o.split("=")[0].lstrip("+~") in text), None)
    first_line = text.strip().splitlines()[0]
    return f"{override}: {first_line}" if override else first_line


def _group_options(group: str) -> list[str]:
    if group in ("features", "mask_model"):
        return [spec.name for spec in CATALOG.values() if spec.kind == group]
    folder = configs_folder() / group
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _all_keys(config: Any, prefix: str = "") -> list[str]:
    keys = []
    for f in fields(config):
        value = getattr(config, f.name)
        keys += _all_keys(value, f"{prefix}{f.name}.") if is_dataclass(value) else [f"{prefix}{f.name}"]
    return keys


def _did_you_mean(word: str, choices: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, choices, n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
