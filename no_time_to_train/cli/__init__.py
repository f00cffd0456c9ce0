"""The command line ``nttt``. Nothing heavy is imported before a verb runs: ``nttt --help`` answers at once.

Exit codes: 0 ok, 1 bad input, 2 wrong usage, 3 environment (weights, GPU, packages), 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from no_time_to_train import __version__

EXIT_BAD_INPUT = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_INTERRUPTED = 130

_OVERRIDES_HELP = "Further settings are key=value after the flags, e.g. merging=hard proposals.points_per_side=16"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Problems are one message on standard error.

    Args:
        arguments: the command line without the program's name; None: this process's own.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options, rest = _parser().parse_known_args(arguments)
        options.overrides = _overrides(options.subparser, rest, accepted=options.takes_overrides)
        options.command = _continuing_command(arguments)
        _show_log(logging.DEBUG if options.debug else logging.WARNING)
        options.run(options)
    except SystemExit as finished:  # argparse has printed help, the version or what is wrong
        return finished.code if isinstance(finished.code, int) else EXIT_USAGE
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        message, code = _explain(error)
        print(message, file=sys.stderr)
        return code
    return 0


def _show_log(level: int) -> None:
    """The package's own messages go to standard error; other packages' logging stays as it is."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("no_time_to_train")
    logger.handlers = [handler]
    logger.setLevel(level)


def _explain(error: Exception) -> tuple[str, int]:
    """What to tell people about an error, and the exit code."""
    if hasattr(error, "exit_code"):
        return str(error), error.exit_code
    if type(error).__name__ == "OutOfMemoryError":  # torch's; torch may not be imported here
        return (
            "GPU out of memory with one prompt at a time. Try --preset fast, features.batch_size=1 or --device cpu.",
            EXIT_ENVIRONMENT,
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error}. Free some space and run the same command again: it continues.", EXIT_ENVIRONMENT
    if isinstance(error, OSError):
        return str(error), EXIT_BAD_INPUT
    if isinstance(error, ImportError):
        return f"{error}. `nttt doctor` shows what is missing.", EXIT_ENVIRONMENT
    kind = type(error).__name__
    return f"Unexpected problem ({kind}): {error}\nThe same command with --debug shows where.", EXIT_BAD_INPUT


def _overrides(parser: argparse.ArgumentParser, rest: Sequence[str], *, accepted: bool) -> list[str]:
    """What argparse did not know: ``key=value`` settings; anything else is wrong usage."""
    for token in rest:
        if token.startswith("-") or "=" not in token or not accepted:
            parser.error(f"unrecognized argument: {token}" + (f" ({_OVERRIDES_HELP})" if accepted else ""))
    return list(rest)


def _continuing_command(arguments: Sequence[str]) -> list[str]:
    """The same command again; ``--overwrite`` would throw away what it is to continue."""
    return ["nttt", *(argument for argument in arguments if argument != "--overwrite")]


