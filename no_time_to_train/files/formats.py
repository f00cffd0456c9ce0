"""Text, tables and images, each written as a whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from no_time_to_train.files.atomic import replacing

_JPEG_QUALITY = 88
_encode = json.JSONEncoder(ensure_ascii=False).encode  # made once: ``json.dumps`` makes one for every call


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file as a whole or not at all."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any, *, indent: int | None = 2) -> None:
    """Write indented JSON, for people to read."""
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=False) + "\n")


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write YAML, for people to read; keys stay in their order."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast, where PyYAML was built with libyaml
    write_text(path, yaml.dump(dict(content), Dumper=dumper, sort_keys=False, allow_unicode=True))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file with a header; rows are written as they come."""
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 RGB image."""
    with replacing(path) as unfinished:
        Image.fromarray(image).save(unfinished, format="JPEG", quality=_JPEG_QUALITY)


class JsonListWriter:
    """Writes a JSON list with one entry per line as the entries come: it never is in memory as a whole."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._separator = "[\n"

    def append(self, entry: Any) -> None:
        """Write an entry."""
        self._file.write(self._separator + _encode(entry))
        self._separator = ",\n"

    def end(self) -> None:
        """Close the list."""
        self._file.write("\n]" if self._separator == ",\n" else "[]")


def write_json_list(file: TextIO, entries: Iterable[Any]) -> None:
    """Write a JSON list with one entry per line.

    It is written as the entries come and never is in memory as a whole.
    """
    writer = JsonListWriter(file)
    for entry in entries:
        writer.append(entry)
    writer.end()
