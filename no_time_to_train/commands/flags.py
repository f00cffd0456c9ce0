"""Argparse helpers shared by all commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.errors import Parameter

if TYPE_CHECKING:
    from no_time_to_train.structures import ReferenceSet

OVERRIDES_HELP = "Further settings are key=value after the flags, e.g. merging=hard encoder=dinov2_base"

Run = Callable[[argparse.Namespace], None]
"""Carries a parsed command out."""


class Parser(argparse.ArgumentParser):
    """Parser that takes no abbreviated flags.

    A typo must not become another flag, and new flags must not break old scripts.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)


Verbs = argparse._SubParsersAction  # the type argparse gives no public name


_FLAGS = {
    "categories": ("--classes",),
    "images": ("--ref-images", "--gt-images"),
    "references": ("--refs",),
}
"""Flags that are not named as their parameter is."""


def spell_flag(parameter: Parameter, parser: argparse.ArgumentParser) -> str:
    """Return the command's flag for a parameter that a message names.

    The parameter is returned as it is where the command has no flag for it.
    """
    by_name = f"--{parameter.name.replace('_', '-')}"
    own_flags = parser._option_string_actions
    flag = next((flag for flag in (by_name, *_FLAGS.get(parameter.name, ())) if flag in own_flags), None)
    if flag is None:
        return str(parameter)
    if parameter.value is True:
        return flag
    value = parameter.value
    return f"{flag} {','.join(map(str, value)) if isinstance(value, list | tuple) else value}"


def spell_flags(message: str, parameters: Sequence[Parameter], parser: argparse.ArgumentParser) -> str:
    """Return a message with the command's flags in place of the parameters that it names."""
    for parameter in parameters:
        message = message.replace(str(parameter), spell_flag(parameter, parser))
    return message


def set_verb(parser: argparse.ArgumentParser, run: Run, *, takes_overrides: bool = False) -> None:
    """Make ``run`` what the parser's command does."""
    parser.epilog = OVERRIDES_HELP if takes_overrides else None
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run, subparser=parser, takes_overrides=takes_overrides)


def add_actions(parser: argparse.ArgumentParser) -> Verbs:
    """Give a verb actions, one of which must be named."""
    set_verb(parser, show_choices)
    return parser.add_subparsers(title="actions", metavar="ACTION")


def show_choices(options: argparse.Namespace) -> None:
    """Answer a command that stops short of what it should do: print its help, and end as wrong usage does."""
    parser: argparse.ArgumentParser = options.subparser
    parser.print_help(sys.stderr)
    parser.exit(2, f"\n{parser.prog}: error: name one of the above\n")  # 2: as argparse ends wrong usage


def add_action(
    actions: Verbs, name: str, summary: str, run: Run, *, takes_overrides: bool = False
) -> argparse.ArgumentParser:
    """Add one action of a verb."""
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=summary)
    set_verb(parser, run, takes_overrides=takes_overrides)
    return parser


def add_images_argument(parser: argparse.ArgumentParser) -> None:
    """Add the images, named in any way."""
    parser.add_argument(
        "images",
        type=Path,
        nargs="+",
        metavar="IMAGES",
        help="folders (sub-folders included), image files, or patterns such as 'photos/**/*.jpg'",
    )


def read_images(options: argparse.Namespace) -> list[Path]:
    """Return what names the images, once settings are told from it."""
    settings = [name for name in options.images if _is_setting(name)]
    options.overrides[:0] = map(str, settings)
    images = [name for name in options.images if name not in settings]
    if not images:
        options.subparser.error("name the images: folders, files, or patterns")
    return images


def _is_setting(path: Path) -> bool:
    """Return whether argparse took a setting for a path."""
    return "=" in str(path) and not path.exists()


def add_reference_flags(parser: argparse.ArgumentParser) -> None:
    """Add what says which references, beside their path."""
    parser.add_argument("--ref-images", type=Path, metavar="DIR", help="images of the references (found beside them)")
    parser.add_argument(
        "--ref",
        action="append",
        default=[],
        metavar="IMAGE:CATEGORY:X1,Y1,X2,Y2",
        help="a reference by its box in pixels; may be repeated",
    )
    parser.add_argument("--classes", type=names, metavar="A,B", help="only these categories of the references")
    add_crowds_flag(parser)


