from __future__ import annotations

from pathlib import Path

from no_time_to_train import commands
from no_time_to_train.commands import export
from no_time_to_train.outputs.exports.formats import WRITERS
from tests.outputs.exports.small_dataset import write_labeled_folder


def test_the_help_names_every_format() -> None:
    assert tuple(WRITERS) == export._FORMATS


def test_export_says_what_was_written(tmp_path: Path, capsys) -> None:
    labeled = write_labeled_folder(tmp_path)
    arguments = ["export", str(labeled), "--to", "yolo", "--out", str(tmp_path / "out"), "--min-score", "boat=0.95"]
    assert commands.main(arguments) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'out'}: 2 objects in 3 images as yolo: życie & bird 2.\n"
        "Left out: objects that score too low (1).\n"
    )
    assert commands.main(arguments) == 1
    assert "exists and is not empty" in capsys.readouterr().err
    assert commands.main(["export", str(labeled), "--to", "pdf"]) == 2
    assert commands.main(["export", str(labeled), "--to", "csv", "--min-score", "boat=high"]) == 1
