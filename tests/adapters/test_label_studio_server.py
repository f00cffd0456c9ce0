from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from no_time_to_train.adapters import label_studio_server
from no_time_to_train.commands import main
from tests.adapters.test_label_studio import FakeLabeler


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The applications that would be served."""
    apps: list[Any] = []
    monkeypatch.setattr(label_studio_server, "serve", lambda app, listener: apps.append(app))
    monkeypatch.setattr(label_studio_server, "MemoryLabeler", lambda memory, **settings: FakeLabeler())
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_USER", "BASIC_AUTH_PASS"):
        monkeypatch.delenv(name, raising=False)
    return apps


def serve(line: str = "") -> int:
    return main(f"serve label-studio --memory boats.safetensors {line}".split())


def test_the_address_is_printed(served: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert serve("--port 39481") == 0
    assert "http://127.0.0.1:39481" in capsys.readouterr().out
    assert TestClient(served[0], base_url="http://localhost").get("/health").status_code == 200


def test_others_are_let_in_with_a_password_only(
    served: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve("--host 0.0.0.0 --port 39482") == 1
    assert "--host 0.0.0.0 lets other machines in" in capsys.readouterr().err
    monkeypatch.setenv("BASIC_AUTH_USER", "me")
    assert serve("--port 39482") == 1
    assert "or none" in capsys.readouterr().err
    monkeypatch.setenv("BASIC_AUTH_PASS", "secret")
    assert serve("--host 0.0.0.0 --port 39482") == 0
    assert TestClient(served[0]).get("/health").status_code == 401


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("--images nowhere", "nowhere: no such folder"),
        ("--label-studio-url localhost:8080", "no address to read"),
        ("--image-host example.org", "no address to read"),
        ("--host 203.0.113.7", "lets other machines in"),
    ],
)
def test_bad_input_is_said_before_models_are_loaded(
    served: list[Any], capsys: pytest.CaptureFixture[str], line: str, problem: str
) -> None:
    assert serve(line) == 1
    assert problem in capsys.readouterr().err and served == []


def test_a_memory_is_needed(tmp_path: Path) -> None:
    assert main(["serve", "label-studio"]) == 2
