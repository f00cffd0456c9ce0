"""``nttt bench`` with the bundled models, on one process and on several."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from no_time_to_train.commands import main
from no_time_to_train.files.paths import demo_data_folder

DEMO = demo_data_folder() / "benchmark"
NUM_REFERENCES, NUM_TARGETS = 7, 11


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes with equally many threads give the same bytes: this one, and those that it starts."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def overrides(tmp_path: Path) -> list[str]:
    """A run of eleven images and seven references, an uneven number per category."""
    train = json.loads((DEMO / "annotations/train.json").read_text())
    train["annotations"] = [a for a in train["annotations"] if a["category_id"] <= 3][:NUM_REFERENCES]
    (tmp_path / "references.json").write_text(json.dumps(train))
    return [
        "preset=demo",
        "device=cpu",
        "benchmark=custom",
        f"limit={NUM_TARGETS}",
        f"benchmark.references={tmp_path / 'references.json'}",
        f"benchmark.reference_images={DEMO / 'train'}",
        f"benchmark.annotations={DEMO / 'annotations/test.json'}",
        f"benchmark.images={DEMO / 'test'}",
        "benchmark.sampler=all",
        "proposals.points_per_side=8",
    ]


def predictions(runs: Path) -> bytes:
    [path] = runs.glob("custom/*/shots=10/seed=33/predictions.json")
    return path.read_bytes()


@pytest.mark.slow
def test_any_number_of_processes_gives_the_same_bytes(overrides: list[str], tmp_path: Path) -> None:
    for count in (1, 2, 3):
        assert main(["bench", *overrides, f"runs={tmp_path / str(count)}", f"trainer.devices={count}"]) == 0
    assert len(json.loads(predictions(tmp_path / "1"))) > NUM_TARGETS
    assert predictions(tmp_path / "1") == predictions(tmp_path / "2") == predictions(tmp_path / "3")


@pytest.mark.slow
def test_torchrun(overrides: list[str], tmp_path: Path) -> None:
    """Processes that something else has started carry out a sweep together, and only the first one writes."""
    assert main(["bench", *overrides, f"runs={tmp_path / 'one'}"]) == 0
    command = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29613", "-m", "no_time_to_train"]
    sweep = [
        "bench",
        "-m",
        *overrides,
        f"runs={tmp_path / 'two'}",
        "trainer.devices=2",
        "merging=semantic_soft,hard",
    ]
    done = subprocess.run([sys.executable, *command, *sweep], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 of 2 runs are finished") == 1
    written = {path.read_bytes() for path in (tmp_path / "two").glob("custom/*/*/*/predictions.json")}
    assert len(written) == 2 and predictions(tmp_path / "one") in written
