"""Hydra composes: YAML files, options and overrides onto typed dataclasses. Past this module no Hydra object exists."""

from __future__ import annotations

import copy
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from no_time_to_train.errors import InputError
from no_time_to_train.settings.overrides import Grammar, as_settings
from no_time_to_train.settings.reference import allowed
from no_time_to_train.settings.validation import validate
from no_time_to_train.settings.walk import settings_of

_HYDRA_ERRORS = "HYDRA_FULL_ERROR"


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep.

    Attributes:
        folder: its own.
        overrides: its settings on the command line, each with one value.
    """

    folder: Path
    overrides: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Composer:
    """Makes the validated configs of one command.

    Attributes:
        folder: holds the YAML files.
        primary: the YAML file to begin with.
        grammar: what may be set.
    """

    folder: Path
    primary: str
    grammar: Grammar

    def compose(self, overrides: Sequence[str], *, shared: Sequence[str] = ()) -> Any:
        """Return the config that overrides give.

        Args:
            overrides: ``key=value``; each must have an effect.
            shared: further ones, which come first and may stay without effect.

        Raises:
            InputError: an unknown setting or option, a value of the wrong type or out of range, or a setting without
                effect; the message names it.
        """
        given = tuple(as_settings(overrides))
        return copy.deepcopy(_composed(self, given, tuple(shared)))

    def sweep(self, overrides: Sequence[str], folder: Path, run: Callable[[Any, SweepJob], None]) -> None:
        """Call ``run`` with the config of every combination of values, by Hydra's sweeper and launcher.

        The launcher of ``hydra/launcher`` decides where: here one after another, or in other processes and on other
        machines, to which ``run`` is sent.

        Args:
            overrides: some have several values, ``shots=1,10`` or ``seed=range(0,5)``.
            folder: each job has a folder of its own below.
            run: what to do.

        Raises:
            InputError: as ``compose`` does, before the first job.
            Exception: what the first failing ``run`` raised, after all of them.
        """
        import hydra
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.hydra_config import HydraConfig
        from hydra.errors import HydraException
        from omegaconf import DictConfig, OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        grammar = self.grammar
        own = [text for text in overrides if not text.startswith(grammar.sweeper_keys)]
        checked = [] if grammar.sweeps_choices(own) else own

        @hydra.main(version_base="1.3", config_path=str(self.folder), config_name=self.primary)
        def run_job(composed: DictConfig) -> None:
            config = validate(OmegaConf.to_object(composed))
            grammar.refuse_unused(config, checked)
            settings = HydraConfig.get()
            task = [text for text in settings.overrides.task if not re.fullmatch(r"[\w.]+=\$\{[\w.]+\}", text)]
            run(config, SweepJob(Path(settings.runtime.output_dir), tuple(task)))

        given = grammar.read(overrides, sweep=True)
        GlobalHydra.instance().clear()
        arguments, show_errors = sys.argv, os.environ.get(_HYDRA_ERRORS)
        sys.argv = [arguments[0], "--multirun", *given, f"hydra.sweep.dir='{folder.as_posix()}'"]
        os.environ[_HYDRA_ERRORS] = "1"  # errors come through as exceptions: nothing is printed, nothing exits
        try:
            run_job()
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(_readable(error, overrides, grammar)) from error
        finally:
            sys.argv = arguments
            os.environ.pop(_HYDRA_ERRORS)
            os.environ |= {} if show_errors is None else {_HYDRA_ERRORS: show_errors}


@cache
def _composed(composer: Composer, overrides: tuple[str, ...], shared: tuple[str, ...]) -> Any:
    """Compose once in a process: it takes a sixth of a second, and a command may ask for the same config again."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    given = composer.grammar.read([*shared, *overrides])
    GlobalHydra.instance().clear()  # `import sam2` initializes Hydra globally; composing must not depend on it
    try:
        with initialize_config_dir(config_dir=str(composer.folder), version_base="1.3"):
            config = OmegaConf.to_object(compose(config_name=composer.primary, overrides=given))
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_readable(error, [*shared, *overrides], composer.grammar)) from error
    validate(config)
    composer.grammar.refuse_unused(config, overrides)
    return config


def register(schemas: Mapping[str, type], options: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Tell Hydra the schemas by name, and the values that each option of a group stands for."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for name, schema in schemas.items():
        store.store(name=name, node=schema)
    for group, values in options.items():
        for name, node in values.items():
            path, _, last = f"{group}/{name}".rpartition("/")
            store.store(group=path, name=last, node=dict(node))


def _readable(error: Exception, overrides: Sequence[str], grammar: Grammar) -> str:
    """Return one sentence out of Hydra's and OmegaConf's, with the override that it is about."""
    text = str(error.__cause__ or error) if "Error merging override" in str(error) else str(error)
    first_line = text.strip().splitlines()[0]
    own = [override for override in overrides if not override.startswith(grammar.sweeper_keys)]
    override = next((o for o in own if not _has_form(o, grammar)), None) or _named_in(f"{error} {text}", own, grammar)
    if override is None:
        return first_line
    setting = next((s for s in settings_of(grammar.schema) if s.key in grammar.keys([override])), None)
    if setting is None or setting.type.startswith("str") or "nterpolation" in text:
        return f"{override}: {first_line}"
    return f"{override} cannot be read. Allowed: {allowed(setting)}.".replace("`", "")


def _has_form(override: str, grammar: Grammar) -> bool:
    """Return whether Hydra's parser, whose errors name nothing, reads an override."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_overrides(grammar.read([override], sweep=True))
    except HydraException:
        return False
    return True


def _named_in(text: str, overrides: Sequence[str], grammar: Grammar) -> str | None:
    """Return the override whose name stands in a text; the longest, as ``proposals`` is a part of others."""
    named = [
        (len(name), override)
        for override in overrides
        for key in [override.split("=", 1)[0]]
        for name in (key, *grammar.old_keys.get(key, ()), grammar.short_keys.get(key, key))
        if name in text
    ]
    return max(named)[1] if named else None
