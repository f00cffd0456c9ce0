from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.commands import main
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.references.loading import load_references
from no_time_to_train.references.min_scores import MinScores
from no_time_to_train.review.session import ReviewSession
from tests.outputs.test_review_record import record, square
from tests.review.conftest import write_results


def test_it_opens_what_labeling_wrote(session: ReviewSession) -> None:
    assert [category.name for category in session.categories] == ["boat", "bird"]
    assert [(item.file_name, item.status, item.found) for item in session.overview()] == [
        ("a.png", "new", ((1, 0.9), (2, 0.6))),
        ("b.png", "new", ((1, 0.4),)),
    ]
    image = session.image(0)
    assert (image["height"], image["width"], image["done"]) == (10, 20, False)
    assert [item["status"] for item in image["objects"]] == ["undecided", "undecided"]


def test_decisions_are_on_disk_at_once(session: ReviewSession) -> None:
    first, second = (item["id"] for item in session.image(0)["objects"])
    session.decide(0, [first], "keep")
    session.relabel(0, [second], 2)
    session.add(1, 1, square(12))
    again = ReviewSession.of_results(session.folder)
    assert {item["id"]: (item["status"], item["category_id"]) for item in again.image(0)["objects"]} == {
        first: ("kept", 1),
        second: ("kept", 2),
    }
    assert [item.status for item in again.overview()] == ["begun", "begun"]


def test_done_keeps_what_scores_enough(session: ReviewSession) -> None:
    session.thresholds.use(MinScores(0.7))
    session.finish(0)
    image = session.image(0)
    assert image["done"] and [item["score"] for item in image["objects"]] == [0.9]
    assert session.numbers_done() == [0]
    session.reopen(0)
    assert not session.image(0)["done"] and len(session.image(0)["objects"]) == 2


def test_mending_keeps_the_first_mask(session: ReviewSession) -> None:
    name = session.image(0)["objects"][0]["id"]
    session.mend(0, name, square(1))
    session.mend(0, name, square(2))
    [mended] = session.review(0).objects
    assert mended.mask == square(2) and mended.original_mask == square(0) and mended.id == name


def test_undo_goes_back_step_by_step_across_images(session: ReviewSession) -> None:
    name = session.image(0)["objects"][0]["id"]
    session.decide(0, [name], "drop")
    session.add(1, 2, square(12))
    assert session.undo() == 1 and session.review(1).objects == ()
    assert session.undo() == 0 and session.image(0)["objects"][0]["status"] == "undecided"
    assert session.undo() is None


def test_reviewed_annotations_are_a_coco_data_set(session: ReviewSession, tmp_path: Path) -> None:
    first = session.image(0)["objects"][0]["id"]
    session.decide(0, [first], "drop")
    session.add(1, 2, square(12))
    assert session.write_annotations(tmp_path / "all.json") == 2
    dataset = json.loads((tmp_path / "all.json").read_text())
    assert [(a["image_id"], a["category_id"]) for a in dataset["annotations"]] == [(1, 2), (2, 2)]
    assert [a["id"] for a in dataset["annotations"]] == [1, 2] and len(dataset["images"]) == 2
    assert session.write_annotations(tmp_path / "kept.json", only_kept=True) == 1
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert [image["file_name"] for image in kept["images"]] == ["b.png"]
    assert [category["name"] for category in kept["categories"]] == ["bird"]  # as references, none lacks an object


def test_thresholds_of_categories_are_those_of_the_run_until_moved(session: ReviewSession, tmp_path: Path) -> None:
    run = json.loads((session.folder / "run.json").read_text())
    run["settings"]["min_scores"] = {"boat": 0.35, "bird": 0.7}
    (session.folder / "run.json").write_text(json.dumps(run))
    session = ReviewSession.of_results(session.folder)
    assert session.thresholds.now == MinScores(0.5, {1: 0.35, 2: 0.7})
    assert session.write_annotations(tmp_path / "as_labeled.json") == 2  # both boats, no bird
    session.thresholds.use(MinScores(0.5, {1: 0.95, 2: 0.6}))
    session = ReviewSession.of_results(session.folder)
    assert session.write_annotations(tmp_path / "moved.json") == 1
    session.finish(0)
    assert [item.category_id for item in session.review(0).objects] == [2]


