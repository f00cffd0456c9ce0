"""``nttt weights``: which models there are, and getting, checking and converting their files."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.errors import UnsafeWeightsError
from no_time_to_train.files.paths import WEIGHTS_VARIABLE, weights_folders
from no_time_to_train.models.checkpoints import convert_checkpoint
from no_time_to_train.models.verification import verify_weights
from no_time_to_train.models.weights import get_weights, list_weights
from no_time_to_train.reports.text_table import align_columns


def list_models() -> None:
    """Every known model, and where its weights are."""
    rows = [
        (row.name, f"{row.size_mb:.0f} MB", row.licence, "gated" if row.gated else "", str(row.location or "-"))
        for row in list_weights()
    ]
    print(align_columns(("model", "size", "licence", "access", "on this machine"), rows, numbers=False))
    folders = ", ".join(map(str, weights_folders()))
    print(f"\nLooked in {folders} ({WEIGHTS_VARIABLE} adds folders) and the Hugging Face cache.")


def get(names: list[str]) -> None:
    """Download what is not here yet."""
    for name in names:
        print(f"{name}: {get_weights(name)}")


def verify(names: list[str]) -> None:
    """Load every file as a run would and print its hashes. Without names: every model that is on this machine.

    Raises:
        UnsafeWeightsError: one does not fit its network; said after all have been checked.
    """
    broken = []
    for name in names or [row.name for row in list_weights() if row.location is not None]:
        report = verify_weights(name)
        print(f"{name}: {'ok' if report.problem is None else report.problem}")
        for file_name, digest in report.sha256.items():
            print(f"  {digest}  {report.location / file_name if report.location.is_dir() else report.location}")
        if report.problem is not None:
            broken.append(name)
    if broken:
        raise UnsafeWeightsError(f"{len(broken)} of the models checked cannot be used: {', '.join(broken)}.")


def convert(source: Path, target: Path | None, *, trust: bool) -> None:
    """A pickled checkpoint as safetensors."""
    written = convert_checkpoint(source, target or source.with_suffix(".safetensors"), trust=trust)
    print(f"Written to {written}")
