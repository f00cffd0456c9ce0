"""Config -> objects: the only place that chooses classes.

Past this module no Hydra object exists.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from no_time_to_train.config import (
    OLD_KEYS,
    OLD_OVERRIDES,
    OLD_VALUES,
    BenchConfig,
    BenchmarkConfig,
    Config,
    ProposalsConfig,
    present_names,
)
from no_time_to_train.errors import InputError
from no_time_to_train.files.arguments import as_object
from no_time_to_train.files.paths import configs_folder
from no_time_to_train.models.catalog import CATALOG, HF, TIMM, ModelSpec, get_spec
from no_time_to_train.settings import settings_of
from no_time_to_train.settings.composing import Composer, SweepJob, register
from no_time_to_train.settings.fields import facts_of
from no_time_to_train.settings.overrides import FurtherOptions, Grammar, as_typed, with_named

if TYPE_CHECKING:
    import torch

    from no_time_to_train.models.interfaces import FeatureEncoder, MaskModel
    from no_time_to_train.proposals.interfaces import ProposalSource
    from no_time_to_train.references.memory_bank import MemoryBank
    from no_time_to_train.segmenter import Segmenter


def compose_config(overrides: Sequence[str] = ()) -> Config:
    """Return the validated config of a command line's ``key=value`` overrides.

    Raises:
        InputError: an unknown setting or option, a value of the wrong type or out of range, or a setting without
            effect; the message names it.

    Example:
        >>> ntt.compose_config(["preset=fast", "merging.exponent=0.3"]).merging.exponent
        0.3
    """
    return compose_config_on({}, overrides)


def named_settings(overrides: Sequence[str]) -> set[str]:
    """Return the settings and groups that overrides name, under their present names.

    Raises:
        InputError: one of them names none.
    """
    return _composer("config").grammar.keys(overrides)


def compose_config_for(memory: MemoryBank, overrides: Sequence[str] = ()) -> Config:
    """Return the config of a memory bank, changed by overrides; a bank of an earlier version holds no settings.

    Args:
        memory: from ``fit`` or ``MemoryBank.load``.
        overrides: ``key=value``, as of ``compose_config``.

    Raises:
        InputError: as ``compose_config`` does, or the overrides name another encoder than the bank's.

    Example:
        >>> memory = ntt.fit("references.json", overrides=["preset=demo", "merging.exponent=0.3"])
        >>> config = ntt.build.compose_config_for(memory, ["matching.labels_per_mask=2"])
        >>> config.encoder.name, config.merging.exponent
        ('dinov2_demo', 0.3)
    """
    config = compose_config_on(memory.settings, overrides)
    _check_encoder(memory, config)
    return config


def compose_config_on(earlier: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Return the config of earlier settings, changed by overrides.

    An override of a whole group (``merging=hard``) replaces all that was said of it, ``preset=...`` all settings.

    Args:
        earlier: flat settings of a memory bank or a run.
        overrides: ``key=value``, as of ``compose_config``.

    Raises:
        InputError: as ``compose_config`` does.

    Example:
        >>> ntt.build.compose_config_on({"merging.name": "soft"}, ["merging.exponent=0.3"]).merging.name
        'soft'
    """
    composer = _composer("config")
    said = named_settings(overrides)
    groups = {key.removesuffix(".name") for key in said} & set(composer.grammar.groups)
    known = {setting.key for setting in settings_of(Config())}
    kept = {} if "preset" in said else present_names(earlier)
    kept = {
        key: value
        for key, value in kept.items()
        if key in known and key not in said and key.split(".")[0] not in groups
    }
    config = composer.compose(overrides, shared=[f"{key}={as_typed(value)}" for key, value in kept.items()])
    assert isinstance(config, Config)
    return config


def _check_encoder(memory: MemoryBank, config: Config) -> None:
    """Refuse another encoder before any model is loaded."""
    for key, now in (("encoder.name", config.encoder.name), ("encoder.image_size", config.encoder.image_size)):
        before = memory.settings.get(key, now)
        if before != now:
            raise InputError(
                f"the memory was made with {key}={before}, but this command says {now}: their features cannot be "
                f"compared. Leave the encoder (or the preset) to the memory, or run nttt fit again with {key}={now}."
            )


