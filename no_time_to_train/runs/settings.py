"""Settings of how a benchmark is run.

They say on how many devices, logged where, with what kept on disk.
"""

from __future__ import annotations

from dataclasses import dataclass

from no_time_to_train.settings import setting


@dataclass
class TrainerConfig:
    """Lightning's trainer."""

    devices: int = setting(1, "Processes of each node, one device each.", between=(1, 4096))
    num_nodes: int = setting(1, "Machines.", between=(1, 65536))
    strategy: str = setting("auto", "`auto`: one process alone, else spawned ones; or any of Lightning's names.")
    num_workers: int = setting(
        1, "Threads of each process that read images ahead; beside a GPU at least 4, but for 0.", between=(0, 1024)
    )
    logger: str = setting("csv", "Where metrics are logged.", choices=("csv", "tensorboard", "wandb", "mlflow", "none"))


@dataclass
class CacheConfig:
    """Proposals and their pooled features between runs, for sweeps."""

    enabled: bool = setting(False, "Keep candidate masks on disk, and use those that are kept.")
    folder: str = setting("cache/proposals", "Folder of the cache; may be deleted at any time.")
    memory_mb: int = setting(
        2048,
        "Megabytes of candidate masks that the process of a sweep keeps for its next runs; 0: none. A single run keeps "
        "none.",
        between=(0, 1 << 30),
    )
