"""Hydra composes: YAML files, options and overrides onto typed dataclasses. Past this module no Hydra object exists."""

from __future__ import annotations

import copy
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from no_time_to_train.errors import InputError
from no_time_to_train.settings.overrides import Grammar, as_settings
from no_time_to_train.settings.reference import allowed
from no_time_to_train.settings.validation import validate

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
        """Call ``run`` with the config of every combination of values.

        They follow one another in this process. Where a launcher or a sweeper of Hydra's is named (``hydra/launcher=``)
        it decides: then ``run`` is sent to other processes or machines.

        Args:
            overrides: some have several values, ``shots=1,10`` or ``seed=range(0,5)``.
            folder: each job has a folder of its own below.
            run: what to do.

        Raises:
            InputError: as ``compose`` does, before the first job.
            Exception: what the first failing ``run`` raised, after all of them.
        """
        own = [text for text in overrides if not text.startswith(self.grammar.sweeper_keys)]
        checked = [] if self.grammar.sweeps_choices(own) else own
        if len(own) < len(overrides):
            self._sweep_by_hydra(overrides, checked, folder, run)
        else:
            self._sweep_here(overrides, checked, folder, run)

    def _sweep_here(
        self, overrides: Sequence[str], checked: Sequence[str], folder: Path, run: Callable[[Any, SweepJob], None]
    ) -> None:
        """Compose all configs, of which most differ in values only, then carry out one job after the other."""
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        try:
            combinations = _combinations(self, overrides)
            configs = [_with_values(self, combination) for combination in combinations]
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(_readable(error, overrides, self.grammar)) from error
        for config in configs:
            self.grammar.refuse_unused(validate(config), checked)
        errors: list[Exception] = []
        for number, (config, combination) in enumerate(zip(configs, combinations, strict=True)):
            job = SweepJob(folder / str(number), _as_typed_once(combination))
            job.folder.mkdir(parents=True, exist_ok=True)
            try:
                run(config, job)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _sweep_by_hydra(
        self, overrides: Sequence[str], checked: Sequence[str], folder: Path, run: Callable[[Any, SweepJob], None]
    ) -> None:
        """Let Hydra's sweeper and launcher do it."""
        import hydra
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.hydra_config import HydraConfig
        from hydra.errors import HydraException
        from omegaconf import DictConfig, OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        grammar = self.grammar

        @hydra.main(version_base="1.3", config_path=str(self.folder), config_name=self.primary)
        def run_job(composed: DictConfig) -> None:
            config = validate(OmegaConf.to_object(composed))
            grammar.refuse_unused(config, checked)
            settings = HydraConfig.get()
            run(config, SweepJob(Path(settings.runtime.output_dir), _as_typed_once(settings.overrides.task)))

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


def _as_typed_once(overrides: Iterable[str]) -> tuple[str, ...]:
    """Leave out what the grammar adds where one setting stands for several (``a=${b}``)."""
    return tuple(text for text in overrides if not re.fullmatch(r"[\w.]+=\$\\?\{[\w.]+\\?\}", text))


@cache
def _composed(composer: Composer, overrides: tuple[str, ...], shared: tuple[str, ...]) -> Any:
    """Compose once in a process: a command may ask for the same config again."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    given = composer.grammar.read([*shared, *overrides])
    try:
        config = _with_values(composer, given)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_readable(error, [*shared, *overrides], composer.grammar)) from error
    validate(config)
    composer.grammar.refuse_unused(config, overrides)
    return config


def _with_values(composer: Composer, given: Sequence[str]) -> Any:
    """Return the config, not validated, that overrides in Hydra's grammar give.

    As in Hydra options come first, then the values in their order. But the files are composed once for all overrides
    with the same options, which takes a fifth of a second.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    options = tuple(text for text in given if text.partition("=")[0] in composer.grammar.groups)
    composed = copy.deepcopy(_composed_options(composer, options))
    try:
        for override in OverridesParser.create().parse_overrides([text for text in given if text not in options]):
            if override.is_sweep_override():
                raise HydraException(f"{override.input_line} has several values")
            OmegaConf.update(composed, override.key_or_group, override.value(), merge=True)
        return OmegaConf.to_object(composed)
    except (HydraException, OmegaConfBaseException):  # Hydra says more clearly which override it is
        return OmegaConf.to_object(_by_hydra(composer, given))


@cache
def _composed_options(composer: Composer, options: tuple[str, ...]) -> Any:
    return _by_hydra(composer, options)


def _by_hydra(composer: Composer, given: Sequence[str]) -> Any:
    from hydra import compose

    with _initialized(composer):
        return compose(config_name=composer.primary, overrides=list(given))


def _combinations(composer: Composer, overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return every combination of values in Hydra's grammar, in the order of its own sweeper: the last setting first.

    Raises:
        InputError: an interval, which has no single values.
        HydraException: something cannot be read.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    values: dict[str, list[str]] = {}
    with _initialized(composer):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        for override in parser.parse_overrides(composer.grammar.read(overrides, sweep=True)):
            key = override.get_key_element()
            if override.is_interval_sweep():
                raise InputError(f"{override.input_line}: an interval has no single values. Use {key}=range(...).")
            swept = override.is_sweep_override()
            found = override.sweep_string_iterator() if swept else [override.get_value_element_as_str()]
            values[key] = [f"{key}={value}" for value in found]
    return list(itertools.product(*values.values()))


@contextmanager
def _initialized(composer: Composer) -> Iterator[None]:
    """Let Hydra know the YAML files."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()  # `import sam2` initializes Hydra globally; composing must not depend on it
    with initialize_config_dir(config_dir=str(composer.folder), version_base="1.3"):
        yield


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
    named = grammar.keys([override])
    setting = next((setting for key, setting in grammar.settings.items() if key in named), None)
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
