"""Many prompts of one image in batches that fit the memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from no_time_to_train.errors import EnvironmentProblemError, is_out_of_memory
from no_time_to_train.models.interfaces import PromptBatch

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_DEFAULT_BATCH_SIZES = {"cuda": 256, "mps": 64, "cpu": 64}
"""For 256 x 256 masks: hundreds keep a GPU busy; on a CPU some dozens make the token side's products large enough."""


def default_prompts_per_batch(device: torch.device, mask_size: int) -> int:
    """Choose how many prompts are decoded at once: the more, the smaller the masks."""
    at_full_size = _DEFAULT_BATCH_SIZES.get(device.type, _DEFAULT_BATCH_SIZES["cpu"])
    return max(1, at_full_size * 256 // mask_size)


class PromptBatcher:
    """Feeder of a decoder, with smaller batches whenever the GPU runs out of memory.

    Attributes:
        batch_size: prompts per batch. A halving stays for later images: they would run out of memory as well.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def run(self, decode: Callable[[PromptBatch], _Result], prompts: PromptBatch) -> list[tuple[int, _Result]]:
        """Decode consecutive parts of ``prompts``.

        Yields the index of each part's first prompt, and its result.

        Raises:
            EnvironmentProblemError: even a single prompt does not fit.
        """
        results: list[tuple[int, _Result]] = []
        start = 0
        while start < len(prompts):
            batch = prompts[start : start + self.batch_size]
            try:
                results.append((start, decode(batch)))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise EnvironmentProblemError(
                        "GPU out of memory even at 1 point per batch: the card is too small for these models, or "
                        "other programs fill it. Try preset=fast, mask_model=sam2.1_tiny, precision=bfloat16 or "
                        "device=cpu."
                    ) from error
            else:
                start += len(batch)
                continue
            # Outside the handler: the error's traceback keeps the tensors of the failed pass alive.
            self._halve(len(batch))
        return results

    def _halve(self, failed_size: int) -> None:
        self.batch_size = failed_size // 2
        logger.warning("GPU out of memory at %d points per batch; continuing with %d.", failed_size, self.batch_size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        elif torch.backends.mps.is_available():
            torch.mps.empty_cache()
