"""Each adapter names its extra where the other program's package is missing."""

from __future__ import annotations

import importlib
import sys

import pytest

from no_time_to_train.errors import EnvironmentProblemError


@pytest.mark.parametrize(
    ("module", "blocked", "extra"),
    [
        ("cvat", "cvat_sdk", "cvat"),
        ("fiftyone", "fiftyone", "fiftyone"),
        ("autodistill", "autodistill", "autodistill"),
        ("label_studio_server", "starlette.applications", "app"),
        ("label_studio_server", "uvicorn", "app"),
    ],
)
def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, module: str, blocked: str, extra: str) -> None:
    full_name = f"no_time_to_train.adapters.{module}"
    importer = {"starlette.applications": "adapters.label_studio", "uvicorn": "web.serving"}.get(blocked)
    for name in (full_name, f"no_time_to_train.{importer}"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, blocked, None)
    with pytest.raises(EnvironmentProblemError, match=rf"pip install '\.\[{extra}\]'"):
        importlib.import_module(full_name)