def compose_bench_config(overrides: Sequence[str] = (), *, shared: Sequence[str] = ()) -> BenchConfig:
    """Return the validated config of ``nttt bench``; ``split=1`` stands for ``benchmark.split=1``.

    Args:
        overrides: as of ``compose_config``.
        shared: further ones, which come first and may stay without effect (as some of a comparison of sources do).

    Raises:
        InputError: as ``compose_config`` does.
    """
    config = _composer("bench").compose(overrides, shared=shared)
    assert isinstance(config, BenchConfig)
    return config


def sweep_bench_configs(overrides: Sequence[str], folder: Path, run: Callable[[BenchConfig, SweepJob], None]) -> None:
    """Call ``run`` with the config of every combination of values; see ``Composer.sweep``."""
    _composer("bench").sweep(overrides, folder, run)


@cache
def _composer(primary: Literal["config", "bench"]) -> Composer:
    """Return what composes the configs of ``nttt bench``, or of all other commands."""
    options = {kind: {s.name: _model_values(s) for s in CATALOG.values() if s.kind == kind} for kind in _MODELS}
    for group in _METHODS:
        options[group] = {name: {"name": name} for name in _choices(getattr(Config(), group))}
    register({"schema": Config, "bench_schema": BenchConfig}, options)
    groups = {
        "preset": _files("preset"),
        "scoring": _files("scoring"),
        **{group: list(values) for group, values in options.items()},
    }
    short_keys = {f.name: f"benchmark.{f.name}" for f in fields(BenchmarkConfig) if f.name != "name"}
    if primary == "bench":
        groups |= {name: _files(name) for name in ("benchmark", "experiment")}
        grammar = Grammar(BenchConfig(), groups, OLD_KEYS, OLD_OVERRIDES, OLD_VALUES, short_keys, further=_FURTHER)
    else:
        elsewhere = _bench_alone(short_keys)
        grammar = Grammar(Config(), groups, OLD_KEYS, OLD_OVERRIDES, OLD_VALUES, elsewhere=elsewhere, further=_FURTHER)
    return Composer(configs_folder(), primary, grammar)


_MODELS = ("encoder", "mask_model")
_METHODS = ("proposals", "matching", "merging")


def _model_values(spec: ModelSpec) -> dict[str, Any]:
    return {"name": spec.name, "image_size": spec.image_size} if spec.kind == "encoder" else {"name": spec.name}


def _register_model(name: str) -> str:
    """Make a network that the catalog does not list an option of its group; return what Hydra calls it."""
    spec = get_spec(name)
    option = quote(name).replace("//", "/%2F")  # a path may have characters that are none of an option's
    register({}, {spec.kind: {option: _model_values(spec)}})
    return option


_FURTHER = {
    "encoder": FurtherOptions(TIMM, f"{TIMM}NAME", _register_model),
    "mask_model": FurtherOptions(HF, f"{HF}HUB_ID_OR_FOLDER", _register_model),
}


def _choices(group: Any) -> tuple[str, ...]:
    return next(s.facts.choices for s in settings_of(group) if s.key == "name") or ()


def _files(group: str) -> list[str]:
    return sorted(path.stem for path in (configs_folder() / group).glob("*.yaml"))


def _bench_alone(short_keys: Mapping[str, str]) -> dict[str, str]:
    """Return a sentence for every setting that only ``nttt bench`` has."""
    own = {s.key for s in settings_of(BenchConfig())} - {s.key for s in settings_of(Config())}
    names = {key: key for key in [*own, "benchmark", "experiment"]} | dict(short_keys)
    return {
        name: "It is a setting of `nttt bench`" + (f" ({full})." if full != name else ".")
        for name, full in names.items()
    }


