from __future__ import annotations

import threading

import pytest

from no_time_to_train.commands import console


@pytest.mark.parametrize("is_terminal", [True, False])
def test_says_what_it_does_once_it_takes_long_on_a_terminal(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console.sys.stderr, "isatty", lambda: is_terminal)
    monkeypatch.setattr(console, "_PATIENCE_SECONDS", 0.0)
    with console.said_if_slow("Exporting"):
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join()
    assert capsys.readouterr() == ("", "Exporting ...\n" if is_terminal else "")


def test_says_nothing_where_something_else_is_printed_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console.sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(console, "_PATIENCE_SECONDS", 60.0)
    with console.said_if_slow("Loading") as end_waiting:
        end_waiting()
        [timer] = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
        timer.join()
    assert capsys.readouterr() == ("", "")
