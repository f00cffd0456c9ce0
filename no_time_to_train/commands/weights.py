"""List, get, verify and convert model weights: ``nttt weights``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import console, flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their flags."""
    actions = flags.add_actions(parser)
    flags.add_action(actions, "list", "every model, and where its weights are", run_list)
    get = flags.add_action(actions, "get", "download weights", run_get)
    get.add_argument("names", nargs="+", metavar="MODEL", help="a name of nttt weights list")
    verify = flags.add_action(actions, "verify", "check weights on this machine and print their hashes", run_verify)
    verify.add_argument("names", nargs="*", metavar="MODEL", help="default: all that are here")
    convert = flags.add_action(actions, "convert", "write a PyTorch checkpoint as safetensors", run_convert)
    convert.add_argument("source", type=Path)
    convert.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: beside the source")
    convert.add_argument(
        "--trust", action="store_true", help="unpickle any Python object: this can run code hidden in the file"
    )


def run_list(options: argparse.Namespace) -> None:
    """Print every model."""
    from no_time_to_train.files.paths import WEIGHTS_VARIABLE, weights_folders
    from no_time_to_train.models import weights
    from no_time_to_train.reports.text_table import align_columns

    rows = [
        (row.name, f"{row.size_mb:.0f} MB", row.license, "gated" if row.gated else "", str(row.location or "-"))
        for row in weights.list_weights()
    ]
    print(align_columns(("model", "size", "license", "access", "on this machine"), rows, numbers=False))
    folders = ", ".join(map(str, weights_folders()))
    print(f"\nLooked in {folders} ({WEIGHTS_VARIABLE} adds folders) and the Hugging Face cache.")


def run_get(options: argparse.Namespace) -> None:
    """Download models."""
    from no_time_to_train.models import weights

    for name in options.names:
        print(f"{name}: {weights.get_weights(name)}")


def run_verify(options: argparse.Namespace) -> None:
    """Print the hashes of models, and what is wrong with them."""
    console.say_loading()
    from no_time_to_train.errors import UnsafeWeightsError
    from no_time_to_train.models import verification, weights

    broken = []
    for name in options.names or [row.name for row in weights.list_weights() if row.location is not None]:
        report = verification.verify_weights(name)
        print(f"{name}: {'ok' if report.problem is None else report.problem}")
        for file_name, digest in report.sha256.items():
            print(f"  {digest}  {report.location / file_name if report.location.is_dir() else report.location}")
        if report.problem is not None:
            broken.append(name)
    if broken:
        raise UnsafeWeightsError(f"{len(broken)} of the models checked cannot be used: {', '.join(broken)}.")


def run_convert(options: argparse.Namespace) -> None:
    """Write a checkpoint as safetensors."""
    from no_time_to_train.models.checkpoints import convert_checkpoint

    target = options.output or options.source.with_suffix(".safetensors")
    print(f"Written to {convert_checkpoint(options.source, target, trust=options.trust)}")
