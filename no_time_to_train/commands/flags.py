"""What the commands' parsers share: the parser class, verbs, flags, and settings out of flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from no_time_to_train.tasks.memory_source import ReferenceOptions

OVERRIDES_HELP = "Further settings are key=value after the flags, e.g. merging=hard proposals.points_per_side=16"


class Parser(argparse.ArgumentParser):
    """Abbreviated flags are off: a typo must not become another flag, and new flags must not break old scripts."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)


Verbs = argparse._SubParsersAction  # the type argparse gives no public name


def add_verb(
    verbs: Verbs, name: str, summary: str, run: Callable[[argparse.Namespace], None], *, takes_overrides: bool = False
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name, help=summary, description=summary, epilog=OVERRIDES_HELP if takes_overrides else None
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run, subparser=parser, takes_overrides=takes_overrides)
    return parser


def add_reference_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ref-images", type=Path, metavar="DIR", help="images of the references (found beside them)")
    parser.add_argument(
        "--ref",
        action="append",
        default=[],
        metavar="IMAGE:CATEGORY:X1,Y1,X2,Y2",
        help="a reference by its box in pixels; may be repeated",
    )
    parser.add_argument("--classes", type=names, metavar="A,B", help="only these categories of the references")


def add_memory_flags(parser: argparse.ArgumentParser) -> None:
    """What to look for: references of any kind, or the file that ``nttt fit`` made of some."""
    parser.add_argument("--refs", type=Path, metavar="PATH", help="COCO file or folder of references")
    add_reference_flags(parser)
    parser.add_argument("--memory", type=Path, metavar="FILE", help="result of nttt fit, in place of references")


def check_memory_flags(options: argparse.Namespace) -> None:
    """Wrong usage where ``add_memory_flags``' flags do not name one thing to look for."""
    if (options.refs is not None) + bool(options.ref) + (options.memory is not None) != 1:
        options.subparser.error("give what to look for by exactly one of --refs, --ref and --memory")
    if options.classes and options.refs is None:
        options.subparser.error("--classes chooses among --refs, which is not given")


def references(options: argparse.Namespace) -> ReferenceOptions:
    """How the references were named by ``add_reference_flags``' flags and a path."""
    from no_time_to_train.tasks.memory_source import ReferenceOptions

    return ReferenceOptions(options.refs, options.ref_images, tuple(options.ref), options.classes)


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--preset", metavar="P", help="default, paper, fast, demo")


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("must be names separated by commas")
    return names


def settings(options: argparse.Namespace) -> list[str]:
    """Flags that stand for settings, and the settings themselves."""
    flags = {"preset": options.preset, "device": options.device}
    flags["output.draw_min_score"] = getattr(options, "min_score", None)
    return [f"{key}={value}" for key, value in flags.items() if value is not None] + options.overrides
