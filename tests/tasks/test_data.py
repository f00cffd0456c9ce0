from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from no_time_to_train.benchmarks import registry
from no_time_to_train.benchmarks.benchmark import RequiredData
from no_time_to_train.commands import main
from no_time_to_train.data.downloads import Download
from tests.benchmarks.datasets_on_disk import (
    HEIGHT,
    WIDTH,
    write_cd_fsod,
    write_coco_2017,
    write_lvis,
    write_pascal_voc,
)
from tests.data.file_server import serving, write_archive

WRITERS: dict[str, Callable[[Path], object]] = {
    "coco_fsod": write_coco_2017,
    "coco_20i fold=3": write_coco_2017,
    "pascal_voc split=2": write_pascal_voc,
    "lvis": write_lvis,
    "cd_fsod domain=deepfish sampler=paper": lambda root: write_cd_fsod(root, "deepfish", {1: (0,), 2: ()}),
}


@pytest.fixture
def data(tmp_path: Path, capsys) -> Callable[[str], tuple[int, str, str]]:
    """Runs ``nttt data`` below ``tmp_path``; gives exit code, output and errors."""

    def run(line: str) -> tuple[int, str, str]:
        shots = [] if "shots=" in line else ["shots=1"]
        code = main(["data", *line.split(), f"root={tmp_path}", *shots])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize("line", WRITERS)
def test_complete_data_are_found_so(data, tmp_path, line: str) -> None:
    WRITERS[line](tmp_path)
    code, out, _ = data(f"verify {line}")
    assert code == 0 and "everything is here and can be read" in out, out


@pytest.mark.parametrize("line", WRITERS)
def test_every_problem_is_listed_at_once(data, tmp_path, line: str) -> None:
    """The first image is taken away, the last is cut off."""
    WRITERS[line](tmp_path)
    images = sorted(path for path in tmp_path.rglob("*.jpg"))
    images[0].unlink()
    images[-1].write_bytes(images[-1].read_bytes()[:-20])
    code, out, err = data(f"verify {line}")
    assert code == 1
    assert f"{images[0]}: no such image file" in out
    assert f"{images[-1]} cannot be read" in out
    assert f"2 problems. `nttt data prepare {line} root={tmp_path} shots=1`" in err


def test_wrong_sizes_and_missing_files(data, tmp_path) -> None:
    write_coco_2017(tmp_path)
    val = tmp_path / "coco/annotations/instances_val2017.json"
    swapped = val.read_text().replace(f'"height": {HEIGHT}', f'"height": {WIDTH}', 1)
    val.write_text(swapped.replace(f'"width": {WIDTH}', f'"width": {HEIGHT}', 1))
    train = tmp_path / "coco/annotations/instances_train2017.json"
    train.unlink()
    code, out, err = data("verify coco_fsod")
    assert code == 1 and "2 problems" in err
    assert f"{train}: missing (COCO 2017 annotations)" in out
    assert "000000000139.jpg" in out and "swapped" in out


def test_all_faults_of_xml_files(data, tmp_path) -> None:
    write_pascal_voc(tmp_path)
    for stem in ("000005", "000007"):
        (tmp_path / f"pascal_voc/VOCdevkit/VOC2007/Annotations/{stem}.xml").unlink()
    code, out, err = data("verify pascal_voc")
    assert code == 1 and "2 problems" in err
    assert "000005.xml is missing" in out and "000007.xml is missing" in out


def test_damaged_annotations(data, tmp_path) -> None:
    write_coco_2017(tmp_path)
    (tmp_path / "coco/annotations/instances_val2017.json").write_text("{")
    code, out, _ = data("verify coco_fsod")
    assert code == 1 and "instances_val2017.json is not valid JSON" in out


def test_damaged_archive(data, tmp_path) -> None:
    write_coco_2017(tmp_path)
    archive = tmp_path / "downloads/val2017.zip"
    archive.parent.mkdir()
    archive.write_bytes(b"abc")
    code, out, _ = data("verify coco_fsod")
    assert code == 1 and f"{archive}: 3 bytes instead of 815,585,330" in out


def test_custom_data(data, tmp_path) -> None:
    write_coco_2017(tmp_path)
    coco = tmp_path / "coco"
    line = f"verify custom references={coco}/annotations/instances_train2017.json reference_images={coco}/train2017 "
    line += f"annotations={coco}/annotations/instances_val2017.json"
    code, out, _ = data(f"{line} images={coco}/val2017")
    assert code == 0, out
    code, out, _ = data(line)
    assert code == 0, out  # val2017 beside annotations/ is where they are looked for
    (coco / "val2017").rename(coco / "elsewhere")
    code, out, _ = data(line)
    (coco / "elsewhere").rename(coco / "val2017")
    assert code == 1 and "3 of 3 target images not found" in out and "benchmark.images=" in out
    code, out, _ = data(f"{line} images={coco}/val2017".replace("instances_val", "other_val"))
    assert code == 1 and "other_val2017.json: missing (target images)" in out


