"""``key=value`` as people type it -> what Hydra's grammar reads the same way; what is no setting is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from no_time_to_train.errors import InputError
from no_time_to_train.files.arguments import as_texts
from no_time_to_train.settings.suggestions import did_you_mean
from no_time_to_train.settings.walk import Setting, settings_of

_PLAIN = re.compile(r"(?-i:null)|(?!(?:true|false|nan|inf|null)$)[a-z_/][\w./:@%+-]*", re.ASCII | re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_SWEEP = re.compile(r"(?:range|choice|interval|glob|shuffle|sort|tag)\(.*\)")
_OPENING, _CLOSING = "([{", ")]}"


def as_settings(texts: object) -> Sequence[str]:
    """Return overrides as callers give them; raise InputError where they are no list of text."""
    return as_texts(texts, "settings", "merging=hard")


def with_named(overrides: object, **named: str | None) -> list[str]:
    """Put settings that have an argument of their own before the others, which win.

    Raises:
        InputError: the overrides are no list of text.

    Example:
        >>> from no_time_to_train.settings.overrides import with_named
        >>> with_named(["merging=hard"], preset="fast", device=None)
        ['preset=fast', 'merging=hard']
    """
    return [*(f"{key}={value}" for key, value in named.items() if value is not None), *as_settings(overrides)]


@dataclass(frozen=True)
class Override:
    """One ``key=value``.

    Attributes:
        key: dotted name of a setting, or the name of a group.
        value: as typed.
        typed: the whole as typed, for messages.
    """

    key: str
    value: str
    typed: str


@dataclass(frozen=True)
class FurtherOptions:
    """Options of a group that no list can hold.

    Attributes:
        prefix: how they begin.
        shown: how they look, for messages.
        register: tells Hydra one of them and returns what it is called there; raises InputError where there is none.
    """

    prefix: str
    shown: str
    register: Callable[[str], str]


@dataclass(frozen=True)
class Grammar:
    """What may be set.

    Attributes:
        schema: config with the defaults.
        groups: options of every group by its name.
        old_keys: names that settings had before, with those they have now.
        old_overrides: whole ``key=value`` that have become others.
        old_values: options that had another name before, by setting.
        short_keys: names that stand for longer ones.
        elsewhere: settings of other commands, each with a sentence that says so.
        further: options of a group besides its list.
        sweeper_keys: what a sweep may set of Hydra's own.
    """

    schema: Any
    groups: Mapping[str, Sequence[str]]
    old_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    old_overrides: Mapping[str, str] = field(default_factory=dict)
    old_values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    short_keys: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    further: Mapping[str, FurtherOptions] = field(default_factory=dict)
    sweeper_keys: tuple[str, ...] = ("hydra/launcher", "hydra/sweeper", "hydra.launcher.", "hydra.sweeper.")

    @cached_property
    def settings(self) -> Mapping[str, Setting]:
        """Return every setting of the schema by its name."""
        return {setting.key: setting for setting in settings_of(self.schema)}

    def read(self, texts: Sequence[str], *, sweep: bool = False) -> list[str]:
        """Return the overrides in Hydra's grammar.

        Args:
            texts: as typed, each ``key=value``.
            sweep: whether commas outside of brackets separate values to try.

        Raises:
            InputError: no such setting or option, or something that is no setting at all.
        """
        found: list[str] = []
        for override in map(self._parse, as_settings(texts)):
            if sweep and override.key.startswith(self.sweeper_keys):
                found.append(override.typed)
                continue
            first, *others = self.targets(override)
            found.append(f"{first}={self._value(override, first, sweep)}")
            found += [f"{other}=${{{first}}}" for other in others]
        return found

    def targets(self, override: Override) -> tuple[str, ...]:
        """Return the settings, or the group, that an override is about, under their present names.

        Raises:
            InputError: there is none.
        """
        key = override.key
        targets = self.old_keys.get(self.short_keys.get(key, key)) or (self.short_keys.get(key, key),)
        if not all(target in self.groups or target in self.settings for target in targets):
            raise InputError(f"{key}: no such setting.{self._advice(key, [*self.groups, *self.settings])}")
        return targets

    def keys(self, texts: Sequence[str]) -> set[str]:
        """Return the settings and groups that overrides name, under their present names."""
        return {target for override in map(self._parse, as_settings(texts)) for target in self.targets(override)}

    def _parse(self, text: str) -> Override:
        return parse(self.old_overrides.get(text, text))

    def _advice(self, key: str, known: Sequence[str]) -> str:
        if key in self.elsewhere:
            return f" {self.elsewhere[key]}"
        below = [name for name in known if name.startswith(f"{key}.")]
        if below:
            return f" It is a section, e.g. {below[0]}=..."
        return did_you_mean(key, [*known, *self.short_keys]) or did_you_mean(key, self.old_keys)

    def _value(self, override: Override, target: str, sweep: bool) -> str:
        is_swept = sweep and _SWEEP.fullmatch(override.value)
        values = split(override.value) if sweep and not is_swept else [override.value]
        renamed = self.old_values.get(target, {})
        values = [renamed.get(value, value) for value in values]
        if target in self.groups and not is_swept:
            return ",".join(self._option(override.key, target, value) for value in values)
        setting = self.settings.get(target)
        if setting is None or is_swept:
            return override.value
        return ",".join(_quoted(value, setting, can_sweep=sweep) for value in values)

    def _option(self, key: str, group: str, value: str) -> str:
        """Return what Hydra calls an option.

        Raises:
            InputError: there is none of that name.
        """
        options, further = self.groups[group], self.further.get(group)
        if value in options:
            return value
        if further is not None and value.startswith(further.prefix):
            return further.register(value)
        known = ", ".join([*options, further.shown] if further else options)
        hint = " Several values need `nttt bench -m`." if "," in value else did_you_mean(value, options)
        raise InputError(f"{key}={value}: no such option. Known: {known}.{hint}")

    def refuse_unused(self, config: Any, texts: Sequence[str]) -> None:
        """Refuse settings that the rest of the config leaves without any effect.

        Raises:
            InputError: names the setting, and with what it would be used.
        """
        unused = {setting.key: setting.unused for setting in settings_of(config)}
        for override in (self._parse(text) for text in texts):
            reasons = [unused.get(target) for target in self.targets(override)]
            if all(reasons):
                raise InputError(f"{override.typed} would change nothing: {reasons[0]}.")

    def sweeps_choices(self, texts: Sequence[str]) -> bool:
        """Return whether a sweep tries several options or names, so that one run may use what another does not."""
        swept = [o.key for o in (parse(text) for text in texts) if len(split(o.value)) > 1 or _SWEEP.fullmatch(o.value)]
        return any(key in self.groups or key in self.old_keys or key.endswith(".name") for key in swept)


def parse(text: str) -> Override:
    """Read one ``key=value``.

    Raises:
        InputError: it adds or removes something, or changes what is no setting.

    Example:
        >>> parse("benchmark.images=a=b/c").value
        'a=b/c'
    """
    key, equals, value = text.partition("=")
    if key.startswith(("+", "~")):
        raise InputError(f"{text}: settings cannot be added or removed, only changed: write {key.lstrip('+~')}=VALUE.")
    if not equals:
        raise InputError(f"{text}: a setting is key=value.")
    if "@" in key or re.search(r"(^|\.)_\w+_$", key):
        raise InputError(f"{text}: this is Hydra's own and cannot be set here; settings are key=value.")
    if re.match(r"hydra\b", key) and not key.startswith(
        ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper")
    ):
        raise InputError(
            f"{text}: Hydra's own folders and logs are not used, so nothing of `hydra.` can be set. Where results "
            "go is said by the command, and for nttt bench by runs=DIR."
        )
    return Override(key, value, text)


def as_typed(value: object) -> str:
    """Return a value as people type it in an override.

    Example:
        >>> as_typed(None), as_typed(True), as_typed(["a", "b"]), as_typed(0.5)
        ('null', 'true', '[a,b]', '0.5')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{','.join(map(as_typed, value))}]" if isinstance(value, list | tuple) else str(value)


