"""A run as a value that can be sent to all its processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.config import BenchConfig, Config
from no_time_to_train.runs.progress import OnProgress, tell_nobody
from no_time_to_train.runs.shared_models import segmenter_with_shared_models
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import ReferenceSet, TargetImage


@dataclass(frozen=True)
class CachePlan:
    """Where prototypes and candidate masks are kept between runs.

    Attributes:
        folder: of all entries; None: nothing is kept on disk.
        prototypes, proposals: fingerprints of what the entries are made with.
        memory_bytes: how much of either stays in this process for its next run.
    """

    folder: Path | None
    prototypes: str
    proposals: str
    memory_bytes: int = 0


@dataclass(frozen=True, eq=False)
class RunPlan:
    """Everything the processes of a run need to know.

    Attributes:
        config: every setting.
        references: what the memory bank is built from.
        targets: the images to label, in the order of the results.
        folder: where the processes leave their results for one another and for a later run; on a disk that all nodes
            share.
        cache: None: nothing is kept between runs.
        build_segmenter: gives each process its segmenter; the config then names the process's own device.
        on_progress: is told how far the first process is.
    """

    config: BenchConfig
    references: ReferenceSet
    targets: tuple[TargetImage, ...]
    folder: Path
    cache: CachePlan | None = None
    build_segmenter: Callable[[Config], Segmenter] = segmenter_with_shared_models
    on_progress: OnProgress = tell_nobody

    @property
    def memory_file(self) -> Path:
        """Return the file of the memory bank."""
        return self.folder / "memory.safetensors"

    @property
    def shards(self) -> Path:
        """Return the folder of the shards."""
        return self.folder / "shards"

    @property
    def report_file(self) -> Path:
        """Return the file of the report."""
        return self.folder / "report.json"
