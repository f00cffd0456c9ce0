from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tools.release import absolute_links, with_urls

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://example.org/owner/name"


def test_links_of_the_readme_hold_outside_the_repository() -> None:
    text = absolute_links((ROOT / "README.md").read_text(), REPOSITORY, "v1.2.3")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert targets and all(target.startswith(("https://", "#")) for target in targets)
    for target in targets:
        if target.startswith(REPOSITORY):
            path = re.sub(r"^/(blob|raw)/v1\.2\.3/", "", target.removeprefix(REPOSITORY))
            assert (ROOT / path.partition("#")[0]).exists(), f"README.md names {path}, which is not there"


def test_images_and_pages_lead_to_their_tag() -> None:
    text = "![a](x.gif) [b](y.md#z) [c](https://w.org) [d](#e) [![f](g.svg)](h.md)"
    assert absolute_links(text, REPOSITORY, "v1").split(" ")[:4] == [
        f"![a]({REPOSITORY}/raw/v1/x.gif)",
        f"[b]({REPOSITORY}/blob/v1/y.md#z)",
        "[c](https://w.org)",
        "[d](#e)",
    ]


def test_urls_are_added_once_released() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert "Repository" not in tomllib.loads(text)["project"]["urls"]
    urls = tomllib.loads(with_urls(text, REPOSITORY))["project"]["urls"]
    assert urls["Repository"] == REPOSITORY and urls["Issues"] == f"{REPOSITORY}/issues" and "Paper" in urls
    with pytest.raises(ValueError, match="project.urls"):
        with_urls("[project]\n", REPOSITORY)
