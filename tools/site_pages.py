"""Generate the site's reference pages from the code: the public names, the commands and the settings."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import no_time_to_train
from no_time_to_train.commands import VERBS, build_parser
from no_time_to_train.config import BenchConfig, Config
from no_time_to_train.settings.walk import Setting, sections_of, settings_of

_API_HEAD = """# Python API

Import the package as `ntt`; every name below is `ntt.NAME`. Names are loaded on first use.
"""
_COMMANDS_HEAD = """# Commands

`nttt COMMAND --help` prints the same. Settings (`key=value`, see [settings](settings.md)) may follow where it says so.
"""


def on_files(files, config):  # type: ignore[no-untyped-def]  # mkdocs calls it by name
    """Add the generated pages to those of the docs folder."""
    from mkdocs.structure.files import File

    for name, page in (("api", api_page), ("commands", commands_page), ("settings", settings_page)):
        files.append(File.generated(config, f"reference/{name}.md", content=page()))
    return files


def api_page() -> str:
    """Return Markdown that asks mkdocstrings for every public name."""
    homes = no_time_to_train._HOME
    entries = [f"::: no_time_to_train.{homes[name]}.{name}\n" for name in sorted(homes, key=str.lower)]
    return "\n".join([_API_HEAD, *entries])


def commands_page() -> str:
    """Return usage and flags of every verb."""
    [verbs] = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    sections = (line for verb in VERBS for line in _command(verbs.choices[verb], 2))
    return "\n".join([_COMMANDS_HEAD, *sections])


def _command(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    """Yield one command, and those below it."""
    yield f"{'#' * level} {parser.prog}\n"
    if parser.description:
        yield f"{_sentence(parser.description)}\n"
    usage = parser.format_usage().replace("\n" + " " * len("usage: "), "\n").removeprefix("usage: ")
    yield f"```text\n{usage.rstrip()}\n```\n"
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    below = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    flags = [action for action in actions if action not in below and action.help != argparse.SUPPRESS]
    if flags:
        yield _table(("argument", ""), [(_spelled(flag), flag.help or "") for flag in flags])
    for action in below:
        for one in action.choices.values():
            yield from _command(one, level + 1)


def _spelled(action: argparse.Action) -> str:
    """Return a flag with its value, or the name of a positional argument."""
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    value = "" if action.nargs == 0 else f" {action.metavar or _choices(action) or action.dest.upper()}"
    return f"`{', '.join(action.option_strings)}{value}`"


def _choices(action: argparse.Action) -> str:
    return "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", ")")) else f"{text}."


_SETTINGS_HEAD = """# Settings

Every setting is given as `key=value` behind a command, or as an override in Python. `nttt config` prints the values of
a command line. A setting of a part that is not in use is refused.
"""


def settings_page() -> str:
    """Return every setting with its default, its values and its help, section by section."""
    config = BenchConfig()
    of_labeling = {setting.key for setting in settings_of(Config())}
    rows: dict[str, list[tuple[str, ...]]] = {}
    for setting in settings_of(config):
        section = setting.key.rpartition(".")[0]
        rows.setdefault(section, []).append(
            (f"`{setting.key}`", f"`{_literal(setting.default)}`", _values(setting), setting.facts.help)
        )
    parts = [_SETTINGS_HEAD]
    for section in sections_of(config):
        if section.key not in rows:
            continue
        only_bench = not any(key.startswith(f"{section.key}.") for key in of_labeling) and section.key
        title = section.key or "The run itself"
        parts.append(f"## {title}\n")
        parts.append(f"{_sentence(section.help)}{' For `nttt bench`.' if only_bench else ''}\n" if section.key else "")
        parts.append(_table(("setting", "default", "values", ""), rows[section.key]))
    return "\n".join(parts)


def _literal(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _values(setting: Setting) -> str:
    """Return which values a setting takes."""
    facts = setting.facts
    if facts.choices:
        return ", ".join(f"`{choice}`" for choice in facts.choices)
    kind = setting.type.replace(" | None", "")
    if facts.between:
        return f"{kind}, {between(*facts.between)}"
    return kind


def between(low: float, high: float) -> str:
    """Return a range in words; bounds that only keep out nonsense are left out."""
    if high >= 1 << 16:
        return f"at least {low:g}"
    return f"at most {high:g}" if low <= -1e9 else f"{low:g} to {high:g}"