def split(text: str) -> list[str]:
    """Split at commas that stand in no bracket and no quotes.

    Example:
        >>> split("[boat,bird],[ship],'a,b'")
        ['[boat,bird]', '[ship]', "'a,b'"]
    """
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            depth += (character in _OPENING) - (character in _CLOSING)
        if character == "," and depth <= 0 and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _quoted(value: str, setting: Setting, *, can_sweep: bool) -> str:
    """Put a value of text into quotes where Hydra would read it otherwise than it was typed."""
    if setting.type.startswith("list[str]") and value.startswith("[") and value.endswith("]"):
        items = [_quote(item.strip()) for item in split(value[1:-1])] if value[1:-1].strip() else []
        return f"[{','.join(items)}]"
    is_list = value.startswith("[")
    if "," in value and not can_sweep and not is_list and (setting.facts.choices or not setting.type.startswith("str")):
        raise InputError(f"{setting.key}={value}: one value is expected. Several need `nttt bench -m`.")
    return _quote(value) if setting.type.startswith("str") else value


def _quote(value: str) -> str:
    if _PLAIN.fullmatch(value) or _QUOTED.fullmatch(value):
        return value
    escaped = re.sub(r"(\\*)(?='|$)", lambda found: found.group(1) * 2, value).replace("'", "\\'")
    return f"'{escaped}'"
