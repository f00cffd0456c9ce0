"""What every setting means, as text for a terminal and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from no_time_to_train.errors import InputError
from no_time_to_train.settings.suggestions import did_you_mean
from no_time_to_train.settings.walk import Setting, sections_of, settings_of

_NO_RESULT = "Changes no result."


def explain(config: Any, prefix: str = "") -> str:
    """Return a paragraph for each setting whose name is ``prefix`` or begins with it and a dot; all for an empty one.

    Raises:
        InputError: there is no such setting or section.
    """
    chosen = [s for s in settings_of(config) if not prefix or f"{s.key}.".startswith(f"{prefix}.")]
    if not chosen:
        known = [*(s.key for s in sections_of(config) if s.key), *(s.key for s in settings_of(config))]
        raise InputError(f"{prefix}: no such setting or section.{did_you_mean(prefix, known)}")
    return "\n".join(line for setting in chosen for line in _paragraph(setting))


def settings_page(config: Any, introduction: str) -> str:
    """Return the Markdown page of all settings: an introduction, then a table for each section."""
    parts = [introduction]
    for section in sections_of(config):
        own = [s for s in settings_of(config) if s.key.rpartition(".")[0] == section.key]
        if own:
            title = f"`{section.key}`" if section.key else "At the top"
            rows = [_row(setting) for setting in own]
            heading = f"## {title}\n\n{section.help}\n\n| setting | default | may be | meaning |\n|---|---|---|---|"
            parts.append("\n".join([heading, *rows]) + "\n")
    return "\n".join(parts)


def _row(setting: Setting) -> str:
    name = setting.key.rpartition(".")[2]
    return f"| `{name}` | `{_plain(setting.default)}` | {allowed(setting)} | {_meaning(setting)} |"


def _paragraph(setting: Setting) -> Iterator[str]:
    yield f"{setting.key}={_plain(setting.value)}"
    changed = "" if setting.value == setting.default else f" (default {_plain(setting.default)})"
    yield f"    {allowed(setting)}{changed}. {_meaning(setting)}".replace("`", "")
    if setting.unused is not None:
        yield f"    Not in use: {setting.unused}."


def _meaning(setting: Setting) -> str:
    with_ = [f"`{name}={' or '.join(values)}`" for name, values in (setting.facts.when or {}).items()]
    used = [f"Used with {' and '.join(with_)}."] if with_ else []
    return " ".join([setting.facts.help, *used, *([] if setting.facts.affects_results else [_NO_RESULT])])


def allowed(setting: Setting) -> str:
    """Return the values that a setting takes, such as ``whole number from 1 to 1024``."""
    kind = setting.type.split(" ")[0]
    nothing = " or null" if "None" in setting.type else ""
    if setting.facts.choices:
        some = "some of " if kind.startswith("list") else ""
        return some + ", ".join(f"`{choice}`" for choice in setting.facts.choices) + nothing
    if setting.facts.between is None:
        return {"bool": "true or false", "str": "text", "list[str]": "list of texts"}.get(kind, kind) + nothing
    low, high = setting.facts.between
    name = {"int": "whole number", "float": "number", "list[int]": "list of whole numbers"}[kind]
    return name + _range(low, high) + nothing


def _range(low: float, high: float) -> str:
    """Return the limits, without one that nobody comes near."""
    if abs(low) >= 1e9:
        return f" up to {high:g}"
    return f" from {low:g}" if high >= 4096 else f" from {low:g} to {high:g}"


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
