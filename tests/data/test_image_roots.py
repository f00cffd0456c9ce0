import pytest

from no_time_to_train.data.image_roots import locate_images, locate_most_images, normalize_file_name
from no_time_to_train.errors import InputError, InputFileNotFoundError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", "a.jpg"),
        ("./x//a.jpg", "x/a.jpg"),
        ("x\\y\\a.jpg", "x/y/a.jpg"),
        ("x/../a.jpg", "a.jpg"),
        ("/home/somebody/a.jpg", "a.jpg"),
        ("C:\\photos\\a.jpg", "a.jpg"),
        ("..a.jpg", "..a.jpg"),
    ],
)
def test_names_are_normalized(name, expected):
    assert normalize_file_name(name) == expected


@pytest.mark.parametrize("name", ["../a.jpg", "x/../../a.jpg", "", ".", "..", "..\\a.jpg", "\ud800", "a\0b"])
def test_names_that_leave_the_root_are_refused(name):
    with pytest.raises(InputError, match="below the images folder"):
        normalize_file_name(name)


@pytest.mark.parametrize(
    "folder",
    ["project/refs", "project", "project/images", "project/refs/images", "project/images/default", "project/default"],
)
def test_usual_folders_are_found(tmp_path, folder):
    annotations = tmp_path / "project" / "refs" / "instances_default.json"
    for path in (annotations.parent, tmp_path / folder):
        path.mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "a.jpg").touch()
    assert (locate_images(["a.jpg"], annotations) / "a.jpg").samefile(tmp_path / folder / "a.jpg")


def test_message_counts_and_suggests(tmp_path):
    annotations = tmp_path / "refs" / "annotations.json"
    for name in ("refs/0.jpg", "photos/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(
        InputFileNotFoundError,
        match=r"3 of 4 reference images not found under .*refs \(first: 1\.jpg\).*Did you mean images=.*photos'\?",
    ):
        locate_images([f"{i}.jpg" for i in range(4)], annotations, what="reference images")


def test_a_given_folder_is_the_only_one_looked_into(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputFileNotFoundError, match="Did you mean"):
        locate_images(["a.jpg"], tmp_path / "annotations.json", tmp_path / "empty")
    with pytest.raises(InputFileNotFoundError, match="Give the folder"):
        locate_images(["nowhere-to-be-seen.jpg"], tmp_path / "annotations.json")


def test_of_folders_that_hold_a_part_the_fullest_is_taken(tmp_path):
    for name in ("labeled/a.jpg", "labeled/b.jpg", "truth/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names, file, labeled = ["a.jpg", "b.jpg", "c.jpg"], tmp_path / "truth/gt.json", tmp_path / "labeled"
    assert locate_most_images(names, file, first=labeled) == (labeled, ["c.jpg"])
    assert locate_most_images(names, file) == (tmp_path / "truth", ["b.jpg", "c.jpg"])
    assert locate_most_images(names, file, tmp_path / "truth", first=labeled) == (
        tmp_path / "truth",
        ["b.jpg", "c.jpg"],
    )
