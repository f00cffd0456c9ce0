from __future__ import annotations

import errno
import gc
import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from no_time_to_train import __version__, commands
from no_time_to_train.commands import bench, flags
from no_time_to_train.errors import EnvironmentProblemError, InputError, WeightsNotFoundError

HEAVY = ("torch", "numpy", "PIL", "transformers", "sam2", "hydra", "omegaconf", "pycocotools", "huggingface_hub")


def replace_verb(monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException | None = None) -> list:
    """Let a verb raise, or only record its options."""
    seen: list = []

    def run(options) -> None:
        seen.append(options)
        if error is not None:
            raise error

    monkeypatch.setattr(f"no_time_to_train.commands.{name}.run", run)
    return seen


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from no_time_to_train.commands import main; code = main(['label', '--help']);"
        f"print('heavy:', sorted(set({HEAVY!r}) & set(sys.modules))); sys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("heavy: []\n")
    assert "--min-score" in result.stdout


MISTAKES = {
    "label nowhere --refs refs.json": "nowhere is neither",
    "label . --refs nowhere.json": "nowhere.json",
    "label . --memory nowhere.safetensors": "nowhere.safetensors: no such memory bank",
    "label . --refs refs.json --classes bird": "bird",
    "label . --ref a.png:boat:1,2": "must be image:category:x1,y1,x2,y2",
    "label . --ref a.png:boat:1,2,99,4": "inside the image, which is 9x8",
    "label . --refs refs.json mergin=hard": "mergin",
    "label . --refs refs.json --min-score 7": "--min-score 7",
    "fit refs.json -o memory.txt": "ends in .safetensors",
    "fit nowhere.json -o memory.safetensors": "nowhere.json",
    "propose nowhere": "nowhere is neither",
    "track nowhere.mp4 --refs refs.json": "nowhere.mp4: no such video",
    "refs check nowhere": "nowhere",
    "bench benchmark=dmeo": "dmeo",
    "eval nowhere --gt refs.json": "nowhere",
    "export nowhere --to yolo": "nowhere",
}


