from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from no_time_to_train.files import formats as atomic_files


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "sub/file.txt"
    atomic_files.write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_files.replacing(path) as unfinished:
        unfinished.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("entries", [[], [1], [{"a": "ü"}, {"b": [1, 2]}]])
def test_json_list(entries: list) -> None:
    file = io.StringIO()
    atomic_files.write_json_list(file, iter(entries))
    assert json.loads(file.getvalue()) == entries
    assert len(file.getvalue().splitlines()) == (1 if not entries else len(entries) + 2)


def test_yaml_reads_back_with_and_without_libyaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"z": {"names": ["ü", "no", "1e5", "a: b"], "nothing": None, "text": "word " * 40}, "a": [], "b": 1e-6}
    atomic_files.write_yaml(tmp_path / "fast.yaml", content)
    monkeypatch.delattr(yaml, "CSafeDumper", raising=False)
    atomic_files.write_yaml(tmp_path / "plain.yaml", content)
    assert (tmp_path / "fast.yaml").read_bytes() == (tmp_path / "plain.yaml").read_bytes()
    read = yaml.safe_load((tmp_path / "plain.yaml").read_text(encoding="utf-8"))
    assert read == content and list(read) == ["z", "a", "b"]


def test_csv_quotes_what_needs_it(tmp_path: Path) -> None:
    atomic_files.write_csv(tmp_path / "t.csv", ("image", "problem"), [('a, "b".jpg', "two\nlines")])
    assert (tmp_path / "t.csv").read_bytes() == b'image,problem\n"a, ""b"".jpg","two\nlines"\n'


def test_jpeg_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    for name in ("a.jpg", "b.jpg"):
        atomic_files.write_jpeg(tmp_path / name, picture)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
