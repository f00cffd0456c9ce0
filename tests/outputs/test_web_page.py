from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from no_time_to_train.outputs.summary import ImageSummary, RunSummary
from no_time_to_train.outputs.web_page import write_web_page
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.structures import Category

NASTY = "</script><b>#1 & %.jpg"


def test_the_page_stands_alone_and_names_cannot_break_it(tmp_path: Path) -> None:
    summary = RunSummary((ImageSummary(NASTY, (9,), (0.87654,)),), (Category(9, "<boat>"),), MinScores(0.4))
    write_web_page(tmp_path / "index.html", summary, "overlays/{}".format)
    page = (tmp_path / "index.html").read_text()
    assert not re.search(r"https?://|src=\"|@\w+@", page)
    assert page.count("</script>") == 1
    run = json.loads(re.search(r"const run = (.*);\n", page).group(1))
    assert run["images"] == [
        {"name": NASTY, "overlay": "overlays/%3C/script%3E%3Cb%3E%231%20%26%20%25.jpg", "found": [[9, 0.877]]}
    ]
    assert run["categories"]["9"]["name"] == "<boat>"
    assert "<title>1 object in 1 image - No Time To Train</title>" in page


@pytest.mark.parametrize("num_images", [0, 1, 3])
def test_the_script_holds_every_image(tmp_path: Path, num_images: int) -> None:
    images = tuple(ImageSummary(f"{number}.jpg", (9, 9), (0.5, 0.25)) for number in range(num_images))
    write_web_page(
        tmp_path / "index.html", RunSummary(images, (Category(9, "boat"),), MinScores(0.4)), "overlays/{}".format
    )
    run = json.loads(re.search(r"const run = (.*);\n", (tmp_path / "index.html").read_text()).group(1))
    assert [image["name"] for image in run["images"]] == [f"{number}.jpg" for number in range(num_images)]
    assert all(image["found"] == [[9, 0.5], [9, 0.25]] for image in run["images"])