def test_list(data, tmp_path) -> None:
    write_coco_2017(tmp_path)
    code, out, _ = data("list")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("coco_fsod")] == [*["here"] * 3, "missing"]
    assert [line.split()[-1] for line in lines if line.startswith("cd_fsod")] == ["missing"] * 6
    assert sum("sampler=tfa" in line for line in lines) == 2
    assert any("VOC 2012" in line and "2.0 GB" in line for line in lines)
    assert str(tmp_path) in lines[-1]


def test_what_cannot_be_downloaded_is_explained(data, tmp_path) -> None:
    code, _, err = data("prepare cd_fsod domain=uodd")
    assert code == 1
    assert "copy UODD" in err and str(tmp_path / "cd_fsod/UODD/annotations/train.json") in err
    write_cd_fsod(tmp_path, "uodd", {1: (0,)})
    code, out, _ = data("prepare cd_fsod domain=uodd")
    assert code == 0 and "CD-FSOD UODD (domain=uodd): here" in out and "cd_fsod is complete" in out


def test_episodes_need_other_data(data, tmp_path) -> None:
    folder = tmp_path / "COCO2014"
    (folder / "splits/val").mkdir(parents=True)
    for fold in (0, 1, 2):
        (folder / f"splits/val/fold{fold}.pkl").touch()
    code, out, _ = data("verify coco_20i evaluator.name=episodes")
    assert code == 1
    assert [line.split(":")[0] for line in out.splitlines()] == [
        f"{folder}/val2014",
        f"{folder}/annotations/val2014",
        f"{folder}/splits/val/fold3.pkl",
    ]


def test_unknown_benchmark(data) -> None:
    code, _, err = data("prepare cocoo")
    assert code == 1 and "cocoo: no such benchmark. Known: demo, coco_fsod" in err


def serve_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """COCO's annotations are to be had, as an archive, at a local address."""
    archive = tmp_path / "annotations.zip"
    names = ("coco/annotations/instances_train2017.json", "coco/annotations/instances_val2017.json")
    download = Download((f"{url}/annotations.zip",), archive.stat().st_size, sha256(archive.read_bytes()).hexdigest())
    item = RequiredData("annotations", names, "free", download, unpack_into="coco")
    changed = replace(registry.BENCHMARKS["coco_fsod"], requires=lambda config: (item,))
    monkeypatch.setitem(registry.BENCHMARKS, "coco_fsod", changed)


def test_downloads_are_continued_checked_and_unpacked(data, tmp_path, monkeypatch) -> None:
    source = write_coco_2017(tmp_path / "source") / "coco/annotations"
    members = {f"annotations/{path.name}": path.read_bytes() for path in sorted(source.iterdir())}
    content = write_archive(tmp_path / "annotations.zip", members).read_bytes()
    with serving(content) as server:
        serve_annotations(tmp_path, monkeypatch, server.url)
        server.breaks_after = 1000
        code, _, err = data("prepare coco_fsod")
        assert code == 3 and "1,000 bytes are kept and the same command continues" in err
        server.breaks_after = None
        code, out, _ = data("prepare coco_fsod")
        assert code == 0 and "coco_fsod is complete" in out
        assert server.ranges == [None, "bytes=1000-"]
        assert (tmp_path / "coco/annotations/instances_val2017.json").is_file()
        code, out, _ = data("prepare coco_fsod")
        assert code == 0 and "annotations: here" in out and len(server.ranges) == 2


def test_interrupted_unpacking_is_noticed(data, tmp_path, monkeypatch) -> None:
    write_coco_2017(tmp_path)
    content = write_archive(tmp_path / "annotations.zip", {"annotations/new.json": b"{}"}).read_bytes()
    mark = tmp_path / "downloads/annotations.zip.unpacking"
    mark.parent.mkdir()
    mark.touch()
    with serving(content) as server:
        serve_annotations(tmp_path, monkeypatch, server.url)
        code, out, _ = data("verify coco_fsod")
        assert code == 1 and "was not unpacked to the end" in out
        assert data("prepare coco_fsod")[0] == 0
    assert (tmp_path / "coco/annotations/new.json").is_file() and not mark.exists()
    assert data("verify coco_fsod")[0] == 0


def test_references_that_cannot_be_drawn_are_a_problem(data, tmp_path) -> None:
    write_coco_2017(tmp_path)
    code, out, err = data("verify coco_fsod shots=30")
    assert code == 1 and "30 references per category were asked for" in out and "1 problem." in err
