"""Trains both demonstration models, `dinov2_demo` and `sam2_demo`, from one seed.

python tools/train_demo_models.py --seed 0
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import train_demo_dinov2
import train_demo_sam2


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; the models go to the folders `dinov2_demo` and `sam2_demo` of `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=train_demo_sam2.DEMO_DIR.parent)
    parser.add_argument("--smoke", action="store_true", help="a few steps of each, to see that everything runs")
    options = parser.parse_args(arguments)
    smoke = ["--smoke"] if options.smoke else []
    for training, name in ((train_demo_dinov2, "dinov2_demo"), (train_demo_sam2, "sam2_demo")):
        training.main(["--seed", str(options.seed), "--out", str(options.out / name), *smoke])


if __name__ == "__main__":
    main()
