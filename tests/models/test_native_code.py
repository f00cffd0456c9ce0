from __future__ import annotations

import os
from pathlib import Path

import pytest

from no_time_to_train.errors import EnvironmentProblemError
from no_time_to_train.models import native_code
from no_time_to_train.models.native_code import find_compiler

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    # What other tests have loaded stays loaded.
    monkeypatch.setattr(native_code, "load_native", native_code.load_native.__wrapped__)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "number.h").write_text("constexpr int NUMBER = 7;")
    (folder / "code.cpp").write_text('#include "number.h"\nextern "C" int number() { return NUMBER; }')
    return folder / "code.cpp"


def libraries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "home/.cache/nttt/compiled").iterdir())


@needs_compiler
def test_compiled_once_and_again_when_a_header_changes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert native_code.load_native(source).number() == 7
    (kept,) = libraries(tmp_path)

    with monkeypatch.context() as patch:
        patch.setattr(native_code, "_compile", lambda *_: pytest.fail("it is there already"))
        assert native_code.load_native(source).number() == 7

    (source.parent / "number.h").write_text("constexpr int NUMBER = 8;")
    assert native_code.load_native(source).number() == 8
    assert kept in libraries(tmp_path) and len(libraries(tmp_path)) == 2


@needs_compiler
def test_a_home_that_cannot_be_written_to(source: Path, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    assert native_code.load_native(source).number() == 7


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has other permissions")
def test_nothing_is_loaded_from_a_folder_that_others_can_write_to(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "home/.cache/nttt/compiled"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert native_code.load_native(source).number() == 7
    assert libraries(tmp_path) == []


@needs_compiler
def test_a_user_without_a_home(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    assert native_code.load_native(source).number() == 7


@needs_compiler
def test_a_full_disk(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(native_code.tempfile, "TemporaryDirectory", full)
    with pytest.raises(EnvironmentProblemError, match="No space left"):
        native_code.load_native(source)


@needs_compiler
def test_what_the_compiler_says(source: Path, tmp_path: Path) -> None:
    source.write_text("no C++")
    with pytest.raises(EnvironmentProblemError, match=r"cannot compile code\.cpp: .*"):
        native_code.load_native(source)
    assert libraries(tmp_path) == []


def test_no_compiler(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        EnvironmentProblemError, match="no C.. compiler: .CXX is 'no-such-compiler'.*apt install.*unset CXX"
    ):
        native_code.load_native(source)


@needs_compiler
def test_a_compiler_may_have_arguments(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [compiler] = find_compiler() or ()
    launcher = tmp_path / "launcher with a space"
    launcher.write_text('#!/bin/sh\ntouch "$0.was-run"\nexec "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("CXX", f"'{launcher}' {compiler} -DUNUSED=1")
    assert find_compiler() == (str(launcher), compiler, "-DUNUSED=1")
    assert native_code.load_native(source).number() == 7
    assert launcher.with_name(f"{launcher.name}.was-run").exists()
    monkeypatch.setenv("CXX", str(launcher))  # a path with a space, as it is
    assert find_compiler() == (str(launcher),)


@pytest.mark.parametrize("command", ["no-such-launcher g++", "'half a quotation"])
def test_a_command_that_is_no_program(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", command)
    assert find_compiler() is None and repr(command) in native_code.describe_missing_compiler()


def test_other_processors_get_libraries_of_their_own(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = native_code._key(source, ["c++"])
    monkeypatch.setattr(native_code, "instruction_set", lambda: "another")
    assert native_code._key(source, ["c++"]) != here


def test_other_arguments_give_libraries_of_their_own(source: Path) -> None:
    keys = {native_code._key(source, command) for command in (["c++"], ["c++", "-g"], ["env", "c++"])}
    assert len(keys) == 3