@pytest.mark.parametrize("content", ["{}", "[]", '{"default": 2, "by_category": {}}', "7"])
def test_damaged_thresholds_are_one_message(session: ReviewSession, content: str) -> None:
    (session.folder / "review").mkdir()
    (session.folder / "review" / "min_scores.json").write_text(content)
    with pytest.raises(InputError, match=r"min_scores\.json is damaged .* Remove it"):
        ReviewSession.of_results(session.folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("annotations.json", "[]"),
        ("annotations.json", "{}"),
        ("annotations.json", '{"categories": {}, "images": []}'),
        ("annotations.json", '{"categories": [{"id": "x", "name": "boat"}], "images": []}'),
        ("annotations.json", '{"categories": [{"id": 1, "name": 3}], "images": []}'),
        ("annotations.json", '{"categories": [], "images": [{"id": 1}]}'),
        ("annotations.json", '{"categories": [], "images": [{"id": 1, "file_name": 3}]}'),
        ("annotations.json", '{"categories": [], "images": [{"id": 1, "file_name": "a\\u0000b"}]}'),
        ("annotations.json", "[" * 100_000),
        ("run.json", "[" * 100_000),
        ("review/categories.json", '[{"id": 1}]'),
        ("review/categories.json", "[3]"),
        ("review/round.json", "[]"),
        ("review/round.json", '{"folder": 3}'),
    ],
)
def test_damaged_files_are_one_message(session: ReviewSession, file: str, content: str) -> None:
    path = session.folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(InputError, match=rf"{path.name} is damaged \("):
        ReviewSession.of_results(session.folder)


def test_lines_of_the_list_follow_their_files(session: ReviewSession) -> None:
    session.overview()
    write_results(session.folder, session.images, {"b.png": record((2, square(0), 0.8))})
    session.decide(0, [session.image(0)["objects"][0]["id"]], "drop")
    assert [(item.status, item.num_decided, item.found) for item in session.overview()] == [
        ("begun", 1, ((1, 0.9), (2, 0.6))),
        ("new", 0, ((2, 0.8),)),
    ]


def damage(session: ReviewSession, path: str) -> Path:
    file = session.folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('{"nothing": 3}')
    return file


@pytest.mark.parametrize("path", ["per_image/a.png.json", "review/per_image/a.png.json"])
def test_a_damaged_file_stops_only_its_own_image(session: ReviewSession, tmp_path: Path, path: str) -> None:
    session.decide(1, [session.image(1)["objects"][0]["id"]], "keep")
    session.finish(1)
    file = damage(session, path)
    opened = ReviewSession.of_results(session.folder)
    first, second = opened.overview()
    assert (first.status, second.status) == ("damaged", "done")
    assert json.loads(first.json_text)["problem"] == first.problem and str(file) in first.problem
    with pytest.raises(InputError, match=r"a\.png\.json"):
        opened.image(0)
    assert opened.numbers_done() == [1] and opened.problems() == [first.problem]
    assert opened.write_annotations(tmp_path / "reviewed.json") == 1
    assert [image["id"] for image in json.loads((tmp_path / "reviewed.json").read_text())["images"]] == [2]
    file.unlink()
    assert opened.problems() == []


def test_an_export_counts_damaged_images(session: ReviewSession, capsys: pytest.CaptureFixture[str]) -> None:
    session.finish(1)
    file = damage(session, "per_image/a.png.json")
    assert main(["export", str(session.folder), "--to", "csv"]) == 0
    said = f"1 of 2 images done. 1 image left out, of which a file is damaged. First: {file} cannot be used"
    assert said in capsys.readouterr().out


def test_a_moved_folder_keeps_its_last_round(session: ReviewSession, tmp_path: Path) -> None:
    later = session.folder / "review" / "round_2"
    write_results(later, session.images, {"a.png": record((1, square(0), 0.8))})
    session.use_round(later)
    written = session.folder / "review" / "round.json"
    assert json.loads(written.read_text()) == {"folder": "review/round_2"}
    moved = session.folder.rename(tmp_path / "elsewhere")
    assert ReviewSession.of_results(moved).image(0)["objects"][0]["score"] == 0.8
    # Earlier versions wrote the whole path, which leads nowhere once the folder has moved.
    (moved / "review" / "round.json").write_text(json.dumps({"folder": str(later)}))
    assert ReviewSession.of_results(moved).image(0)["objects"][0]["score"] == 0.8
    (moved / "review" / "round.json").write_text(json.dumps({"folder": str(moved / "review" / "round_2")}))
    assert ReviewSession.of_results(moved).image(0)["objects"][0]["score"] == 0.8


