"""A hundred kills at random points over all long verbs; repeated, each command ends with the same bytes.

Commands run in forks of one process that has imported everything, so that the kills fall into the work. Some are
Ctrl-C or SIGTERM: these end with one message and their exit code.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "data/demo/benchmark"
NUM_IMAGES = 6
MODELS = ("--preset", "demo", "--device", "cpu", "proposals.points_per_side=8")
REFERENCES = ("--refs", "refs/references.json", "--ref-images", str(DEMO / "train"))
BENCH = ("bench", "preset=demo", "benchmark=demo", "device=cpu", "proposals.points_per_side=8", "shots=1")
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

SERVER = """
import json, os, signal, sys, time
import pytorch_lightning, no_time_to_train.models.promptable, no_time_to_train.models.transformers_folders
from no_time_to_train.__main__ import main
from no_time_to_train.commands import bench, eval, export, label, propose, track
from no_time_to_train.tasks import bench, evaluate, export, label, propose, sweep, track
from no_time_to_train.models import detector
import transformers

def carry_out(job):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(job["log"], os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(log, 1), os.dup2(log, 2)
    os.chdir(job["folder"])
    sys.argv = ["nttt", *job["arguments"]]
    code = main()
    print("ended", flush=True)
    sys.exit(code)

for line in sys.stdin:
    job = json.loads(line)
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        carry_out(job)
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        seconds = time.monotonic() - start
        if ended or seconds > job["after"]:
            break
        time.sleep(0.002)
    if not ended:
        send = os.killpg if job["signal"] == signal.SIGINT else os.kill  # a terminal sends Ctrl-C to all
        send(process, job["signal"])
        _, status = os.waitpid(process, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), seconds, time.monotonic() - start]), flush=True)
"""


@dataclass(frozen=True)
class Verb:
    """A command, the folder that it writes, and how often it is stopped."""

    arguments: tuple[str, ...]
    out: str
    num_kills: int
    begins_with: str | None = None
    """A finished folder that ``out`` is a copy of at first."""


TRAIN = (str(DEMO / "annotations/train.json"), "--ref-images", str(DEMO / "train"))
TRACKING = ("tracking.key_frame_interval=2", "output.threshold_images=0")  # label measures thresholds, of many seconds
VERBS = {
    "label": Verb(("label", "images", *REFERENCES, "--out", "out", *MODELS), "out", 24),
    "propose": Verb(("propose", "images", "--method", "grid", "--out", "out", *MODELS), "out", 16),
    "track": Verb(("track", "frames", *REFERENCES, "--out", "out", *MODELS, *TRACKING), "out", 20),
    "bench": Verb((*BENCH, f"limit={NUM_IMAGES}", "runs=out"), "out", 16),
    "bench, two processes": Verb(
        (*BENCH, f"limit={NUM_IMAGES}", "runs=out", "trainer.devices=2", "trainer.strategy=ddp_fork"), "out", 12
    ),
    "label, compiled decoder": Verb(
        ("label", "images", *REFERENCES, "--out", "out", *MODELS, "mask_model.decoder=compiled"), "out", 8
    ),
    "fit": Verb(
        ("fit", REFERENCES[1], *REFERENCES[2:], "-o", "out/a.safetensors", *MODELS, "output.threshold_images=4"),
        "out",
        6,
    ),
    "refs check": Verb(("refs", "check", *TRAIN, "--classes", "teal_gear", "--out", "out", *MODELS), "out", 6),
    "export": Verb(("export", "labeled", "--to", "yolo", "--out", "out"), "out", 8),
    "eval": Verb(("eval", "out", "--gt", str(DEMO / "annotations/test.json")), "out", 8, begins_with="labeled"),
}


class Workplace:
    """The folder in which all commands run, and the process that they are forks of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True, env=environment
        )
        (folder / "images").mkdir()
        for path in sorted((DEMO / "test").iterdir())[:NUM_IMAGES]:
            shutil.copy(path, folder / "images")
        (folder / "frames").mkdir()
        with Image.open(next(iter(sorted((folder / "images").iterdir())))) as scene:
            for number in range(NUM_IMAGES):  # the camera moves
                scene.crop((8 * number, 0, 8 * number + 320, 320)).save(folder / f"frames/{number}.png")
        self.run((*BENCH, "limit=1", "runs=drawn"))
        (folder / "refs").mkdir()
        [references] = (folder / "drawn").rglob("references.json")
        references.rename(folder / "refs/references.json")
        self.run(("label", "images", *REFERENCES, "--out", "labeled", *MODELS))

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(60)

    def attempt(self, arguments: tuple[str, ...], after: float = 1e9, stop: int = signal.SIGKILL) -> list[Any]:
        """Exit code, seconds until the stop or the end, seconds until the end."""
        job = {"arguments": arguments, "after": after, "signal": stop, "folder": str(self.folder), "log": self.log}
        assert self._server.stdin is not None and self._server.stdout is not None
        print(json.dumps(job), file=self._server.stdin, flush=True)
        return json.loads(self._server.stdout.readline())

    def run(self, arguments: tuple[str, ...]) -> float:
        """Run a command to its end; its seconds."""
        code, seconds, _ = self.attempt(arguments)
        assert code == 0, self.output()
        return seconds

    @property
    def log(self) -> str:
        return str(self.folder / "log.txt")

    def output(self) -> str:
        return Path(self.log).read_text()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    place = Workplace(tmp_path_factory.mktemp("campaign"))
    yield place
    place.close()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="commands are forks of one process")