def test_simple_mistakes_are_told_before_torch_is_loaded(tmp_path: Path) -> None:
    Image.new("RGB", (9, 8)).save(tmp_path / "a.png")
    references = {
        "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 8}],
        "categories": [{"id": 1, "name": "boat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}],
    }
    (tmp_path / "refs.json").write_text(json.dumps(references))
    code = (
        "import contextlib, io, json, sys; from no_time_to_train.commands import main; told = []\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    with contextlib.redirect_stderr(io.StringIO()) as said: code = main(line.split())\n"
        "    told.append((code, said.getvalue()))\n"
        "print(json.dumps([told, sorted({'torch', 'transformers', 'pytorch_lightning'} & set(sys.modules))]))"
    )
    command = [sys.executable, "-c", code, json.dumps(list(MISTAKES))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    told, heavy = json.loads(done.stdout)
    for (code, said), (line, message) in zip(told, MISTAKES.items(), strict=True):
        assert code == 1 and message in said and "Traceback" not in said, (line, said)
    assert heavy == []


def test_every_verb_has_a_module() -> None:
    folder = Path(commands.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "collector", "console", "flags"}
    assert modules == {verb.replace("-", "_") for verb in commands.VERBS}
    commands.build_parser()


@pytest.mark.parametrize("verb", commands.VERBS)
def test_help_of_every_verb(verb: str, capsys) -> None:
    assert commands.main([verb, "--help"]) == 0
    assert "--debug" in capsys.readouterr().out


def test_every_preset_is_listed(capsys) -> None:
    assert commands.main(["label", "--help"]) == 0
    shown = capsys.readouterr().out
    presets = {path.stem for path in (Path(commands.__file__).parents[1] / "configs" / "preset").glob("*.yaml")}
    assert len(presets) > 3 and all(preset in shown for preset in presets)


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("", commands.VERBS),
        ("data", ("list", "prepare", "verify")),
        ("refs", ("check", "draw")),
        ("weights", ("list", "get", "verify", "convert")),
        ("serve", ("label-studio",)),
    ],
)
def test_a_command_that_stops_short_lists_its_choices(line: str, choices: Iterable[str], capsys) -> None:
    assert commands.main(line.split()) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.endswith(f"{' '.join(['nttt', *line.split()])}: error: name one of the above\n")
    assert {words[0] for words in map(str.split, told.err.splitlines()) if words} >= set(choices)


@pytest.mark.parametrize("given", ["shots=1,10", "seed=range(0,5)"])
def test_a_forgotten_multirun_is_named(given: str, capsys) -> None:
    assert commands.main(["bench", "benchmark=demo", given]) == 2
    shown = capsys.readouterr().err
    assert f"{given} has several values, one run for each: add -m. One value with a comma needs quotes: " in shown


@pytest.mark.parametrize(
    ("given", "several"),
    [("a=[1,2]", False), ("a='b,c'", False), ("a=b", False), ("a={b:1,c:2}", False), ("a=1,2", True)],
)
def test_what_has_several_values(given: str, several: bool) -> None:
    assert bench._has_several_values(given) == several


def test_version_and_usage(capsys) -> None:
    assert commands.main(["--version"]) == 0
    assert capsys.readouterr().out == f"nttt {__version__}\n"
    for arguments in (
        [],
        ["paint"],
        ["label"],
        ["weights"],
        ["refs"],
        ["report"],
        ["demo", "--shots", "0"],
        ["demo", "--shot", "3"],
    ):
        assert commands.main(arguments) == 2, arguments
        assert "usage: nttt" in capsys.readouterr().err


@pytest.mark.parametrize(
    "given", ["", "--ref a.jpg:b:1,2,3,4 --memory m", "--refs a --memory m", "--memory m --classes a"]
)
def test_references_or_a_memory_are_given(given: str, capsys) -> None:
    assert commands.main(["label", "photos", *given.split()]) == 2
    assert "--refs" in capsys.readouterr().err


def test_flags_and_settings(monkeypatch) -> None:
    seen = replace_verb(monkeypatch, "label")
    line = "label photos --refs refs --min-score 0.3 --device cpu --preset fast merging=hard ~x=1"
    assert commands.main(line.split()) == 0
    expected = ["preset=fast", "device=cpu", "output.draw_min_score=0.3", "merging=hard", "~x=1"]
    assert flags.settings(seen[0], {"output.draw_min_score": seen[0].min_score}) == expected
    assert commands.main(["fit", "merging=hard", "-o", "x.safetensors"]) == 2  # a setting is not the path of references


def test_what_is_neither_flag_nor_setting_is_wrong_usage(capsys) -> None:
    for extra in ("more_photos", "--min-scor=3", "--verbose"):
        assert commands.main(["label", "photos", "--refs", "r", extra]) == 2
        assert f"unrecognized argument: {extra}" in capsys.readouterr().err
    assert commands.main(["doctor", "device=cpu"]) == 2  # a verb without settings


def test_the_continuing_command_does_not_overwrite(monkeypatch) -> None:
    seen = replace_verb(monkeypatch, "demo")
    assert commands.main(["demo", "--overwrite", "--out", "my folder"]) == 0
    assert seen[0].command == ["nttt", "demo", "--out", "my folder"]


class OutOfMemoryError(RuntimeError):
    """Of the same name as torch's."""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("that is wrong"), 1, "that is wrong"),
        (WeightsNotFoundError("no weights"), 3, "no weights"),
        (EnvironmentProblemError("no GPU"), 3, "no GPU"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (OutOfMemoryError("2 GiB"), 3, "--preset fast"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5.56 GB)"), 3, "--preset fast"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "Free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), 1, "Permission denied: 'out'"),
        (ImportError("no module"), 3, "nttt doctor"),
        (KeyError("surprise"), 1, "KeyError"),
    ],
)
def test_exit_codes(monkeypatch, capsys, error: BaseException, code: int, message: str) -> None:
    replace_verb(monkeypatch, "doctor", error)
    assert commands.main(["doctor"]) == code
    shown = capsys.readouterr().err
    assert message in shown and "Traceback" not in shown


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("as_what", [None, ImportError("numpy failed"), SystemExit(1)])
def test_a_signal_ends_a_command_whatever_a_library_makes_of_it(monkeypatch, capsys, number, code, as_what) -> None:
    def run(options) -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            if as_what is None:
                raise
            raise as_what from None

    monkeypatch.setattr("no_time_to_train.commands.doctor.run", run)
    before = [signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)]
    try:
        assert commands.main(["doctor"]) == code
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before[0])
    assert signal.getsignal(signal.SIGTERM) is before[1]
    assert capsys.readouterr().err == "Interrupted.\n"


def test_what_a_stopped_command_held_is_closed_when_it_has_ended(monkeypatch, capsys) -> None:
    closed = []

    def count() -> Iterator[int]:
        try:
            yield 1
        finally:
            closed.append(True)  # a module's names are gone once the interpreter ends

    def run(options) -> None:
        counts = count()
        for _ in counts:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("no_time_to_train.commands.doctor.run", run)
    assert commands.main(["doctor"]) == 143
    gc.collect()
    assert closed == [True]


def test_debug_shows_the_traceback(monkeypatch, capsys) -> None:
    replace_verb(monkeypatch, "doctor", InputError("that is wrong"))
    assert commands.main(["doctor", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_config_prints_every_setting(capsys) -> None:
    assert commands.main(["config", "--preset", "paper", "merging.exponent=0.3"]) == 0
    config = json.loads(capsys.readouterr().out)
    assert config["output"]["box_convention"] == "inclusive"
    assert config["merging"]["exponent"] == 0.3
    assert commands.main(["config", "merging.exponnent=0.3"]) == 1
    assert "exponnent" in capsys.readouterr().err


def test_module_is_runnable(monkeypatch) -> None:
    result = subprocess.run([sys.executable, "-m", "no_time_to_train", "--version"], capture_output=True, text=True)
    assert result.stdout == f"nttt {__version__}\n"


def test_warnings_of_the_package_are_shown_once(monkeypatch, capsys) -> None:
    import logging

    def warn(options: SimpleNamespace) -> None:
        logging.getLogger("no_time_to_train.data").warning("look at this")

    monkeypatch.setattr("no_time_to_train.commands.doctor.run", warn)
    for _ in range(2):
        assert commands.main(["doctor"]) == 0
        assert capsys.readouterr().err == "look at this\n"
