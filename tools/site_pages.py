"""Generate the site's reference pages from the code: the public names and the commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import no_time_to_train
from no_time_to_train.commands import VERBS, build_parser

_API_HEAD = """# Python API

Import the package as `ntt`; every name below is `ntt.NAME`. Names are loaded on first use.
"""
_COMMANDS_HEAD = """# Commands

`nttt COMMAND --help` prints the same. Settings (`key=value`, see [settings](../settings.md)) may follow where it says
so.
"""


def on_files(files, config):  # type: ignore[no-untyped-def]  # mkdocs calls it by name
    """Add the generated pages to those of the docs folder."""
    from mkdocs.structure.files import File

    for name, page in (("api", api_page), ("commands", commands_page)):
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
