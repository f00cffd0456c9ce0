"""List, get, verify and convert model weights: ``nttt weights``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their flags."""
    actions = flags.add_actions(parser, run_list)
    flags.add_action(actions, "list", "every model, and where its weights are", run_list)
    get = flags.add_action(actions, "get", "download weights", run_get)
    get.add_argument("names", nargs="+", metavar="MODEL")
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
    from no_time_to_train.tasks.weights import list_models

    list_models()


def run_get(options: argparse.Namespace) -> None:
    """Download models."""
    from no_time_to_train.tasks.weights import get

    get(options.names)


def run_verify(options: argparse.Namespace) -> None:
    """Print the hashes of models, and what is wrong with them."""
    from no_time_to_train.tasks.weights import verify

    verify(options.names)


def run_convert(options: argparse.Namespace) -> None:
    """Write a checkpoint as safetensors."""
    from no_time_to_train.tasks.weights import convert

    convert(options.source, options.output, trust=options.trust)
