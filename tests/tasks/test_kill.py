"""A labeling process that is really killed, and one that is really interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests with it ignored
from no_time_to_train import build
from no_time_to_train.commands import main
from no_time_to_train.runs import folder_run, run as labeling
from tests.tasks.conftest import ColorSegmenter

def build_slow_segmenter(config):
    segmenter = ColorSegmenter(config)
    segmenter.before_segmenting = lambda num_segmented: time.sleep(0.4)
    return segmenter

build.build_segmenter = build_slow_segmenter
folder_run.is_cpu_idle = lambda segmenter: IS_BESIDE
labeling.weight_hashes = lambda config: {}
sys.exit(main("label photos/ --refs refs/ --out parts".split()))
"""


def stop_after_two_images(workplace: Path, how: signal.Signals, is_beside: bool) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.replace("IS_BESIDE", str(is_beside))],
        cwd=workplace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while len(list((workplace / "parts/per_image").glob("*.json"))) < 2:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"no two images were labeled: {process.communicate()}")
        time.sleep(0.02)
    process.send_signal(how)
    output, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@pytest.mark.slow
@pytest.mark.parametrize("is_beside", [False, True])
def test_kill_minus_nine(
    nttt: Callable[[str], int],
    workplace: Path,
    segmenters: list,
    read_folder: Callable[[Path], dict[str, bytes]],
    is_beside: bool,
) -> None:
    killed = stop_after_two_images(workplace, signal.SIGKILL, is_beside)
    assert killed.returncode == -signal.SIGKILL
    assert nttt("label photos/ --refs refs/ --out parts") == 0
    assert segmenters[-1].num_segmented < 5
    assert nttt("label photos/ --refs refs/ --out whole") == 0
    assert read_folder(workplace / "parts") == read_folder(workplace / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("is_beside", [False, True])
def test_ctrl_c(workplace: Path, is_beside: bool) -> None:
    interrupted = stop_after_two_images(workplace, signal.SIGINT, is_beside)
    assert interrupted.returncode == 130
    assert "continue with:\n  nttt label photos/ --refs refs/ --out parts" in interrupted.stdout
    assert interrupted.stderr.endswith("Interrupted.\n") and "Traceback" not in interrupted.stderr
    images = json.loads((workplace / "parts/annotations.json").read_text())["images"]
    assert 2 <= len(images) < 5
