"""The one walk through all settings of a config: names, values, facts, and whether each is in use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from no_time_to_train.files.hashes import sha256_of_file
from no_time_to_train.settings.fields import Facts, Scope, description, facts_of

Config = TypeVar("Config")

_METHOD: tuple[Scope, ...] = ("method",)


@dataclass(frozen=True)
class Setting:
    """One setting of a config.

    Attributes:
        key: dotted name.
        value: present value.
        default: value where nothing is said.
        type: as written beside the field.
        facts: of the field; ``affects_results`` and ``scope`` are those of its sections where these say more.
        unused: why the setting is not in use; None where it is.
    """

    key: str
    value: Any
    default: Any
    type: str
    facts: Facts
    unused: str | None = None


@dataclass(frozen=True)
class Section:
    """One section of a config.

    Attributes:
        key: dotted name; empty for the config itself.
        value: the dataclass.
        help: what the section is about.
        is_used: whether its settings are in use.
    """

    key: str
    value: Any
    help: str
    is_used: bool = True


def settings_of(config: Any) -> Iterator[Setting]:
    """Yield every setting of a config, in order.

    Example:
        >>> [s.key for s in settings_of(Config()) if s.key.startswith("output.")]  # doctest: +SKIP
        ['output.min_score', 'output.draw_min_score', 'output.box_convention']
    """
    for found in _walk(config):
        if isinstance(found, Setting):
            yield found


def sections_of(config: Any) -> Iterator[Section]:
    """Yield the config itself and every section below it, in order."""
    yield Section("", config, description(type(config)))
    for found in _walk(config):
        if isinstance(found, Section):
            yield found


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config as a nested dict of plain values."""
    return {f.name: to_dict(value) if is_dataclass(value := getattr(config, f.name)) else value for f in fields(config)}


def result_settings(config: Any, scopes: Collection[Scope] = _METHOD) -> dict[str, Any]:
    """Return the settings that can change a result, by dotted name; those that are not in use are left out.

    Args:
        config: any.
        scopes: what the result is of.
    """
    return {
        s.key: contents(s.value) if s.facts.is_file else s.value
        for s in settings_of(config)
        if s.facts.affects_results and s.unused is None and (s.facts.scope or "method") in scopes
    }


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Set settings by their dotted names and return the same config; unknown names are left out."""
    for key in {setting.key for setting in settings_of(config)} & set(values):
        *sections, name = key.split(".")
        setattr(reduce(getattr, sections, config), name, values[key])
    return config


def contents(name: str | None) -> str | dict[str, str] | None:
    """Return the SHA-256 of a file, or of every file of a folder; anything else (a hub id) as it is."""
    if name is None or not Path(name).exists():
        return name
    path = Path(name)
    if path.is_file():
        return sha256_of_file(path)
    return {file.relative_to(path).as_posix(): sha256_of_file(file) for file in path.rglob("*") if file.is_file()}


_NOTHING_SAID = Facts("")


def _walk(config: Any, prefix: str = "", above: Facts = _NOTHING_SAID, unused: str | None = None) -> Iterator[Any]:
    defaults = type(config)()
    for field in fields(config):
        own = facts_of(field)
        facts = replace(
            own, affects_results=own.affects_results and above.affects_results, scope=own.scope or above.scope
        )
        key, value = f"{prefix}{field.name}", getattr(config, field.name)
        reason = unused or _reason_unused(config, prefix, key, facts)
        if is_dataclass(value):
            yield Section(key, value, facts.help, reason is None)
            yield from _walk(value, f"{key}.", facts, reason)
        else:
            yield Setting(key, value, getattr(defaults, field.name), str(field.type), facts, reason)


def _reason_unused(config: Any, prefix: str, key: str, facts: Facts) -> str | None:
    group = prefix.rstrip(".")
    if facts.one_of is not None:
        own_name = key.removeprefix(prefix)
        chosen = _values(config, facts.one_of)
        return None if own_name in chosen else f"it is used with {group}={own_name}, and here is {group}={config.name}"
    for name, wanted in (facts.when or {}).items():
        values = _values(config, name)
        if not set(values) & set(wanted):
            # `merging=hard` is what people write for `merging.name=hard`.
            shown = group if name == "name" else f"{prefix}{name}"
            return f"it is used with {shown}={' or '.join(wanted)}, and here is {shown}={'+'.join(values)}"
    return None


def _values(config: Any, name: str) -> list[str]:
    value = getattr(config, name)
    if isinstance(value, bool):
        return [str(value).lower()]
    return [value] if isinstance(value, str) else list(value)
