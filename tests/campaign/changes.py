"""Valid files made malformed or odd, by a seed."""

from __future__ import annotations

import copy
import io
import json
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from tests.mutations import places

NEVER_VALID: tuple[Any, ...] = (float("nan"), float("inf"), [[[]]], {"a": {"b": 1}}, [None, "x"])
"""Wrong in place of every number and text."""
ODD: tuple[Any, ...] = (
    *NEVER_VALID,
    None,
    True,
    0,
    -1,
    0.5,
    10**400,
    -(10**30),
    2**63,
    1e308,
    "",
    "x",
    "..",
    "../../a",
    "\ud800",
    "a\0b",
    "o" * 5000,
    "d1\u00e9\U0001f6a2",
    [],
    {},
    [1, 2],
)

_COMPLETED = ("segmentation", "bbox", "height")
"""What a reader of COCO files makes of the rest where it is missing."""

Change = tuple[str, bool]
"""What was done, and whether the result is invalid for certain."""


def change_json(path: Path, random: Random, required: Sequence[str] = ()) -> Change:
    """Change a JSON file; ``required`` has the places, like ``images.*.file_name``, whose values must be right."""
    content = json.loads(path.read_text())
    if random.random() < 0.2:
        return _change_bytes_of_json(path, random)
    changed, change = change_tree(content, random, required)
    path.write_text(json.dumps(changed))
    return change


def change_tree(content: Any, random: Random, required: Sequence[str] = ()) -> tuple[Any, Change]:
    """Change a JSON tree."""
    content = copy.deepcopy(content)
    spots = [spot for pattern in required for spot in _spots(content, pattern.split("."))]
    if spots and random.random() < 0.5:
        container, key, name = random.choice(spots)
        if random.random() < 0.2 and isinstance(container, dict):
            del container[key]
            return content, (f"{name} removed", key not in _COMPLETED)
        container[key] = copy.deepcopy(random.choice(NEVER_VALID))
        return content, (f"{name} = {container[key]!r}", True)
    container, key = random.choice(places(content))
    kind = random.choice(["replace", "replace", "replace", "remove", "repeat", "nest"])
    if kind == "replace":
        container[key] = copy.deepcopy(random.choice(ODD))
    elif kind == "nest":
        container[key] = [copy.deepcopy(container[key])]
    elif kind == "remove":
        del container[key]
        return content, (f"{key} removed", False)
    elif isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    return content, (f"{kind} {key}: {str(container[key])[:60]}", False)


def change_bytes(path: Path, random: Random) -> Change:
    """Change the bytes of any file."""
    whole = path.read_bytes()
    kind = random.choice(["empty", "truncated", "flipped", "inserted", "random", "zeros"])
    position = random.randrange(max(len(whole), 1))
    changed = {
        "empty": b"",
        "truncated": whole[:position],
        "flipped": whole[:position] + bytes([whole[position] ^ 1 << random.randrange(8)]) + whole[position + 1 :],
        "inserted": whole[:position] + random.randbytes(9) + whole[position:],
        "random": random.randbytes(len(whole)),
        "zeros": bytes(len(whole)),
    }[kind]
    path.write_bytes(changed)
    return f"{path.name} {kind} at {position}", kind in ("empty", "random", "zeros")


def _change_bytes_of_json(path: Path, random: Random) -> Change:
    text = path.read_text()
    kind = random.choice(
        ["deep list", "deep object", "truncated", "empty", "utf-16", "latin-1", "digits", "two", "no json"]
    )
    changed = {
        "deep list": b"[" * 100_000 + b"]" * 100_000,
        "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "truncated": text.encode()[: random.randrange(len(text) - 2)],
        "empty": b"",
        "utf-16": text.encode("utf-16"),
        "latin-1": b'{"a": "\xe9"}',
        "digits": b"1" * 5000,
        "two": text.encode() * 2,
        "no json": b"<html>404</html>",
    }[kind]
    path.write_bytes(changed)
    return f"{path.name}: {kind}", True