def load_segmenter(
    *overrides: str,
    encoder: str | None = None,
    mask_model: str | None = None,
    device: str | None = None,
    precision: str | None = None,
    preset: str | None = None,
    features: str | None = None,
) -> Segmenter:
    """Load both frozen models and return a segmenter ready to use.

    Every setting is checked first.

    Args:
        overrides: further ``"key=value"`` settings, e.g. ``"merging=hard"``.
        encoder: feature encoder, a name of ``nttt weights list`` (default ``dinov2_large``), or ``timm/NAME``.
        mask_model: mask model, a name of ``nttt weights list`` (default ``sam2.1_large``), or ``hf/`` and the hub id or
            folder of a promptable model of transformers.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        preset: ``default``, ``paper``, ``fast`` or ``demo``.
        features: earlier name of ``encoder``.

    Raises:
        InputError: as ``compose_config`` does, or both ``encoder`` and ``features`` are given.

    Example:
        >>> segmenter = ntt.load_segmenter(preset="demo", device="cpu")
        >>> segmenter.encoder.model_id
        'dinov2_demo'
    """
    if encoder is not None and features is not None:
        raise InputError("encoder and features are one setting: give encoder alone.")
    named = {
        "preset": preset,
        "encoder": features if encoder is None else encoder,
        "mask_model": mask_model,
        "device": device,
        "precision": precision,
    }
    return build_segmenter(compose_config(with_named(overrides, **named)))


def build_segmenter(config: Config) -> Segmenter:
    """Load both models and put the stages together.

    Example:
        >>> segmenter = ntt.build_segmenter(ntt.compose_config(["preset=demo", "device=cpu"]))
        >>> segmenter.device
        device(type='cpu')
    """
    return assemble_segmenter(as_object(config, Config, "config", "ntt.compose_config"), *load_models(config))


def build_proposer(config: Config) -> Segmenter:
    """Return a segmenter for class-free masks alone; it has an encoder only where something looks at features."""
    from no_time_to_train.models.no_encoder import NoEncoder
    from no_time_to_train.segmenter import Segmenter

    source = build_proposals(config)
    uses_consistency = config.proposals.consistency != "none" or config.scoring.consistency_exponent > 0
    if "features" in source.needs or uses_consistency:
        encoder, mask_model = load_models(config)
        return Segmenter(encoder, mask_model, config, proposals=source)
    mask_model = _load_mask_model(config)
    return Segmenter(NoEncoder(mask_model.device), mask_model, config, proposals=source)


def load_models(config: Config) -> tuple[FeatureEncoder, MaskModel]:
    """Load both frozen models, on the config's device and in its precision."""
    from no_time_to_train.models.loading import load_encoder

    device, dtype = _device_and_dtype(config)
    encoder = load_encoder(
        config.encoder.name,
        weights=config.encoder.weights,
        image_size=config.encoder.image_size,
        device=device,
        dtype=dtype,
        compile=config.encoder.compile,
    )
    return encoder, _load_mask_model(config)


def _load_mask_model(config: Config) -> MaskModel:
    from no_time_to_train.models.loading import load_mask_model

    device, dtype = _device_and_dtype(config)
    return load_mask_model(
        config.mask_model.name,
        weights=config.mask_model.weights,
        device=device,
        dtype=dtype,
        decoder=config.mask_model.decoder,
        prompts_per_batch=config.mask_model.prompts_per_batch,
        add_no_memory_embedding=config.mask_model.add_no_memory_embedding,
        compile=config.mask_model.compile,
    )


def _device_and_dtype(config: Config) -> tuple[torch.device, torch.dtype]:
    from no_time_to_train.models.allocator import keep_freed_memory
    from no_time_to_train.models.precision import resolve_device, resolve_precision

    device = resolve_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    return device, resolve_precision(config.precision, device)


def assemble_segmenter(config: Config, encoder: FeatureEncoder, mask_model: MaskModel) -> Segmenter:
    """Put the stages together around models that are loaded already."""
    from no_time_to_train.segmenter import Segmenter

    return Segmenter(encoder, mask_model, config, proposals=build_proposals(config))


def build_proposals(config: Config) -> ProposalSource:
    """Return the source of candidate masks that ``config.proposals`` describes.

    Raises:
        InputError: as the source does, such as for a file of boxes that cannot be read.
    """
    settings = config.proposals
    sources = tuple(_build_source(settings, name) for name in settings.chosen)
    if settings.name != "union":
        return sources[0]
    from no_time_to_train.proposals.combined import Union

    return Union(sources)


def _build_source(settings: ProposalsConfig, name: str) -> ProposalSource:
    [field] = [field for field in fields(settings) if field.name == name]
    module, class_name = (facts_of(field).component or "").split(":")
    return getattr(importlib.import_module(module), class_name).from_config(getattr(settings, name))
