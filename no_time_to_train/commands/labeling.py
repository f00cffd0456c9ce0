"""The commands ``demo``, ``label``, ``fit``, ``refs``, ``eval`` and ``config``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands.flags import (
    Verbs,
    add_memory_flags,
    add_model_flags,
    add_reference_flags,
    add_verb,
    check_memory_flags,
    names,
    positive,
    references,
    settings,
)


def add_verbs(verbs: Verbs) -> None:
    _add_demo(verbs)
    _add_label(verbs)
    _add_fit(verbs)
    _add_refs(verbs)
    _add_eval(verbs)
    _add_config(verbs)


def _add_demo(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "demo",
        "run the bundled models on the bundled benchmark: a table and pictures",
        _demo,
        takes_overrides=True,
    )
    parser.add_argument("--out", type=Path, default=Path("nttt_demo"), metavar="DIR", help="default: nttt_demo")
    parser.add_argument("--shots", type=positive, default=10, metavar="K", help="references per category (10)")
    parser.add_argument("--seed", type=int, default=33, metavar="N", help="of the drawing of references (33)")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N test images")
    parser.add_argument("--overwrite", action="store_true", help="begin anew where --out holds other results")
    add_model_flags(parser)


def _add_label(verbs: Verbs) -> None:
    parser = add_verb(verbs, "label", "label a folder of images", _label, takes_overrides=True)
    parser.add_argument("images", type=Path, help="folder of images, sub-folders included")
    add_memory_flags(parser)
    parser.add_argument("--min-score", type=float, metavar="S", help="lowest score drawn and annotated (0.4)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the images folder's name with _labeled")
    parser.add_argument("--overwrite", action="store_true", help="begin anew where --out holds other results")
    parser.add_argument("--strict", action="store_true", help="stop at an image that cannot be read")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    add_model_flags(parser)


def _add_fit(verbs: Verbs) -> None:
    parser = add_verb(verbs, "fit", "turn references into a small memory file", _fit, takes_overrides=True)
    parser.add_argument("refs", type=Path, nargs="?", help="COCO file or folder of references")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="ends in .safetensors")
    add_reference_flags(parser)
    add_model_flags(parser)


def _add_refs(verbs: Verbs) -> None:
    parser = add_verb(verbs, "refs", "look at references before using them", _refs_check)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = add_verb(actions, "check", "score every reference by the others", _refs_check, takes_overrides=True)
    check.add_argument("refs", type=Path, nargs="?", help="COCO file or folder of references")
    check.add_argument("--out", type=Path, metavar="DIR", help="default: the references' name with _checked")
    add_reference_flags(check)
    add_model_flags(check)


def _add_eval(verbs: Verbs) -> None:
    parser = add_verb(verbs, "eval", "average precision against ground truth", _eval)
    parser.add_argument("predictions", type=Path, help="folder of nttt label, or COCO results file")
    parser.add_argument("--gt", type=Path, required=True, metavar="FILE", help="COCO ground truth")
    parser.add_argument("--gt-images", type=Path, metavar="DIR", help="its images, where the file gives no sizes")
    parser.add_argument("--match-by-name", action="store_true", help="map category ids by name")
    parser.add_argument("--classes", type=names, metavar="A,B", help="only these categories")
    parser.add_argument("--engine", choices=("pycocotools", "faster-coco-eval"), default="pycocotools")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")


def _add_config(verbs: Verbs) -> None:
    parser = add_verb(verbs, "config", "print every setting of a command line", _config, takes_overrides=True)
    add_model_flags(parser)


def _demo(options: argparse.Namespace) -> None:
    from no_time_to_train.tasks.demo import DemoOptions, demo

    demo(
        DemoOptions(
            out=options.out,
            shots=options.shots,
            seed=options.seed,
            limit=options.limit,
            overrides=settings(options),
            overwrite=options.overwrite,
            command=options.command,
        )
    )


def _label(options: argparse.Namespace) -> None:
    check_memory_flags(options)
    from no_time_to_train.tasks.label import LabelOptions, label

    label(
        LabelOptions(
            images=options.images,
            references=references(options),
            memory=options.memory,
            out=options.out,
            overrides=settings(options),
            limit=options.limit,
            overwrite=options.overwrite,
            strict=options.strict,
            command=options.command,
        )
    )


def _require_references(options: argparse.Namespace) -> None:
    """For verbs whose positional argument is the path of references: wrong usage where they are not given once."""
    if options.refs is not None and "=" in str(options.refs) and not options.refs.exists():
        options.overrides.insert(0, str(options.refs))  # argparse takes a setting for the path that was left out
        options.refs = None
    if (options.refs is None) == (not options.ref):
        options.subparser.error("give the references by a path or by --ref, not both")
    if options.classes and options.refs is None:
        options.subparser.error("--classes chooses among the references of a path, which is not given")


def _fit(options: argparse.Namespace) -> None:
    _require_references(options)
    from no_time_to_train.tasks.fit import FitOptions, fit

    fit(FitOptions(references(options), options.output, settings(options)))


def _refs_check(options: argparse.Namespace) -> None:
    _require_references(options)
    from no_time_to_train.tasks.check_references import CheckOptions, check_references

    check_references(CheckOptions(references(options), options.out, settings(options)))


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


def _config(options: argparse.Namespace) -> None:
    import json

    from no_time_to_train.build import compose_config
    from no_time_to_train.config import to_dict

    print(json.dumps(to_dict(compose_config(settings(options))), indent=2))
