"""Config -> objects: the only place that chooses classes. Past this module no Hydra object exists."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.config import BenchConfig, BenchmarkConfig, Config, ProposalsConfig, to_dict, validate
from no_time_to_train.errors import InputError
from no_time_to_train.files.paths import configs_folder
from no_time_to_train.models.catalog import CATALOG, ModelSpec

if TYPE_CHECKING:
    from no_time_to_train.models.interfaces import FeatureEncoder, MaskModel
    from no_time_to_train.proposals.interfaces import ProposalSource
    from no_time_to_train.segmenter import Segmenter

_HYDRA_ERRORS = "HYDRA_FULL_ERROR"


def compose_config(overrides: Sequence[str] = ()) -> Config:
    """The validated config of a command line's ``key=value`` overrides.

    Raises:
        InputError: an unknown key or option, a value of the wrong type or out of range; the message names the key.

    Example:
        >>> ntt.compose_config(["preset=fast", "merging.exponent=0.3"]).merging.exponent
        0.3
    """
    return _compose("config", overrides)


def compose_bench_config(overrides: Sequence[str] = ()) -> BenchConfig:
    """The same for ``nttt bench``; also ``split=1`` for ``benchmark.split=1``, and ``experiment=NAME``."""
    config = _compose("bench", [qualify_benchmark_override(override) for override in overrides])
    assert isinstance(config, BenchConfig)
    return config


def qualify_benchmark_override(override: str) -> str:
    """``split=1`` -> ``benchmark.split=1`` for the settings of a benchmark, anything else unchanged."""
    key = override.split("=", 1)[0]
    names = {f.name for f in fields(BenchmarkConfig)} - {"name"}
    return f"benchmark.{override}" if key in names else override


def sweep_bench_configs(overrides: Sequence[str], folder: Path, run: Callable[[BenchConfig, BenchJob], None]) -> None:
    """Call ``run`` with the config of every combination of values, by Hydra's sweeper and launcher.

    The launcher of ``hydra/launcher`` decides where: here one after another, or in other processes and on other
    machines, to which ``run`` is sent.

    Args:
        overrides: as of ``compose_bench_config``; some have several values, ``shots=1,10`` or ``seed=range(0,5)``.
        folder: each job has a folder of its own below.
        run: what to do.

    Raises:
        InputError: as ``compose_bench_config`` does, before the first job.
        Exception: what the first failing ``run`` raised, after all of them.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    @hydra.main(version_base="1.3", config_path=str(configs_folder()), config_name="bench")
    def run_job(composed: DictConfig) -> None:
        config = OmegaConf.to_object(composed)
        assert isinstance(config, BenchConfig)
        settings = HydraConfig.get()
        run(validate(config), BenchJob(Path(settings.runtime.output_dir), tuple(settings.overrides.task)))

    _register_options()
    GlobalHydra.instance().clear()
    qualified = [qualify_benchmark_override(override) for override in overrides]
    arguments, show_errors = sys.argv, os.environ.get(_HYDRA_ERRORS)
    sys.argv = [arguments[0], "--multirun", *qualified, f"hydra.sweep.dir='{folder.as_posix()}'"]
    os.environ[_HYDRA_ERRORS] = "1"  # errors come through as exceptions: nothing is printed, nothing exits
    try:
        run_job()
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_readable_override_error(error, overrides, BenchConfig())) from error
    finally:
        sys.argv = arguments
        os.environ.pop(_HYDRA_ERRORS)
        os.environ |= {} if show_errors is None else {_HYDRA_ERRORS: show_errors}


@dataclass(frozen=True)
class BenchJob:
    """One job of a sweep.

    Attributes:
        folder: its own.
        overrides: its settings on the command line, each with one value.
    """

    folder: Path
    overrides: tuple[str, ...]