def test_a_later_round_brings_new_detections_only(session: ReviewSession, tmp_path: Path) -> None:
    name = session.image(0)["objects"][0]["id"]
    session.decide(0, [name], "drop")
    write_results(tmp_path / "round", session.images, {"a.png": record((1, square(0), 0.8), (2, square(15), 0.7))})
    session.use_round(tmp_path / "round")
    objects = ReviewSession.of_results(session.folder).image(0)["objects"]
    assert [(item["status"], item["score"]) for item in objects] == [("dropped", 0.9), ("undecided", 0.7)]


def test_bad_calls_change_nothing(session: ReviewSession) -> None:
    with pytest.raises(InputError, match="no object 'x'"):
        session.decide(0, ["x"], "keep")
    with pytest.raises(InputError, match="no category 77"):
        session.add(0, 77, square(0))
    with pytest.raises(InputError, match=r"size \[10, 20\]"):
        session.add(0, 1, {"size": [5, 5], "counts": square(0)["counts"]})
    with pytest.raises(InputError, match="no image 9"):
        session.image(9)
    with pytest.raises(InputError, match="keep, drop or undecide"):
        session.decide(0, ["x"], "burn")  # type: ignore[arg-type]
    assert not (session.folder / "review").exists()


@pytest.mark.parametrize("name", ["", "  ", "_background", "!not", "a\nb", "x" * 81])
def test_bad_category_names(session: ReviewSession, name: str) -> None:
    with pytest.raises(InputError, match="category name"):
        session.add_category(name)


def test_categories_are_added_once_and_kept(session: ReviewSession) -> None:
    assert session.add_category("кит").id == 3 and session.add_category("boat").id == 1
    assert [c.name for c in ReviewSession.of_results(session.folder).categories] == ["boat", "bird", "кит"]


def test_names_that_leave_the_images_folder_are_refused(session: ReviewSession) -> None:
    session.file_names = ("../secret.png",)
    with pytest.raises(InputError, match="does not lie in"):
        session.image_path(0)


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileNotFoundError, match=r"no run\.json"):
        ReviewSession.of_results(tmp_path)


def test_images_without_results_can_be_drawn_on(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / "a.png")
    session = ReviewSession.of_images(tmp_path, tmp_path / "drawn")
    category = session.add_category("boat")
    session.add(0, category.id, square(3))
    assert load_references(tmp_path / "drawn" / "references.json", tmp_path).counts() == {"boat": 1}
    session.undo()
    assert json.loads((tmp_path / "drawn" / "references.json").read_text())["annotations"] == []


def test_drawing_looks_at_the_images_that_were_drawn_on_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / f"{number}.png")
    session = ReviewSession.of_images(tmp_path, tmp_path / "drawn")
    category = session.add_category("boat")
    session.add(3, category.id, square(3))
    looked_at: set[int] = set()
    review = session.review
    monkeypatch.setattr(session, "review", lambda number: (looked_at.add(number), review(number))[1])
    session.add(1, category.id, square(3))
    assert looked_at == {1, 3}
    assert load_references(tmp_path / "drawn" / "references.json", tmp_path).counts() == {"boat": 2}


def test_decisions_count_in_an_export(session: ReviewSession, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (item["id"] for item in session.image(0)["objects"])
    session.decide(0, [first], "drop")
    session.add(1, 2, square(12))
    assert main(["export", str(session.folder), "--to", "coco-rle"]) == 0
    assert "With the decisions of the review: 0 of 2 images done." in capsys.readouterr().out
    by_category = ["export", str(session.folder), "--to", "csv", "--min-score", "bird=0.7"]
    assert main(by_category) == 0 and "1 object in" in capsys.readouterr().out  # the added one only
    [written] = session.folder.with_name("images_labeled_coco-rle").rglob("*.json")
    assert [entry["category_id"] for entry in json.loads(written.read_text())["annotations"]] == [2, 2]


def test_single_images_are_drawn_on_beside_earlier_ones(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / name)
    first = ReviewSession.of_images(tmp_path / "a.png", tmp_path / "drawn")
    first.add(0, first.add_category("boat").id, square(3))
    again = ReviewSession.of_images([tmp_path / "b.png"], tmp_path / "drawn")
    again.add(1, 1, square(5))
    assert again.file_names == ("a.png", "b.png")
    assert load_references(tmp_path / "drawn" / "references.json", tmp_path).counts() == {"boat": 2}
    (tmp_path / "sub").mkdir()
    (tmp_path / "c.png").rename(tmp_path / "sub" / "c.png")
    with pytest.raises(InputError, match="drawn on other images"):
        ReviewSession.of_images(tmp_path / "sub", tmp_path / "drawn")