def add_crowds_flag(parser: argparse.ArgumentParser) -> None:
    """Add the leave to take crowds as objects."""
    parser.add_argument(
        "--crowds-are-objects",
        action="store_true",
        help="use annotations with iscrowd 1: CVAT and Datumaro mark brush and SAM masks so",
    )


def add_memory_flags(parser: argparse.ArgumentParser) -> None:
    """Add flags for what to look for: references, or a memory file.

    References may be of any kind; ``nttt fit`` makes the file of some.
    """
    parser.add_argument(
        "--refs",
        type=Path,
        metavar="PATH",
        help="references: COCO, YOLO, VOC, LabelMe, Label Studio, CVAT, folders",
    )
    add_reference_flags(parser)
    parser.add_argument("--memory", type=Path, metavar="FILE", help="result of nttt fit, in place of references")


def check_memory_flags(options: argparse.Namespace) -> None:
    """Refuse wrong usage: neither or both of references and a memory."""
    has_references = options.refs is not None or bool(options.ref)
    if has_references and options.memory is not None:
        options.subparser.error("references (--refs, --ref) and --memory are both given: choose one")
    if not has_references and options.memory is None:
        options.subparser.error("give what to look for: --refs, --ref or both, or else --memory")
    if options.classes and options.refs is None:
        options.subparser.error("--classes chooses among --refs, which is not given")


def require_references(options: argparse.Namespace) -> None:
    """Refuse wrong usage: no references by path and none by ``--ref``."""
    if options.refs is not None and _is_setting(options.refs):
        options.overrides.insert(0, str(options.refs))
        options.refs = None
    if options.refs is None and not options.ref:
        options.subparser.error("give the references by a path, by --ref, or by both")
    if options.classes and options.refs is None:
        options.subparser.error("--classes chooses among the references of a path, which is not given")


def read_references(options: argparse.Namespace) -> ReferenceSet:
    """Read the references that the flags and a path name."""
    from no_time_to_train.build import compose_config
    from no_time_to_train.references.loading import inline_references, join_references, load_references

    upright = compose_config(settings(options)).images.upright
    if options.refs is None:
        return inline_references(options.ref, upright=upright)
    references = load_references(
        options.refs,
        options.ref_images,
        categories=options.classes,
        crowds_are_objects=options.crowds_are_objects,
        upright=upright,
    )
    return join_references(references, inline_references(options.ref, upright=upright)) if options.ref else references


def add_min_score_flag(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the threshold: measured, one number, or numbers by category."""
    parser.add_argument(
        "--min-score",
        metavar="S",
        help=f"lowest score {what}: auto (measured on the reference images; default), 0.5, or boat=0.6,bird=0.5",
    )


def add_overwrite_flag(parser: argparse.ArgumentParser) -> None:
    """Add the leave to begin anew."""
    parser.add_argument("--overwrite", action="store_true", help="begin anew where --out holds other results")


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add where and with which models to run."""
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--preset", metavar="P", help=", ".join(presets()))


def presets() -> list[str]:
    """Return the names of all presets, the default first."""
    folder = Path(__file__).parents[1] / "configs" / "preset"
    return sorted((path.stem for path in folder.glob("*.yaml")), key=lambda name: (name != "default", name))


def add_page_flags(parser: argparse.ArgumentParser) -> None:
    """Add where a page is served, and whether it is opened."""
    parser.add_argument("--port", type=positive, metavar="P", help="of the page on 127.0.0.1 (a free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def positive(text: str) -> int:
    """Read a number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def names(text: str) -> tuple[str, ...]:
    """Read names separated by commas."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("must be names separated by commas")
    return names


def settings(options: argparse.Namespace, named: Mapping[str, object] | None = None) -> list[str]:
    """Return flags that stand for settings, and the settings themselves.

    Args:
        options: what was given.
        named: the command's own flags, by the settings that they stand for; None where one was not given.
    """
    flags = {"preset": options.preset, "device": options.device, **(named or {})}
    return [f"{key}={value}" for key, value in flags.items() if value is not None] + options.overrides
