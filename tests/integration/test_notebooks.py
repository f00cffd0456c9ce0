"""The notebooks run from top to bottom, and are committed without outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_of_a_run_is_committed(path: Path) -> None:
    assert code_cells(path)
    for cell in code_cells(path):
        assert cell["outputs"] == [] and cell["execution_count"] is None
        compile(source(cell), path.name, "exec")  # plain Python: no shell or notebook magic


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_installs(path: Path) -> None:
    first = code_cells(path)[0]
    assert first["metadata"]["tags"] == ["install"] and '"pip", "install"' in source(first)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_all_cells_run_in_order(path: Path, tmp_path: Path) -> None:
    script = "\n\n".join(map(source, code_cells(path)))
    finished = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert len(finished.stdout.splitlines()) >= 3, finished.stdout  # a few objects are found, and described