@pytest.mark.parametrize("name", VERBS)
def test_stopped_commands_end_with_the_same_bytes(name: str, workplace: Workplace) -> None:
    verb = VERBS[name]
    out = workplace.folder / verb.out

    def begin_anew() -> None:
        shutil.rmtree(out, ignore_errors=True)
        if verb.begins_with is not None:
            shutil.copytree(workplace.folder / verb.begins_with, out)

    begin_anew()
    seconds = workplace.run(verb.arguments)
    expected = contents(out)
    chance = random.Random(name)
    kills: Counter[str] = Counter()
    start = time.monotonic()
    while kills.total() < verb.num_kills:
        begin_anew()
        stops = []
        for _ in range(chance.randint(1, 3)):
            if name == "export" and out.is_dir():  # stopped on its way out: it is done, and refuses to write over it
                break
            stop = chance.choice([signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGINT])
            after = chance.uniform(0, seconds)
            code, reached, ended = workplace.attempt(verb.arguments, after, stop)
            if code == 0:
                break
            stops.append((stop.name, round(after, 3), round(ended - reached, 3)))
            shown = workplace.output()
            has_ended = code == -stop and shown.endswith("ended\n")  # stopped on its way out: nothing is left to say
            assert code == EXIT_CODES.get(stop, -stop) or has_ended, (code, stops, shown)
            assert "Traceback" not in shown and "Unexpected problem" not in shown, (stops, shown)
        kills.update(stopped for stopped, _, _ in stops)
        if name != "export" or not out.is_dir():  # an export is there as a whole, and nothing writes over one
            workplace.run(verb.arguments)
        found = contents(out)
        assert found.keys() == expected.keys(), (stops, found.keys() ^ expected.keys())
        assert [file for file in found if found[file] != expected[file]] == [], stops
    print(f"{name}: {dict(kills)}, same bytes, {seconds:.1f} s a run, {time.monotonic() - start:.0f} s in all")


def contents(folder: Path) -> dict[str, bytes]:
    """All files, without what differs from run to run: times, and the video, whose encoder is not exact."""
    return {
        path.relative_to(folder).as_posix(): without_times(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".mp4"
    }


def without_times(path: Path) -> bytes:
    if path.name == "run.json":
        content = json.loads(path.read_text())
        kept = {key: content[key] for key in ("settings", "status", "images", "weights") if key in content}
        return json.dumps(kept).encode()
    if path.name == "metrics.json":
        return json.dumps({**json.loads(path.read_text()), "seconds_per_image": None}).encode()
    if path.name == "metrics.csv":  # of Lightning's logger: the same time
        return b""
    return path.read_bytes()
