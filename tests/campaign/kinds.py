"""What is done to which valid input, and the command that reads it."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from no_time_to_train.commands import main
from no_time_to_train.config import BenchConfig, Config
from no_time_to_train.models import weights
from no_time_to_train.settings import settings_of
from tests.campaign.changes import (
    Change,
    change_bytes,
    change_image,
    change_json,
    change_path,
    change_safetensors,
    change_text,
)
from tests.campaign.running import Case
from tests.campaign.world import EXPORTS, FAST, bench_arguments

COCO = (
    "images",
    "annotations",
    "categories",
    "images.*.id",
    "images.*.file_name",
    "images.*.height",
    "annotations.*.image_id",
    "annotations.*.category_id",
    "annotations.*.segmentation",
    "annotations.*.segmentation.*.*",
    "categories.*.id",
    "categories.*.name",
)
RESULTS = ("*.image_id", "*.category_id", "*.score", "*.bbox", "*.bbox.*", "*.segmentation.counts")
BOXES = ("*.image_id", "*.bbox", "*.bbox.*", "*.score")
_LABELED = ("*.json", "*.safetensors")
_RUN = ("*.json", "*.yaml", "*.csv", "*.jsonl")

_MODELS = "--preset demo --device cpu"
_FAST = " ".join(FAST)
_POINTS = f"{_MODELS} proposals.points_per_side=3"
_BENCH = "bench " + " ".join(bench_arguments())
_VERIFY = "data verify custom " + " ".join(word for word in bench_arguments() if word.startswith("benchmark."))
_LABEL = f"label photos --refs refs/annotations.json --out out {_FAST}"
_LABEL_BOXES = (
    f"label photos --refs refs/annotations.json --out out {_MODELS} output.threshold_images=0 "
    "proposals=boxes proposals.boxes.boxes_file=boxes.json"
)
_FIT = f"fit refs/annotations.json -o m.safetensors {_FAST}"
_PHOTOS = ("photos/a.png", "photos/sub/b.png")

Prepare = Callable[[Random], tuple[Change, list[str]]]
"""Changes something in the current folder; returns what, and the command line that reads it."""


def _json(file: str, required: Sequence[str], line: str) -> Prepare:
    def prepare(random: Random) -> tuple[Change, list[str]]:
        what, must_be_told = change_json(Path(file), random, required)
        return (f"{file}: {what}", must_be_told), line.split()

    return prepare


def _image(files: Sequence[str], line: str) -> Prepare:
    return lambda random: (change_image(Path(random.choice(files)), random), line.split())


def _unopened_image(random: Random) -> tuple[Change, list[str]]:
    """Change an image that is read only when its page is opened: at the start, its name alone can be told."""
    what, _ = change_image(Path("photos/a.png"), random)
    must_be_told = "not UTF-8" in what or "dead link" in what
    return (what, must_be_told), f"refs draw photos --no-browser {_MODELS}".split()


def _file_of(folder: str, patterns: Sequence[str], line: str) -> Prepare:
    """Change any file of a folder."""

    def prepare(random: Random) -> tuple[Change, list[str]]:
        found = sorted(path for pattern in patterns for path in Path(folder).rglob(pattern))
        return _change_by_suffix(random.choice([path for path in found if path.stat().st_size]), random), line.split()

    return prepare


def _change_by_suffix(path: Path, random: Random) -> Change:
    """Change a file of a kind; whether anything reads what was changed is not known."""
    if path.suffix == ".json" and random.random() < 0.7:
        what, _ = change_json(path, random)
    elif path.suffix == ".safetensors":
        what, _ = change_safetensors(path, random)
    elif path.suffix in (".txt", ".xml", ".yaml", ".csv") and random.random() < 0.7:
        what, _ = change_text(path, random)
    else:
        what, _ = change_bytes(path, random)
    return f"{path}: {what}", False


def _memory(random: Random) -> tuple[Change, list[str]]:
    change = change_safetensors(Path("memory.safetensors"), random)
    return change, f"label photos --memory memory.safetensors --out out {_FAST}".split()


def _weights(random: Random) -> tuple[Change, list[str]]:
    """Change the demo's encoder or mask model, given as somebody's own weights."""
    model, name = random.choice([("encoder", "dinov2_demo"), ("encoder", "dinov2_demo"), ("mask_model", "sam2_demo")])
    folder = Path("weights") / name
    if model == "encoder" and random.random() < 0.5:
        change = _change_network_settings(folder / "config.json", random)
    else:
        change = change_safetensors(folder / "model.safetensors", random)
    return change, f"{_LABEL} {model}.weights={folder}".split()


def _own_weights(command: str) -> Prepare:
    """Damage a file of the demo models, which ``own-weights`` then takes from here."""

    def prepare(random: Random) -> tuple[Change, list[str]]:
        folder = Path("weights") / random.choice(["dinov2_demo", "sam2_demo"])
        file = random.choice(sorted(path for pattern in _LABELED for path in folder.glob(pattern)))
        line = ["own-weights", *command.split()]
        if random.random() < 0.2:
            return (change_path(file, random), True), line
        return (_change_network_settings if file.suffix == ".json" else change_safetensors)(file, random), line

    return prepare


def _doctor(random: Random) -> tuple[Change, list[str]]:
    """Damage weights; whether they can be loaded is not what the doctor looks at."""
    (what, _), line = _own_weights("doctor")(random)
    return (what, False), line


def _detector(random: Random) -> tuple[Change, list[str]]:
    file = Path("weights/detector") / random.choice(["config.json", "preprocessor_config.json", "model.safetensors"])
    change = (_change_network_settings if file.suffix == ".json" else change_safetensors)(file, random)
    sources = "proposals=boxes proposals.boxes.detector=weights/detector"
    return change, f"propose photos --out out {_MODELS} {sources}".split()


def _change_network_settings(file: Path, random: Random) -> Change:
    content = json.loads(file.read_text())
    if random.random() < 0.4:
        return f"{file}: {change_json(file, random)[0]}", False
    key = random.choice([key for key, value in content.items() if isinstance(value, int | float | list)])
    odd = [0, -1, 10**6, 10**9, 10**18, 1e300, float("nan"), None, "x", [], {}, True, [10**9, 10**9]]
    content[key] = random.choice(odd)
    file.write_text(json.dumps(content))
    return f"{file}: {key} = {content[key]}", False


def _convert(random: Random) -> tuple[Change, list[str]]:
    line = "weights convert weights/{} -o out.safetensors"
    if random.random() < 0.2:
        return ("an image", True), line.format("image.png").split()
    return change_bytes(Path("weights/small.pt"), random), line.format("small.pt").split()


def _format(random: Random) -> tuple[Change, list[str]]:
    """Change references in a format other than COCO."""
    folder = f"as_{random.choice(EXPORTS)}"
    return _file_of(folder, ("*.txt", "*.xml", "*.json", "*.yaml"), f"fit {folder} -o m.safetensors {_FAST}")(random)


_VALUES = (
    *(
        "nan",
        "inf",
        "-1",
        "-1e400",
        "null",
        "[]",
        "{}",
        "''",
        "abc",
        "${oops}",
        "x=y",
        "[[1],{a:b}]",
        "\u00ed\u00a0\u0080",
    ),
    *("0", "1e9", "1" + "0" * 22, "true", "0.5", "???", "${env:HOME}"),
)
_NO_NUMBERS = ("abc", "[]", "{}", "x=y", "nan", "''")
_NEVER = ("[[1],{a:b}]", "${oops}")


def _setting(random: Random, config: object) -> Change:
    """Choose a setting with an odd value, ``key=value``."""
    setting = random.choice([setting for setting in settings_of(config) if "." in setting.key])
    key = setting.key
    if random.random() < 0.2:
        return random.choice([f"{key}x", key.upper(), f"+{key}", f"~{key}", f"{key}.x"]) + "=1", True
    value = random.choice(_VALUES)
    is_number = setting.type.split(" ")[0] in ("int", "float", "bool")
    return f"{key}={value}", value in _NEVER or (is_number and value in _NO_NUMBERS)


def _settings(config: object, line: str) -> Prepare:
    def prepare(random: Random) -> tuple[Change, list[str]]:
        change = _setting(random, config)
        key = change[0].split("=")[0]
        return change, [*(word for word in line.split() if word.split("=")[0] != key), change[0]]

    return prepare


_NAMES = ("nowhere", "", "/dev/null", "/proc/self/mem", "..", "\udce9", "photos", "x" * 300, "~nobody", "*", "[")
_NAMED = (
    f"label @ --refs refs/annotations.json --out out {_FAST}",
    f"label photos --refs @ --out out {_FAST}",
    f"label photos --memory @ --out out {_FAST}",
    f"label photos --ref @:boat:1,2,30,40 --out out {_FAST}",
    "eval predictions.json --gt @",
    "eval @ --gt gt.json",
    "export @ --to coco",
    "export labeled --to @",
    "report @",
    "data verify @",
    "weights convert @",
    "weights verify @",
    f"fit @ -o m.safetensors {_FAST}",
    f"refs check @ {_FAST}",
    "review @ --no-browser",
    "refs draw @ --no-browser",
    f"track @ --memory memory.safetensors {_FAST}",
    f"compare-proposals --annotations @ {_MODELS}",
    "doctor @",
    "config --explain @",
)
_FLAG_VALUES = (
    "nan",
    "-1",
    "inf",
    "1e400",
    "",
    "boat",
    "boat=",
    "=1",
    "boat=x",
    "boat=0.5,boat=0.6",
    "0,0,0",
    "9" * 400,
)
_FLAGGED = (
    f"{_LABEL} --min-score @",
    f"{_LABEL} --classes @",
    f"{_LABEL} --limit @",
    f"label photos --ref refs/r.png:boat:@,2,30,40 --out out {_FAST}",
    f"label photos --ref @ --out out {_FAST}",
    "export labeled --to yolo --out o --val-share @",
    "export labeled --to yolo --out o --min-score @",
    "eval predictions.json --gt gt.json --no-drawings --classes @",
    f"track frames --memory memory.safetensors --out out {_FAST} --every @",
    f"track frames --memory memory.safetensors --out out {_FAST} --max-frames @",
    f"compare-proposals --annotations gt.json --images photos --out o {_MODELS} --sources @",
    f"compare-proposals --limit 1 --out o {_MODELS} --shots @",
    "review labeled --no-browser --port @",
    "label photos --refs refs/annotations.json --preset demo --device @",
    "label photos --refs refs/annotations.json --preset @",
)


def _words(lines: Sequence[str], values: Sequence[str]) -> Prepare:
    """Put an odd value for @ in a command line."""

    def prepare(random: Random) -> tuple[Change, list[str]]:
        line, value = random.choice(lines), random.choice(values)
        return (f"{line[:60]} with {value!r:.60}", False), [word.replace("@", value) for word in line.split()]

    return prepare


def _archive(random: Random) -> tuple[Change, list[str]]:
    """Write a damaged or hostile archive."""
    name = random.choice(["a.zip", "a.tar", "a.tar.gz"])
    names = ["a/b.txt", "a/b.txt", "../out.txt", "/tmp/out.txt", "a\\..\\b", "caf\u00e9/" + "x" * 300, "c:/x", "a/\n"]
    member = random.choice(names)
    if name == "a.zip":
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr(member, "x" * 2000)
    else:
        with tarfile.open(name, "w:gz" if name.endswith("gz") else "w") as archive:
            info = tarfile.TarInfo(member)
            info.type = random.choice([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.LNKTYPE])
            info.linkname = "/etc/passwd"
            archive.addfile(info)
    line = ["unpack", name]
    if random.random() < 0.6:
        return change_bytes(Path(name), random), line
    if name == "a.zip" and random.random() < 0.5:
        data = bytearray(Path(name).read_bytes())
        data[6] |= 1  # the mark of encryption, beside the member and in the directory
        data[data.rfind(b"PK\1\2") + 8] |= 1
        Path(name).write_bytes(bytes(data))
        return ("an encrypted member", True), line
    return (f"{name} with {member[:20]!r}", member.startswith(("..", "/"))), line


KINDS: dict[str, tuple[int, Prepare]] = {
    "label images": (60, _image(_PHOTOS, _LABEL)),
    "label references": (50, _json("refs/annotations.json", COCO, _LABEL)),
    "label reference images": (24, _image(["refs/r.png"], _LABEL)),
    "label memory": (50, _memory),
    "label weights": (60, _weights),
    "label settings": (50, _settings(Config(), _LABEL)),
    "label again": (40, _file_of("labeled", _LABELED, _LABEL.replace("--out out", "--out labeled"))),
    "label boxes": (40, _json("boxes.json", BOXES, _LABEL_BOXES)),
    "propose images": (24, _image(_PHOTOS, f"propose photos --method grid --out out {_POINTS}")),
    "propose detector": (40, _detector),
    "track frames": (24, _image(["frames/1.png"], f"track frames --memory memory.safetensors --out out {_FAST}")),
    "fit references": (30, _json("refs/annotations.json", COCO, _FIT)),
    "fit formats": (60, _format),
    "refs check": (30, _json("refs/annotations.json", COCO, f"refs check refs/annotations.json {_POINTS}")),
    "refs draw": (24, _unopened_image),
    "review": (40, _file_of("labeled", _LABELED, f"review labeled --no-browser {_MODELS}")),
    "eval truth": (80, _json("gt.json", COCO, "eval predictions.json --gt gt.json --no-drawings")),
    "eval predictions": (
        80,
        _json("predictions.json", RESULTS, "eval predictions.json --gt gt.json --no-drawings"),
    ),
    "eval folder": (24, _file_of("labeled", _LABELED, "eval labeled --gt gt.json")),
    "export folder": (40, _file_of("labeled", _LABELED, "export labeled --to yolo --out out")),
    "export file": (40, _json("gt.json", COCO, "export gt.json --images photos --to voc --out out")),
    "bench truth": (40, _json("gt.json", COCO, _BENCH)),
    "bench references": (24, _json("refs/annotations.json", COCO, _BENCH)),
    "bench images": (24, _image([*_PHOTOS, "refs/r.png"], _BENCH)),
    "bench settings": (40, _settings(BenchConfig(), _BENCH)),
    "bench again": (40, _file_of("runs", _RUN, f"{_BENCH} runs=runs")),
    "report": (40, _file_of("runs", _RUN, "report runs")),
    "data verify": (60, _json("gt.json", COCO, _VERIFY)),
    "data verify images": (24, _image(_PHOTOS, _VERIFY)),
    "data archives": (60, _archive),
    "weights convert": (40, _convert),
    "weights verify": (40, _own_weights("weights verify dinov2_demo sam2_demo")),
    "doctor of weights": (12, _doctor),
    "compare-proposals": (
        24,
        _json(
            "gt.json",
            COCO,
            f"compare-proposals --annotations gt.json --images photos --sources point_grid --out out {_POINTS}",
        ),
    ),
    "config": (100, _settings(Config(), "config")),
    "names": (60, _words(_NAMED, _NAMES)),
    "flags": (60, _words(_FLAGGED, _FLAG_VALUES)),
}
"""By name: how many cases, and what prepares one."""

_USUAL = {"config": "config", "label settings": _LABEL, "bench settings": _BENCH}
_SAYING_ANYTHING = ("names", "flags", "data archives")
"""Kinds without a valid line, whose odd values cannot be printed at times."""
_WORD = re.compile(r"[A-Za-z_]{3,}")


def make_case(kind: str, seed: int) -> Case:
    """Prepare a case in the current folder, a copy of the world."""
    (what, must_be_told), line = KINDS[kind][1](Random(f"{kind} {seed}"))
    names = () if kind in _SAYING_ANYTHING else (*_WORD.findall(what), "annotation", "categor", "image", "reference")
    return Case(kind, seed, what, lambda: run_line(line), must_be_told, names)


def valid_line(kind: str) -> list[str]:
    """Return a command line of a kind that reads the valid world; empty where it holds the odd itself."""
    if kind in _USUAL:
        return _USUAL[kind].split()
    return [] if kind in _SAYING_ANYTHING else KINDS[kind][1](Random(0))[1]


def run_line(line: list[str]) -> int:
    """Run a command line, or what stands for one."""
    if line[0] == "unpack":
        return _unpack(line[1])
    if line[0] == "own-weights":
        weights.demo_data_folder = lambda: Path("weights")
        return main(line[1:])
    return main(line)


def _unpack(name: str) -> int:
    """Unpack an archive as ``data prepare`` does, and print errors as commands do."""
    from no_time_to_train.data.downloads import unpack
    from no_time_to_train.errors import NoTimeToTrainError

    try:
        unpack(Path(name), Path("unpacked"))
    except NoTimeToTrainError as error:
        print(error)
        return error.exit_code
    return 0
