"""Turn references into a small memory file: ``nttt fit``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import console, flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    flags.set_verb(parser, run, takes_overrides=True)
    parser.add_argument("refs", type=Path, nargs="?", help="COCO file or folder of references")
    parser.add_argument(
        "-o", "--out", "--output", type=Path, required=True, metavar="FILE", help="ends in .safetensors"
    )
    flags.add_reference_flags(parser)
    flags.add_model_flags(parser)


def run(options: argparse.Namespace) -> None:
    """Write the memory bank and say how to use it."""
    flags.require_references(options)
    console.say_loading()
    from no_time_to_train.tasks.fit import fit

    memory = fit(
        flags.read_references(options),
        out=options.out,
        overrides=flags.settings(options),
        on_progress=console.console,
    )
    size = options.out.stat().st_size
    print(f"{options.out} ({size / 1000:.0f} kB, memory {memory.fingerprint}). Use it with:")
    print(f"  nttt label photos/ --memory {options.out}")
