from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.data.image_selection import ImageSelection
from no_time_to_train.errors import InputError, InputFileNotFoundError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders with an image of the same name, one of them with sub-folders, results and other files."""
    monkeypatch.chdir(tmp_path)
    for name in [
        *("one/a.jpg", "one/b.PNG", "one/notes.txt", "one/raw.cr2", "one/sub/c.jpg", "one/.hidden/x.jpg"),
        *("one/old_labeled/run.json", "one/old_labeled/overlays/a.jpg", "two/a.jpg", "two/photo[1].jpg"),
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names_of(*given: str) -> list[str]:
    selection = ImageSelection.of(given)
    return [path.relative_to(selection.root).as_posix() for path in selection.find().paths]


def test_one_folder_is_the_root_as_it_was_named(place: Path) -> None:
    selection = ImageSelection.of("one")
    assert (selection.root, selection.is_folder) == (Path("one"), True)
    assert names_of("one") == ["a.jpg", "b.PNG", "sub/c.jpg"]


def test_images_of_one_name_in_two_folders_stay_apart(place: Path) -> None:
    assert names_of("one/a.jpg", "two/a.jpg") == ["one/a.jpg", "two/a.jpg"]
    assert ImageSelection.of(["one/a.jpg", "two/a.jpg"]).root == place


@pytest.mark.parametrize(
    ("pattern", "root", "found"),
    [
        ("one/*.jpg", "one", ["a.jpg"]),
        ("one/**/*.jpg", "one", ["a.jpg", "sub/c.jpg"]),  # neither overlays of a run nor hidden folders
        ("one/*", "one", ["a.jpg", "b.PNG", "sub/c.jpg"]),  # folders like files, as where the shell expands it
        ("*/a.jpg", "", ["one/a.jpg", "two/a.jpg"]),
        ("two/photo[1].jpg", "two", ["photo[1].jpg"]),  # a file of that very name
        ("one/a.jpg", "one", ["a.jpg"]),
    ],
)
def test_patterns_and_files(place: Path, pattern: str, root: str, found: list[str]) -> None:
    selection = ImageSelection.of(pattern)
    assert (selection.root, selection.is_folder) == (place / root, False)
    assert names_of(pattern) == found


def test_the_root_does_not_depend_on_what_a_pattern_finds(place: Path) -> None:
    (place / "one/a.jpg").unlink()
    assert names_of("one/**/*.jpg") == ["sub/c.jpg"]


def test_an_image_named_twice_is_one(place: Path) -> None:
    assert names_of("one/a.jpg", "one/*.jpg", "one", "one/../one/a.jpg") == ["a.jpg", "b.PNG", "sub/c.jpg"]


def test_what_is_no_image_is_counted_and_said(place: Path) -> None:
    """The shell names such files where it expands ``one/*``; a pattern of our own passes over them."""
    found = ImageSelection.of(["one/a.jpg", "one/notes.txt", "one/raw.cr2", "one/old_labeled"]).find()
    assert found.left_out == (
        ("notes.txt", ".txt (no image)"),
        ("raw.cr2", ".cr2 (not a format that is read)"),
    )
    assert found.result_folders == ("old_labeled",)
    assert [name for name, _ in ImageSelection.of("one/*").find().left_out] == ["raw.cr2"]


def test_the_own_results_are_no_images(place: Path) -> None:
    found = ImageSelection.of("one/**/*.jpg").find(own=place / "one/old_labeled")
    assert [path.name for path in found.paths] == ["a.jpg", "c.jpg"] and found.result_folders == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["one/*.jpeg"], r"^one/\*\.jpeg matches nothing\. Name folders"),
        (["one/*.txt"], r"^one/\*\.txt matches no image \(found 1 \.txt\)"),
        (["one/a.jpg", "gone.jpg", "x*"], r"^2 of 3 names of images give none: gone\.jpg is neither .*; x\* matches"),
        (["one/notes.txt"], r"^none of 1 name is that of an image\. 1 file not read: 1 \.txt \(no image\)\."),
        (["gone"], r"^gone is neither a file nor a folder\."),
        ([], "name the images"),
    ],
)
def test_what_gives_no_image_is_one_error(place: Path, given: list[str], message: str) -> None:
    with pytest.raises((InputError, InputFileNotFoundError), match=message):
        ImageSelection.of(given).find()


def test_what_is_not_there_is_a_missing_file(place: Path) -> None:
    with pytest.raises(InputFileNotFoundError):
        ImageSelection.of("one/*.jpeg").find()
