"""The reference pages say everything that the code offers, and the examples of the docs run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import no_time_to_train as ntt
from no_time_to_train.commands import VERBS
from tools import site_pages

DOCS = Path(__file__).parents[2] / "docs"


def test_every_public_name_is_in_the_api() -> None:
    page = site_pages.api_page()
    for name in set(ntt.__all__) - {"__version__"}:
        assert re.search(rf"^::: no_time_to_train\.[\w.]+\.{name}$", page, re.MULTILINE), name


def test_every_command_and_its_flags_are_listed() -> None:
    page = site_pages.commands_page()
    for verb in VERBS:
        assert f"## nttt {verb}\n" in page
    assert "### nttt weights list\n" in page
    assert "| `--min-score S` |" in page and "SUPPRESS" not in page


def test_every_page_is_in_the_navigation() -> None:
    text = (DOCS.parent / "mkdocs.yml").read_text()
    for page in DOCS.rglob("*.md"):
        assert f" {page.relative_to(DOCS).as_posix()}\n" in text, page


@pytest.mark.slow
def test_the_examples_of_extending_run() -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / "extending.md").read_text(), re.DOTALL):
        exec(compile(block, "extending.md", "exec"), names)
    benchmark = ntt.load_references(names["images"]("train").annotations, images=names["images"]("train").images)
    references = ntt.ReferenceSet(benchmark.categories, benchmark.instances[:20])
    path = sorted(names["images"]("test").images.glob("*.jpg"))[3]
    for segmenter in (names["of_colors"], names["of_few_points"]):
        detections = segmenter.segment(path, segmenter.build_memory(references))
        assert len(detections) > 0
