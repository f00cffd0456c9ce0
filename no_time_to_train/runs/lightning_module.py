"""What Lightning is asked for in a run of several processes: which of them this is, and when all have come so far.

Its ``predict`` is used with one step for each process. What is to be done, and by whom, is decided by
:func:`no_time_to_train.runs.labeling_share.label_share`, which also a run of one process calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as lightning
import torch

from no_time_to_train.runs.labeling_share import label_share
from no_time_to_train.runs.parent_death import end_with_parent
from no_time_to_train.runs.plan import RunPlan
from no_time_to_train.runs.reference_encoding import EncodedImages
from no_time_to_train.runs.silence import silence_lightning


class LabelingModule(lightning.LightningModule):
    """Carries out a process's share of a plan as the one step of ``Trainer.predict``.

    The networks are not trained, so they are no submodules.

    Args:
        plan: equal in every process.
    """

    def __init__(self, plan: RunPlan) -> None:
        super().__init__()
        self._plan = plan

    def setup(self, stage: str) -> None:
        """Quieten Lightning, in every process, and let none outlive the one that started it."""
        silence_lightning()
        end_with_parent()

    def predict_dataloader(self) -> Sequence[int]:
        """Return one item, for one step."""
        return [0]

    def predict_step(self, batch: int, batch_idx: int) -> None:
        """Do the share of this process."""
        label_share(self._plan, _TrainerGroup(self.trainer))


@dataclass(frozen=True)
class _TrainerGroup:
    """The processes of a Lightning trainer."""

    trainer: lightning.Trainer

    @property
    def rank(self) -> int:
        return self.trainer.global_rank

    @property
    def world_size(self) -> int:
        return self.trainer.world_size

    @property
    def device(self) -> torch.device:
        return self.trainer.strategy.root_device

    def wait(self) -> None:
        self.trainer.strategy.barrier()

    def agree(self, value: bool) -> bool:
        return bool(self.trainer.strategy.broadcast(value))

    def gather(self, share: EncodedImages) -> list[EncodedImages]:
        if self.world_size == 1:
            return [share]
        shares: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(shares, share)
        return shares
