from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.evaluation.episodes import (
    Episode,
    EpisodeScores,
    draw_episodes,
    fold_classes,
    read_class_mask,
    read_split,
    squash_mask,
)


def test_folds_are_every_fourth_class() -> None:
    assert fold_classes(0)[:3] == (0, 4, 8) and fold_classes(3)[-1] == 79
    assert sorted(index for fold in range(4) for index in fold_classes(fold)) == list(range(80))


def make_names(class_indices: tuple[int, ...]) -> dict[int, list[str]]:
    return {index: [f"val2014/{index}_{i}.jpg" for i in range(2 + index % 5)] for index in class_indices}


@pytest.mark.parametrize("shots", [1, 5])
def test_draws_are_those_of_numpys_legacy_choice_of_names(shots: int) -> None:
    class_indices = fold_classes(2)
    names = make_names(class_indices)
    generator = np.random.RandomState(0)
    expected = []
    for _ in range(200):
        index = int(generator.choice(list(class_indices), 1, replace=False)[0])
        query = str(generator.choice(names[index], 1, replace=False)[0])
        supports: list[str] = []
        while len(supports) < shots:
            support = str(generator.choice(names[index], 1, replace=False)[0])
            if support != query:
                supports.append(support)
        expected.append(Episode(index, query, tuple(supports)))
    assert draw_episodes(names, class_indices, 200, shots) == expected


def test_first_episodes_of_seed_0() -> None:
    names = {0: ["a", "b", "c"], 4: ["d", "e", "f", "g"]}
    expected = [Episode(4, "f", ("d",)), Episode(0, "b", ("a",)), Episode(4, "e", ("d",))]
    assert draw_episodes(names, (0, 4), 3, 1) == expected
    assert draw_episodes(names, (0, 4), 2, 1) == expected[:2]
    assert draw_episodes(names, (0, 4), 3, 1, seed=1) != expected


def test_a_class_of_one_image_has_no_support() -> None:
    with pytest.raises(InputError, match="two images of every class, but there are fewer of 4, 8"):
        draw_episodes({0: ["a", "b"], 4: ["c", "c"]}, (0, 4, 8), 1, 1)


def write_split(folder: Path, content: object, protocol: int = 4) -> Path:
    path = folder / "fold0.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_split_files_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    content = {0: ["val2014/a.jpg", "val2014/b.jpg"], 1: []}
    assert read_split(write_split(tmp_path, content, protocol)) == content


class Exploit:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self):
        return Path.touch, (self._marker,)


def test_pickles_that_run_code_are_not_loaded(tmp_path: Path) -> None:
    path = write_split(tmp_path, {0: [Exploit(tmp_path / "owned")]})
    with pytest.raises(InputError, match="could run code; not loaded"):
        read_split(path)
    assert not (tmp_path / "owned").exists()
    with pytest.raises(InputError, match="numpy"):
        read_split(write_split(tmp_path, {0: np.array(["a"])}))


@pytest.mark.parametrize("content", [["a.jpg"], {"person": ["a.jpg"]}, {0: "a.jpg"}, {0: [1, 2]}])
def test_other_contents_are_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(InputError, match="a dict from class index to a list of image names"):
        read_split(write_split(tmp_path, content))


def test_missing_damaged_and_outward_splits(tmp_path: Path) -> None:
    with pytest.raises(InputFileNotFoundError, match="come with Matcher"):
        read_split(tmp_path / "fold1.pkl")
    path = write_split(tmp_path, {0: ["a.jpg"]})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="damaged"):
        read_split(path)
    with pytest.raises(InputError, match="below the images folder"):
        read_split(write_split(tmp_path, {0: ["../../etc/passwd"]}))


def test_masks_hold_class_index_plus_one(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 5], [1, 5]], np.uint8)).save(path)
    np.testing.assert_array_equal(read_class_mask(path, 4), [[False, True], [False, True]])
    np.testing.assert_array_equal(read_class_mask(path, 0), [[False, False], [True, False]])
    with pytest.raises(InputError, match="shows no class 7"):
        read_class_mask(path, 7)
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)
    with pytest.raises(InputError, match="one channel"):
        read_class_mask(path, 0)


def test_squashing_takes_the_nearest_pixel() -> None:
    mask = np.array([[True, False, False, True]])
    np.testing.assert_array_equal(squash_mask(mask, 2), [[True, False], [True, False]])
    np.testing.assert_array_equal(squash_mask(mask[:, :2], 4), [[True, True, False, False]] * 4)
    assert squash_mask(mask).shape == (518, 518)


def test_scores_by_hand() -> None:
    def mask(text: str) -> np.ndarray:
        return np.array([[character == "#" for character in text]])

    scores = EpisodeScores((0, 4))
    scores.add(0, mask("##.."), mask("#..."))  # foreground 1 of 2, background 2 of 3
    scores.add(0, mask("...."), mask("#..."))  # 0 of 1, 3 of 4
    assert scores.class_ious() == {0: pytest.approx(100 / 3), 4: None}
    assert scores.miou() == pytest.approx(100 / 3 / 2)  # a class that was never drawn counts
    scores.add(4, mask("####"), mask("##.."))  # 2 of 4, 0 of 2
    assert scores.miou() == pytest.approx(100 * (1 / 3 + 1 / 2) / 2)
    assert scores.fb_iou() == pytest.approx(100 * (3 / 7 + 5 / 9) / 2)
