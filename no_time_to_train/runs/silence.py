"""Lightning's own messages, which are about training."""

from __future__ import annotations

import logging
import warnings

_POINTLESS = (".*does not have many workers.*", "predict returned None.*", ".*LeafSpec.*")


def silence_lightning() -> None:
    """Keep Lightning's tips and list of devices out of the output.

    Warnings about what goes wrong stay.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in _POINTLESS:
        warnings.filterwarnings("ignore", message=message)
