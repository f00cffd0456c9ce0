"""The command line ``nttt``.

Nothing heavy is imported before a verb runs: ``nttt --help`` answers at once.

Exit codes: 0 ok, 1 bad input, 2 wrong usage, 3 environment (weights, GPU, packages), 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import argparse
import copy
import errno
import importlib
import logging
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from no_time_to_train import __version__
from no_time_to_train.commands.console import LogHandler
from no_time_to_train.commands.flags import OVERRIDES_HELP, Parser, show_choices, spell_flag, spell_flags
from no_time_to_train.errors import (
    NoTimeToTrainError,
    Parameter,
    RunInterrupted,
    Terminated,
    is_out_of_memory,
    missing_package,
)
from no_time_to_train.models.threads import prepare_threads

VERBS = {
    "demo": "run the bundled models on the bundled benchmark: a table and images",
    "label": "label images",
    "review": "correct labeled images in the browser, draw what is missing, label again, export",
    "fit": "turn references into a small memory file",
    "export": "write labeled images as COCO, YOLO, Label Studio, CVAT, LabelMe, VOC ...",
    "serve": "give another program labels while people work in it: Label Studio",
    "refs": "look at references before using them, or draw them",
    "eval": "average precision against ground truth",
    "config": "print every setting of a command line",
    "propose": "class-free masks of images, without references",
    "compare-proposals": "recall, speed and nAP of sources of masks on annotated images (default: the demo benchmark)",
    "track": "masks with identities through a video, from references",
    "bench": "run a benchmark, or sweep over its settings",
    "report": "mean and std of finished runs beside the published numbers",
    "data": "list, get and check the data of the benchmarks",
    "weights": "list, get, verify and convert model weights",
    "doctor": "what this machine has, and what is missing",
}
"""Every verb and its summary. The module of the same name in this folder has its flags, its call and its printing."""

EXIT_BAD_INPUT = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Problems are one message on standard error.

    Args:
        arguments: the command line without the program's name; None: this process's own.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _stoppable():
            return _run(arguments)
    except KeyboardInterrupt as stop:
        return _end(stop, _continuing_command(arguments))
    finally:
        _stops.clear()  # what their tracebacks hold is closed while all modules are still there


def _run(arguments: Sequence[str]) -> int:
    prepare_threads()
    parser = build_parser([argument for argument in arguments if not argument.startswith("-")][:1])
    try:
        options, rest = parser.parse_known_args(arguments)
        options.overrides = _overrides(options.subparser, rest, accepted=options.takes_overrides)
        options.command = _continuing_command(arguments)
        _show_log(logging.DEBUG if options.debug else logging.WARNING, options.subparser)
        options.run(options)
    except SystemExit as finished:  # argparse has printed help, the version or what is wrong
        if _stops:
            raise _stops[0] from finished
        return finished.code if isinstance(finished.code, int) else EXIT_USAGE
    except Exception as error:
        if _stops:
            raise _stops[0] from error  # a library, or an import, made something else of it
        if options.debug:
            traceback.print_exc()
        message, code = _explain(error, options.subparser)
        print(message, file=sys.stderr)
        return code
    return 0


_stops: list[KeyboardInterrupt] = []
"""Ctrl-C and SIGTERM that the present command has received."""


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM, which clusters and containers send, end the command as Ctrl-C does; for the main thread only."""
    _stops.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        _stops.append(Terminated() if number == signal.SIGTERM else KeyboardInterrupt())
        raise _stops[-1]

    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, or the caller's own
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(stop: KeyboardInterrupt, command: Sequence[str]) -> int:
    """Say that the command was stopped, and how it goes on."""
    if isinstance(stop, RunInterrupted):
        print(f"\n{stop}; continue with:\n  {shlex.join(command)}", flush=True)
    print("Interrupted.", file=sys.stderr)
    return getattr(stop, "exit_code", EXIT_INTERRUPTED)


def _show_log(level: int, parser: argparse.ArgumentParser) -> None:
    """Show the package's own messages on standard error; other packages' logging stays as it is."""
    handler = LogHandler()
    handler.setFormatter(_FlagFormatter(parser))
    logger = logging.getLogger("no_time_to_train")
    logger.handlers = [handler]
    logger.setLevel(level)


class _FlagFormatter(logging.Formatter):
    """Formatter that writes messages with a command's flags in place of parameters."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__("%(message)s")
        self._parser = parser

    def format(self, record: logging.LogRecord) -> str:
        spelled = copy.copy(record)
        if isinstance(record.args, tuple):
            spelled.args = tuple(self._spell(arg) for arg in record.args)
        return super().format(spelled)

    def _spell(self, arg: object) -> object:
        return spell_flag(arg, self._parser) if isinstance(arg, Parameter) else arg


def _explain(error: Exception, parser: argparse.ArgumentParser) -> tuple[str, int]:
    """Return what to tell people about an error, and the exit code."""
    if isinstance(error, NoTimeToTrainError):
        return spell_flags(str(error), error.parameters, parser), error.exit_code
    if is_out_of_memory(error):
        return "GPU out of memory. Try encoder.batch_size=1, --preset fast or --device cpu.", EXIT_ENVIRONMENT
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error}. Free some space and run the same command again: it continues.", EXIT_ENVIRONMENT
    if isinstance(error, OSError):
        return str(error), EXIT_BAD_INPUT
    if isinstance(error, ImportError):
        return str(missing_package(error)), EXIT_ENVIRONMENT
    kind = type(error).__name__
    return f"Unexpected problem ({kind}): {error}\nThe same command with --debug shows where.", EXIT_BAD_INPUT


def _overrides(parser: argparse.ArgumentParser, rest: Sequence[str], *, accepted: bool) -> list[str]:
    """Return the ``key=value`` settings among unknown arguments; refuse anything else as wrong usage."""
    for token in rest:
        if token.startswith("-") or "=" not in token or not accepted:
            parser.error(f"unrecognized argument: {token}" + (f" ({OVERRIDES_HELP})" if accepted else ""))
    return list(rest)


def _continuing_command(arguments: Sequence[str]) -> list[str]:
    """Return this command without ``--overwrite``, which would remove what it is to continue."""
    return ["nttt", *(argument for argument in arguments if argument != "--overwrite")]


def build_parser(verbs: Collection[str] = tuple(VERBS)) -> Parser:
    """Return the parser of the command line.

    Args:
        verbs: those whose modules are imported and whose flags are added; the others are listed only.
    """
    parser = Parser(
        prog="nttt",
        description="No Time To Train: a few annotated images in, labeled instance masks out, with no training.",
        epilog=OVERRIDES_HELP,
    )
    parser.add_argument("--version", action="version", version=f"nttt {__version__}")
    parser.set_defaults(run=show_choices, subparser=parser, takes_overrides=False, debug=False)
    parsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for verb, summary in VERBS.items():
        own = parsers.add_parser(verb, help=summary, description=summary)
        if verb in verbs:
            importlib.import_module(f"{__name__}.{verb.replace('-', '_')}").configure(own)
    return parser
