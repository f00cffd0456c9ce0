"""Train both demo models, `dinov2_demo` and `sam2_demo`, from one seed.

python -m tools.demo.train_models --seed 0
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import tools.demo.dinov2.train as dinov2_training
import tools.demo.sam2.train as sam2_training


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both; the models go to the folders `dinov2_demo` and `sam2_demo` of `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=sam2_training.DEMO_DIR.parent)
    parser.add_argument("--smoke", action="store_true", help="a few steps of each, to see that everything runs")
    options = parser.parse_args(arguments)
    smoke = ["--smoke"] if options.smoke else []
    for training, name in ((dinov2_training, "dinov2_demo"), (sam2_training, "sam2_demo")):
        training.main(["--seed", str(options.seed), "--out", str(options.out / name), *smoke])


if __name__ == "__main__":
    main()