def change_path(path: Path, random: Random) -> str:
    """Put nothing, a link to nothing or a folder in place of a file; return which."""
    path.unlink()
    kind = random.choice(["removed", "dead link", "folder"])
    if kind == "dead link":
        path.symlink_to("nowhere")
    elif kind == "folder":
        path.mkdir()
    return f"{path.name} {kind}"


def change_text(path: Path, random: Random) -> Change:
    """Change a text file of lines and numbers, such as YOLO's, VOC's or CVAT's."""
    text = path.read_text()
    if random.random() < 0.3:
        return change_bytes(path, random)[0], False
    numbers = [(i, token) for i, token in enumerate(text.split(" ")) if any(c.isdigit() for c in token)]
    tokens = text.split(" ")
    index = random.choice(numbers)[0] if numbers else random.randrange(len(tokens))
    tokens[index] = random.choice(["nan", "inf", "-1", "1e400", "", "x", "9" * 400, "<", "&#0;", "[", '"'])
    path.write_text(" ".join(tokens))
    return f"{path.name}: word {index} = {tokens[index][:20]!r}", False


def change_image(path: Path, random: Random) -> Change:
    """Put another image, or none, in place of an image file."""
    image = Image.open(path).convert("RGB")
    kind = random.choice([*_IMAGES])
    must_be_told, make = _IMAGES[kind]
    target = make(path, image, random)
    return f"{path.name}: {kind}{'' if target is None else f' {target!r}'}", must_be_told


def _encode(image: Image.Image, file_format: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **settings)
    return buffer.getvalue()


def _saved(file_format: str, mode: str | None = None, **settings: Any) -> Callable[..., None]:
    def save(path: Path, image: Image.Image, random: Random) -> None:
        path.write_bytes(_encode(image if mode is None else image.convert(mode), file_format, **settings))

    return save


def _written(make: Callable[[bytes, Random], bytes]) -> Callable[..., None]:
    def write(path: Path, image: Image.Image, random: Random) -> None:
        path.write_bytes(make(path.read_bytes(), random))

    return write


