"""What the plain installation does without the packages of the extras."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from no_time_to_train.files.paths import demo_data_folder

BENCHMARK = demo_data_folder() / "benchmark"

# Imports find none of them, as in an environment without them; then the command.
RUN_BLOCKED = """
import sys
from importlib.machinery import PathFinder

BLOCKED = {"pytorch_lightning", "lightning", "faiss", "matplotlib", "av", "scipy", "supervision", "faster_coco_eval",
           "lvis", "hydra_plugins", "sklearn", "skimage"}
find_spec = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in BLOCKED else find_spec(name, *rest)

from no_time_to_train.commands import main

sys.exit(main(sys.argv[1:]))
"""


def nttt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, from another folder."""
    command = [sys.executable, "-c", RUN_BLOCKED, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first references of the demo benchmark, and two of its images to label."""
    folder = tmp_path_factory.mktemp("base")
    train = json.loads((BENCHMARK / "annotations" / "train.json").read_text())
    train["annotations"] = train["annotations"][:12]
    (folder / "references.json").write_text(json.dumps(train))
    (folder / "images").mkdir()
    for name in ("0001.jpg", "0002.jpg"):
        (folder / "images" / name).write_bytes((BENCHMARK / "test" / name).read_bytes())
    return folder


@pytest.mark.slow
def test_the_main_job_needs_no_extra(references: Path) -> None:
    for line in (
        "doctor",
        f"fit references.json --ref-images {BENCHMARK / 'train'} -o shapes.safetensors preset=demo device=cpu",
        "label images --memory shapes.safetensors --out labeled preset=demo device=cpu",
        f"eval labeled --gt {BENCHMARK / 'annotations' / 'test.json'}",
        "demo --limit 2 --shots 1 --out demo",
    ):
        finished = nttt(references, *line.split())
        assert finished.returncode == 0, f"nttt {line}: {finished.stderr}"
    assert len(json.loads((references / "labeled" / "annotations.json").read_text())["annotations"]) > 0


@pytest.mark.parametrize(
    ("line", "extra"),
    [
        ("bench benchmark=demo", "bench"),
        ("track clip.mp4 --memory shapes.safetensors", "video"),
        pytest.param(
            "propose images --method semantic --out masks preset=demo device=cpu", "faiss", marks=pytest.mark.slow
        ),
    ],
)
def test_what_needs_an_extra_says_which(references: Path, line: str, extra: str) -> None:
    finished = nttt(references, *line.split())
    assert finished.returncode == 3
    assert f"pip install '.[{extra}]'" in finished.stderr and "Traceback" not in finished.stderr