def _compose(primary: str, overrides: Sequence[str]) -> Config:
    """The validated config that the primary YAML of this name gives with the overrides.

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
            composed = compose(config_name=primary, overrides=list(overrides))
            config = OmegaConf.to_object(composed)
    except (HydraException, OmegaConfBaseException) as error:
        schema = BenchConfig() if primary == "bench" else Config()
        raise InputError(_readable_override_error(error, overrides, schema)) from error
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
        >>> segmenter = ntt.load_segmenter(preset="demo", device="cpu")
        >>> segmenter.encoder.model_id
        'dinov2_demo'
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
    """Load both models and put the stages together.

    Example:
        >>> segmenter = ntt.build_segmenter(ntt.compose_config(["preset=demo", "device=cpu"]))
        >>> segmenter.device
        device(type='cpu')
    """
    return assemble_segmenter(config, *load_models(config))


def load_models(config: Config) -> tuple[FeatureEncoder, MaskModel]:
    """Both frozen models, on the device and in the precision of the config."""
    from no_time_to_train.models.allocator import keep_freed_memory
    from no_time_to_train.models.dino.encoder import load_dino
    from no_time_to_train.models.precision import resolve_device, resolve_precision
    from no_time_to_train.models.sam2.model import load_sam2

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
        add_no_memory_embedding=config.mask_model.add_no_memory_embedding,
        compile=config.mask_model.compile,
    )
    return encoder, mask_model


def assemble_segmenter(config: Config, encoder: FeatureEncoder, mask_model: MaskModel) -> Segmenter:
    """The stages put together around models that are loaded already."""
    from no_time_to_train.segmenter import Segmenter

    return Segmenter(encoder, mask_model, config, proposals=build_proposals(config))


def build_proposals(config: Config) -> ProposalSource:
    """The source of candidate masks that ``config.proposals`` describes.

    Raises:
        InputError: ``union`` of no source, of an unknown one or of itself; ``boxes`` without boxes.
    """
    settings = config.proposals
    if settings.name == "union":
        from no_time_to_train.proposals.combined import Union

        names = settings.sources
        unknown = [name for name in names if name not in _SOURCES]
        if unknown or not names:
            came = f"[{','.join(names)}]"
            raise InputError(
                f"proposals.sources={came}: proposals=union puts sources together; name some of "
                f"{', '.join(_SOURCES)}, e.g. proposals.sources=[point_grid,semantic_clusters]."
            )
        return Union(tuple(_build_source(name, settings) for name in names))
    return _build_source(settings.name, settings)


def _build_source(name: str, settings: ProposalsConfig) -> ProposalSource:
    module, class_name = _SOURCES[name]
    source = getattr(importlib.import_module(f"no_time_to_train.proposals.{module}"), class_name)
    return source.from_config(settings)


_SOURCES = {
    "point_grid": ("point_grid", "PointGrid"),
    "semantic_clusters": ("semantic_clusters", "SemanticClusters"),
    "automatic_masks": ("automatic_masks", "AutomaticMasks"),
    "boxes": ("boxes", "BoxProposals"),
}
"""Module and class below ``proposals``; every class has ``from_config(ProposalsConfig)``."""


def config_hash(config: Config) -> str:
    """12 hex digits that change with every setting that can change a result.

    The device, the decoder (same numbers) and batch sizes are left out, so that a folder begun on one machine can be
    continued on another.
    """
    return hashlib.sha256(json.dumps(result_settings(config), sort_keys=True).encode()).hexdigest()[:12]


def result_settings(config: Config) -> dict[str, Any]:
    """The settings that can change a result, nested."""
    from no_time_to_train.proposals.cache import proposals_identity

    settings = to_dict(config)
    settings["proposals"] = proposals_identity(config)
    settings.pop("device")
    for section, keys in {
        "features": ("batch_size", "compile"),
        "mask_model": ("decoder", "prompts_per_batch", "compile"),
        "output": ("draw_min_score",),
    }.items():
        for key in keys:
            settings[section].pop(key)
    return settings


def _register_options() -> None:
    """Tell Hydra the schema, and one option per model of the catalogue (values, not files)."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(name="bench_schema", node=BenchConfig)
    for spec in CATALOG.values():
        store.store(group=spec.kind, name=spec.name, node=_option(spec))


def _option(spec: ModelSpec) -> dict[str, Any]:
    if spec.kind == "features":
        return {"name": spec.name, "image_size": spec.image_size}
    return {"name": spec.name}


def _readable_override_error(error: Exception, overrides: Sequence[str], schema: Config) -> str:
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
        return f"{key}: no such setting.{_did_you_mean(key, _all_keys(schema))}"
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
