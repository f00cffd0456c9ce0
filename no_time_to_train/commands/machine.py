"""The commands ``weights`` and ``doctor``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands.flags import Verbs, add_verb


def add_verbs(verbs: Verbs) -> None:
    _add_weights(verbs)
    _add_doctor(verbs)


def _add_weights(verbs: Verbs) -> None:
    parser = add_verb(verbs, "weights", "list, get, verify and convert model weights", _weights_list)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_verb(actions, "list", "every model, and where its weights are", _weights_list)
    get = add_verb(actions, "get", "download weights", _weights_get)
    get.add_argument("names", nargs="+", metavar="MODEL")
    verify = add_verb(actions, "verify", "check weights on this machine and print their hashes", _weights_verify)
    verify.add_argument("names", nargs="*", metavar="MODEL", help="default: all that are here")
    convert = add_verb(actions, "convert", "write a PyTorch checkpoint as safetensors", _weights_convert)
    convert.add_argument("source", type=Path)
    convert.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: beside the source")
    convert.add_argument(
        "--trust", action="store_true", help="unpickle any Python object: this can run code hidden in the file"
    )


def _add_doctor(verbs: Verbs) -> None:
    add_verb(verbs, "doctor", "what this machine has, and what is missing", _doctor)


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