def _wide_png(path: Path, image: Image.Image, random: Random) -> None:
    """A header of 100,000 x 100,000 pixels."""
    import zlib

    data = bytearray(_encode(image, "PNG"))
    data[16:24] = struct.pack(">II", 100_000, 100_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(bytes(data))


def _sixteen_bits(path: Path, image: Image.Image, random: Random) -> None:
    pixels = np.asarray(image.convert("L"), np.uint16) * 257
    path.write_bytes(_encode(Image.fromarray(pixels), "PNG"))


def _floats(path: Path, image: Image.Image, random: Random) -> None:
    path.write_bytes(_encode(Image.fromarray(np.asarray(image.convert("L"), np.float32)), "TIFF"))


def _sized(width: int, height: int) -> Callable[..., None]:
    def save(path: Path, image: Image.Image, random: Random) -> None:
        path.write_bytes(_encode(image.resize((width, height)), "PNG"))

    return save


def _animation(path: Path, image: Image.Image, random: Random) -> None:
    path.write_bytes(_encode(image, "GIF", save_all=True, append_images=[image.rotate(90)]))


def _exif(path: Path, image: Image.Image, random: Random) -> None:
    path.write_bytes(_encode(image, "JPEG", exif=b"Exif\0\0" + random.randbytes(40)))


def _folder(path: Path, image: Image.Image, random: Random) -> None:
    path.unlink()
    path.mkdir()


def _dead_link(path: Path, image: Image.Image, random: Random) -> None:
    path.unlink()
    path.symlink_to("nowhere.png")


def _renamed(path: Path, image: Image.Image, random: Random) -> str:
    name = random.choice(
        [
            "a b.png",
            "a\nb.png",
            "-o.png",
            "\U0001f6a2.png",
            "%s%n.png",
            "a#b?.png",
            "'\".png",
            "$(x).png",
            "é.PNG",
            "e\u0301.png",
        ]
    )
    path.rename(path.with_name(name))
    return name


def _no_utf8(path: Path, image: Image.Image, random: Random) -> None:
    os.rename(path, os.fsencode(path.parent) + b"/caf\xe9.png")


_IMAGES: dict[str, tuple[bool, Callable[..., str | None]]] = {
    "truncated": (True, _written(lambda data, random: data[: random.randrange(40, len(data) // 2)])),
    "empty": (True, _written(lambda data, random: b"")),
    "zeros": (True, _written(lambda data, random: bytes(len(data)))),
    "text": (True, _written(lambda data, random: b"<html>404</html>")),
    "random": (True, _written(lambda data, random: random.randbytes(500))),
    "bomb": (True, _wide_png),
    "floats": (True, _floats),
    "name not UTF-8": (True, _no_utf8),
    "dead link": (True, _dead_link),
    "folder": (False, _folder),
    "animation": (True, _animation),
    "16 bits": (False, _sixteen_bits),
    "CMYK": (False, _saved("JPEG", "CMYK")),
    "palette": (False, _saved("PNG", "P")),
    "bilevel": (False, _saved("PNG", "1")),
    "gray with alpha": (False, _saved("PNG", "LA")),
    "JPEG": (False, _saved("JPEG")),
    "WEBP": (False, _saved("WEBP")),
    "ICO": (False, _saved("ICO")),
    "progressive": (False, _saved("JPEG", progressive=True)),
    "broken EXIF": (False, _exif),
    "one pixel": (False, _sized(1, 1)),
    "strip": (False, _sized(2000, 1)),
    "name": (False, _renamed),
}


_NOT_FINITE = {
    "F32": {"nan": b"\0\0\xc0\x7f", "inf": b"\0\0\x80\x7f"},
    "F16": {"nan": b"\0\x7e", "inf": b"\0\x7c"},
    "BF16": {"nan": b"\xc0\x7f", "inf": b"\x80\x7f"},
}


def change_safetensors(path: Path, random: Random) -> Change:
    """Change the header or the numbers of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    names = [name for name in header if name != "__metadata__"]
    floats = [name for name in names if header[name]["dtype"] in _NOT_FINITE and 0 not in header[name]["shape"]]
    name = random.choice(names)
    kind = random.choice(["bytes", "length", "tree", "dtype", "shape", "offsets", "removed", "renamed", "nan", "inf"])
    must_be_told = True
    if kind == "bytes":
        return change_bytes(path, random)
    if kind == "tree":
        header, (what, _) = change_tree({key: value for key, value in header.items()}, random)
        kind, must_be_told = f"tree: {what}", False
    elif kind == "length":
        length = random.choice([0, 1, 2**63, 2**40, length - 1, length + 1, len(data)])
        path.write_bytes(struct.pack("<Q", length) + data[8:])
        return f"{path.name}: header of {length}", True
    elif kind in ("dtype", "shape", "offsets"):
        entry = header[name]
        if kind == "dtype":
            entry["dtype"] = random.choice(["F64", "I8", "Q7", "BOOL", "", 3])
        elif kind == "shape":
            entry["shape"] = random.choice([[], [0], [-1], [10**12], [10**9, 10**9, 10**9], "x", None, [2, 2, 2, 2, 2]])
        else:
            entry["data_offsets"] = random.choice([[0, 0], [5, 1], [-4, 4], [0, 10**15], [], None])
    elif kind == "removed":
        del header[name]
    elif kind == "renamed":
        header["other"] = header.pop(name)
    else:
        entry = header[random.choice(floats)]
        value = _NOT_FINITE[entry["dtype"]][kind]
        start, end = entry["data_offsets"]
        spot = start + len(value) * random.randrange((end - start) // len(value))
        body[spot : spot + len(value)] = value
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(body))
    return f"{path.name}: {kind} {name}", must_be_told


def _spots(content: Any, pattern: Sequence[str], name: str = "") -> list[tuple[Any, Any, str]]:
    """Every (container, key, name) that a pattern matches."""
    first, *rest = pattern
    if isinstance(content, dict):
        keys: list[Any] = list(content) if first == "*" else [first] * (first in content)
    else:
        keys = list(range(len(content))) if first == "*" and isinstance(content, list) else []
    found = []
    for key in keys:
        here = f"{name}.{key}".lstrip(".")
        found += _spots(content[key], rest, here) if rest else [(content, key, here)]
    return found
