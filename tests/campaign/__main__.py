"""Give every verb malformed and odd inputs: ``python -m tests.campaign`` (some ten minutes), or one KIND of them.

What went wrong is printed with its seed, and a line of figures for every kind. ``--seed N`` repeats one case.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # threads of OpenMP do not live on in forked children

import argparse
import contextlib
import importlib
import pkgutil
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch

import no_time_to_train
from no_time_to_train.errors import EnvironmentProblemError
from no_time_to_train.models import loading
from no_time_to_train.review import serve
from no_time_to_train.review.session import ReviewSession
from tests.campaign.api import API_KIND, NUM_API_CASES, make_api_case
from tests.campaign.kinds import KINDS, make_case, run_line, valid_line
from tests.campaign.running import BAD_OUTCOMES, OUTCOMES, Case, Ending, carry_out, lines_of
from tests.campaign.world import build_world


def main(arguments: list[str] | None = None) -> int:
    """Run the cases; the exit code is 1 where one ended badly."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"default: all of {', '.join([*KINDS, API_KIND])}")
    parser.add_argument("--seed", type=int, help="this case only")
    parser.add_argument("--work", type=Path, help="folder to work in; its valid inputs are made once")
    parser.add_argument("--verbose", action="store_true", help="print every case")
    options = parser.parse_args(arguments)
    keep_models_loaded()
    total: Counter[str] = Counter()
    print(f"{'cases of':24}" + "".join(f"{outcome:>11}" for outcome in OUTCOMES) + f"{'seconds':>9}", flush=True)
    with tempfile.TemporaryDirectory(prefix="campaign") as folder:
        world = (options.work or Path(folder)).absolute() / "world"
        if not world.is_dir():
            make_world(world)
        for kind in options.kinds or [*KINDS, API_KIND]:
            seeds = [options.seed] if options.seed is not None else range(number_of_cases(kind))
            shown = OUTCOMES if options.verbose or options.seed is not None else BAD_OUTCOMES
            total += run_kind(kind, seeds, world, shown)
    _print_row(f"all {sum(total.values())}", total, 0)
    return int(any(total[outcome] for outcome in BAD_OUTCOMES))


def run_kind(kind: str, seeds: Iterable[int], world: Path, shown: Collection[str]) -> Counter[str]:
    """Run cases of a kind, print those that ended as ``shown`` says, and count the endings."""
    started = time.monotonic()
    counts: Counter[str] = Counter()
    for seed in seeds:
        ending = run_case(kind, seed, world)
        counts[ending.outcome] += 1
        if ending.outcome in shown:
            print(ending, flush=True)
    _print_row(kind, counts, time.monotonic() - started)
    return counts


def number_of_cases(kind: str) -> int:
    """Return how many cases of a kind there are."""
    return NUM_API_CASES if kind == API_KIND else KINDS[kind][0]


def keep_models_loaded() -> None:
    """Load all modules and the demo models once for all children, in one thread; review pages end once all was read."""
    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(no_time_to_train.__path__, "no_time_to_train.", onerror=lambda name: None):
        with contextlib.suppress(ImportError, EnvironmentProblemError):  # what needs a package that is not here
            importlib.import_module(module.name)

    def keeping(load: Any) -> Any:
        known = cache(lambda name, *settings: load(name, **dict(settings)))
        return lambda name, **settings: (
            known(name, *settings.items()) if settings.get("weights") is None else load(name, **settings)
        )

    loading.load_encoder = keeping(loading.load_encoder)
    loading.load_mask_model = keeping(loading.load_mask_model)
    serve.serve_review = read_all_that_is_reviewed


def read_all_that_is_reviewed(session: ReviewSession, *arguments: object, **settings: object) -> None:
    """Ask for what the review page asks for: the list of images, and then every one of them."""
    session.overview()
    for number in range(len(session.file_names)):
        session.image(number)


def make_world(world: Path) -> None:
    """Write the valid inputs where copies of them will lie: results hold absolute paths.

    A child does it: threads that a parent has started are missing in its later children.
    """
    folder = world.with_name("made")
    folder.mkdir(parents=True)
    case = folder.with_name("case")

    def build() -> int:
        folder.rename(case)
        os.chdir(case)
        build_world(case)
        case.rename(world)
        return 0

    ending = carry_out(Case("world", -1, "made", build, False), folder, frozenset())
    if ending.code:
        raise RuntimeError(str(ending))


def run_case(kind: str, seed: int, world: Path) -> Ending:
    """Run one case in a copy of the world."""
    usual = usual_lines(kind, world)
    folder = _copy(world, kind)
    before = Path.cwd()
    os.chdir(folder)
    try:
        case = make_api_case(seed) if kind == API_KIND else make_case(kind, seed)
    finally:
        os.chdir(before)
    return carry_out(case, folder, usual)


@cache
def usual_lines(kind: str, world: Path) -> frozenset[str]:
    """Return what the command of a kind prints of the valid world."""
    line = [] if kind == API_KIND else valid_line_in(kind, world)
    if not line:
        return frozenset()
    folder = _copy(world, kind)
    ending = carry_out(Case(kind, -1, "nothing changed", lambda: run_line(line), False), folder, frozenset())
    if ending.code:
        raise RuntimeError(f"a valid command failed:\n{ending}")
    return lines_of(ending.text)


def valid_line_in(kind: str, world: Path) -> list[str]:
    """Return the command line of a kind; what its first case changes is thrown away."""
    folder = _copy(world, kind)
    before = Path.cwd()
    os.chdir(folder)
    try:
        return valid_line(kind)
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


def _copy(world: Path, kind: str) -> Path:
    """Copy what a kind may use: weights and runs are large."""
    left_out = {"weights": ("weights", "detector"), "runs": ("again", "report"), "as_*": ("formats",)}
    ignored = [pattern for pattern, words in left_out.items() if not any(word in kind for word in words)]
    return Path(shutil.copytree(world, world.with_name("case"), ignore=shutil.ignore_patterns(*ignored)))


def _print_row(name: str, counts: Counter[str], seconds: float) -> None:
    print(f"{name:24}" + "".join(f"{counts[outcome]:11}" for outcome in OUTCOMES) + f"{seconds:9.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
