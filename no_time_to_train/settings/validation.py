"""Choices and ranges of every setting, checked once."""

from __future__ import annotations

import math
from typing import TypeVar

from no_time_to_train.errors import InputError
from no_time_to_train.settings.reference import allowed
from no_time_to_train.settings.suggestions import did_you_mean
from no_time_to_train.settings.walk import Setting, sections_of, settings_of

AnyConfig = TypeVar("AnyConfig")


def validate(config: AnyConfig) -> AnyConfig:
    """Check every setting and return the same config.

    A section with a method ``check_settings(key)`` looks at how its settings fit together, where it
    is in use.

    Raises:
        InputError: names the setting, what came and what is allowed.
    """
    for setting in settings_of(config):
        _check_value(setting)
    for section in sections_of(config):
        check = getattr(section.value, "check_settings", None)
        if check is not None and section.is_used:
            check(section.key)
    return config


def _check_value(setting: Setting) -> None:
    items = setting.value if isinstance(setting.value, list) else [setting.value]
    shown = f"[{','.join(map(str, items))}]" if isinstance(setting.value, list) else setting.value
    for item in items:
        if item is None:
            continue
        if setting.facts.choices and item not in setting.facts.choices:
            raise InputError(
                f"{setting.key}={shown} is not a choice. Use one of: {', '.join(setting.facts.choices)}."
                f"{did_you_mean(str(item), setting.facts.choices)}"
            )
        if isinstance(item, float) and not math.isfinite(item):
            raise InputError(f"{setting.key}={shown} must be a finite number.")
        if setting.facts.between is not None:
            low, high = setting.facts.between
            if not isinstance(item, int | float):
                raise InputError(f"{setting.key}={shown} cannot be read. Allowed: {allowed(setting)}.")
            if not low <= item <= high:
                raise InputError(f"{setting.key}={shown} is out of range: it must be between {low:g} and {high:g}.")
