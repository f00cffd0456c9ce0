"""The page of all settings follows the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.commands import main
from no_time_to_train.commands.config import PAGE_INTRODUCTION
from no_time_to_train.config import BenchConfig
from no_time_to_train.settings import settings_of
from no_time_to_train.settings.reference import settings_page

PAGE = Path(__file__).parents[2] / "docs/settings.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(BenchConfig(), PAGE_INTRODUCTION), (
        "run `make settings-doc`"
    )


def test_the_page_has_every_setting() -> None:
    text = settings_page(BenchConfig(), PAGE_INTRODUCTION)
    for setting in settings_of(BenchConfig()):
        section, _, name = setting.key.rpartition(".")
        part = text.split(f"\n## `{section}`\n" if section else "\n## At the top\n")[1].split("\n## ")[0]
        assert f"\n| `{name}` |" in part, setting.key


def test_explaining(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--explain", "merging.hard", "merging=hard", "merging.hard.ios_threshold=0.8"]) == 0
    assert capsys.readouterr().out.startswith(
        "merging.hard.ios_threshold=0.8\n    number from 0 to 1 (default 1). A mask"
    )
    assert main(["config", "--explain", "merging.exponent", "--preset", "paper"]) == 0
    assert main(["config", "--explain"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{setting.key}=" in f"\n{printed}" for setting in settings_of(BenchConfig()))
    assert "Not in use: it is used with merging=graph_diffusion, and here is merging=semantic_soft." in printed
    assert main(["config", "--explain", "mergin"]) == 1
    assert "mergin: no such setting or section. Did you mean 'merging'" in capsys.readouterr().err