class _Parser(argparse.ArgumentParser):
    """Abbreviated flags are off: a typo must not become another flag, and new flags must not break old scripts."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nttt",
        description="No Time To Train: a few annotated pictures in, labelled instance masks out, with no training.",
        epilog=_OVERRIDES_HELP,
    )
    parser.add_argument("--version", action="version", version=f"nttt {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(verbs)
    _add_label(verbs)
    _add_fit(verbs)
    _add_eval(verbs)
    _add_weights(verbs)
    _add_doctor(verbs)
    _add_config(verbs)
    return parser


_Verbs = argparse._SubParsersAction  # the type argparse gives no public name


def _add_verb(
    verbs: _Verbs, name: str, summary: str, run: Callable[[argparse.Namespace], None], *, takes_overrides: bool = False
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name, help=summary, description=summary, epilog=_OVERRIDES_HELP if takes_overrides else None
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run, subparser=parser, takes_overrides=takes_overrides)
    return parser


def _add_demo(verbs: _Verbs) -> None:
    parser = _add_verb(
        verbs,
        "demo",
        "run the bundled models on the bundled benchmark: a table and pictures",
        _demo,
        takes_overrides=True,
    )
    parser.add_argument("--out", type=Path, default=Path("nttt_demo"), metavar="DIR", help="default: nttt_demo")
    parser.add_argument("--shots", type=_positive, default=10, metavar="K", help="references per category (10)")
    parser.add_argument("--seed", type=int, default=33, metavar="N", help="of the drawing of references (33)")
    parser.add_argument("--limit", type=_positive, metavar="N", help="only the first N test images")
    parser.add_argument("--overwrite", action="store_true", help="begin anew where --out holds other results")
    _add_model_flags(parser)


def _add_label(verbs: _Verbs) -> None:
    parser = _add_verb(verbs, "label", "label a folder of images", _label, takes_overrides=True)
    parser.add_argument("images", type=Path, help="folder of images, sub-folders included")
    parser.add_argument("--refs", type=Path, metavar="PATH", help="COCO file or folder of references")
    _add_reference_flags(parser)
    parser.add_argument("--memory", type=Path, metavar="FILE", help="result of nttt fit, in place of references")
    parser.add_argument("--min-score", type=float, metavar="S", help="lowest score drawn and annotated (0.4)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the images folder's name with _labeled")
    parser.add_argument("--overwrite", action="store_true", help="begin anew where --out holds other results")
    parser.add_argument("--strict", action="store_true", help="stop at an image that cannot be read")
    parser.add_argument("--limit", type=_positive, metavar="N", help="only the first N images")
    _add_model_flags(parser)


def _add_fit(verbs: _Verbs) -> None:
    parser = _add_verb(verbs, "fit", "turn references into a small memory file", _fit, takes_overrides=True)
    parser.add_argument("refs", type=Path, nargs="?", help="COCO file or folder of references")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="ends in .safetensors")
    _add_reference_flags(parser)
    _add_model_flags(parser)


def _add_eval(verbs: _Verbs) -> None:
    parser = _add_verb(verbs, "eval", "average precision against ground truth", _eval)
    parser.add_argument("predictions", type=Path, help="folder of nttt label, or COCO results file")
    parser.add_argument("--gt", type=Path, required=True, metavar="FILE", help="COCO ground truth")
    parser.add_argument("--gt-images", type=Path, metavar="DIR", help="its images, where the file gives no sizes")
    parser.add_argument("--match-by-name", action="store_true", help="map category ids by name")
    parser.add_argument("--classes", type=_names, metavar="A,B", help="only these categories")
    parser.add_argument("--engine", choices=("pycocotools", "faster-coco-eval"), default="pycocotools")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")


def _add_weights(verbs: _Verbs) -> None:
    parser = _add_verb(verbs, "weights", "list, get, verify and convert model weights", _weights_list)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_verb(actions, "list", "every model, and where its weights are", _weights_list)
    get = _add_verb(actions, "get", "download weights", _weights_get)
    get.add_argument("names", nargs="+", metavar="MODEL")
    verify = _add_verb(actions, "verify", "check weights on this machine and print their hashes", _weights_verify)
    verify.add_argument("names", nargs="*", metavar="MODEL", help="default: all that are here")
    convert = _add_verb(actions, "convert", "write a PyTorch checkpoint as safetensors", _weights_convert)
    convert.add_argument("source", type=Path)
    convert.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: beside the source")
    convert.add_argument(
        "--trust", action="store_true", help="unpickle any Python object: this can run code hidden in the file"
    )


def _add_doctor(verbs: _Verbs) -> None:
    _add_verb(verbs, "doctor", "what this machine has, and what is missing", _doctor)


def _add_config(verbs: _Verbs) -> None:
    parser = _add_verb(verbs, "config", "print every setting of a command line", _config, takes_overrides=True)
    _add_model_flags(parser)


def _add_reference_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ref-images", type=Path, metavar="DIR", help="images of the references (found beside them)")
    parser.add_argument(
        "--ref",
        action="append",
        default=[],
        metavar="IMAGE:CATEGORY:X1,Y1,X2,Y2",
        help="a reference by its box in pixels; may be repeated",
    )
    parser.add_argument("--classes", type=_names, metavar="A,B", help="only these categories of the references")


def _add_model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--preset", metavar="P", help="default, paper, fast, demo")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("must be names separated by commas")
    return names


def _settings(options: argparse.Namespace) -> list[str]:
    """Flags that stand for settings, and the settings themselves."""
    flags = {"preset": options.preset, "device": options.device}
    flags["output.draw_min_score"] = getattr(options, "min_score", None)
    return [f"{key}={value}" for key, value in flags.items() if value is not None] + options.overrides


def _references(options: argparse.Namespace) -> Any:
    from no_time_to_train.tasks.memory_source import ReferenceOptions

    return ReferenceOptions(options.refs, options.ref_images, tuple(options.ref), options.classes)


def _demo(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.demo import DemoOptions, demo

    demo(
        DemoOptions(
            out=options.out,
            shots=options.shots,
            seed=options.seed,
            limit=options.limit,
            overrides=_settings(options),
            overwrite=options.overwrite,
            command=options.command,
        )
    )


def _label(options: argparse.Namespace) -> None:
    if (options.refs is not None) + bool(options.ref) + (options.memory is not None) != 1:
        options.subparser.error("give what to look for by exactly one of --refs, --ref and --memory")
    if options.classes and options.refs is None:
        options.subparser.error("--classes chooses among --refs, which is not given")
    from no_time_to_train.tasks.label import LabelOptions, label

    label(
        LabelOptions(
            images=options.images,
            references=_references(options),
            memory=options.memory,
            out=options.out,
            overrides=_settings(options),
            limit=options.limit,
            overwrite=options.overwrite,
            strict=options.strict,
            command=options.command,
        )
    )


def _fit(options: argparse.Namespace) -> None:
    if options.refs is not None and "=" in str(options.refs) and not options.refs.exists():
        options.overrides.insert(0, str(options.refs))  # argparse takes a setting for the path that was left out
        options.refs = None
    if (options.refs is None) == (not options.ref):
        options.subparser.error("give the references by a path or by --ref, not both")
    if options.classes and options.refs is None:
        options.subparser.error("--classes chooses among the references of a path, which is not given")
    from no_time_to_train.tasks.fit import FitOptions, fit

    fit(FitOptions(_references(options), options.output, _settings(options)))


def _eval(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.evaluate import EvaluateOptions, evaluate

    evaluate(
        EvaluateOptions(
            predictions=options.predictions,
            ground_truth=options.gt,
            ground_truth_images=options.gt_images,
            match_by_name=options.match_by_name,
            category_names=options.classes,
            engine=options.engine,
            markdown=options.markdown,
        )
    )


def _weights_list(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.weights import list_models

    list_models()


def _weights_get(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.weights import get

    get(options.names)


def _weights_verify(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.weights import verify

    verify(options.names)


def _weights_convert(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.weights import convert

    convert(options.source, options.output, trust=options.trust)


def _doctor(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.doctor import doctor

    doctor()


def _config(options: argparse.Namespace) -> None:
    import json

    from no_time_to_train.build import compose_config
    from no_time_to_train.config import to_dict

    print(json.dumps(to_dict(compose_config(_settings(options))), indent=2))
