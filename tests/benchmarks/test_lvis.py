from __future__ import annotations

import pytest

from tests.benchmarks.datasets_on_disk import write_lvis


@pytest.mark.parametrize(("subset", "num_categories", "num_objects"), [("all", 6, 2), ("rare", 2, 1), ("common", 2, 0)])
def test_subsets(load, tmp_path, subset: str, num_categories: int, num_objects: int) -> None:
    write_lvis(tmp_path)
    task = load("lvis", f"subset={subset}", "shots=2")
    assert task.name == f"lvis/subset={subset}" and task.evaluator == "lvis"
    assert task.ground_truth_file == tmp_path / "lvis/lvis_v1_val.json"
    assert len(task.ground_truth.categories) == num_categories
    assert (len(task.targets), len(task.ground_truth.annotations)) == (2, num_objects)
    assert set(task.references.counts().values()) == {2}
    assert [t.file_name for t in task.targets] == ["val2017/000000000008.jpg", "train2017/000000000009.jpg"]


def test_the_draw_does_not_depend_on_the_subset(load, tmp_path) -> None:
    write_lvis(tmp_path)

    def drawn(subset: str) -> set[tuple[str, int | str]]:
        references = load("lvis", f"subset={subset}", "shots=2", "seed=42").references
        return {(i.category.name, i.image_id) for i in references.instances}

    assert drawn("all") == drawn("rare") | drawn("common") | drawn("frequent")


def test_classes_with_few_or_small_objects_still_get_references(load, tmp_path) -> None:
    write_lvis(tmp_path)
    references = load("lvis", "subset=rare", "shots=3").references
    assert references.counts() == {"rare1": 3, "rare2": 3}
    assert {(i.category.name, i.image_id) for i in references.instances} == {("rare1", 1), ("rare2", 2)}
