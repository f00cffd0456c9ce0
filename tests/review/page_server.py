"""Serve the review page of a results folder with masks that need no network: ``python page_server.py FOLDER PORT``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from no_time_to_train.ops.rle import encode_mask
from no_time_to_train.review.app import create_app
from no_time_to_train.review.jobs import ReviewJobs
from no_time_to_train.review.prompted_masks import Candidates
from no_time_to_train.review.session import ReviewSession

TOKEN = "token-of-the-test"


class SquareMasks:
    """Answers a click with squares around it, a box with the box itself."""

    def prepare(self, path: Path, *, upright: bool = True) -> None:
        pass

    def candidates(self, path: Path, points: Any, labels: Any, box: Any, *, upright: bool = True) -> Candidates:
        from no_time_to_train.data.images import image_size_hw

        size = image_size_hw(path)
        rles = []
        for side in (8, 16, 4):
            mask = np.zeros(size, bool)
            if box is not None:
                x1, y1, x2, y2 = (round(value) for value in box)
                mask[y1:y2, x1:x2] = True
            else:
                x, y = (round(value) for value in points[0])
                mask[max(y - side, 0) : y + side, max(x - side, 0) : x + side] = True
            rles.append(encode_mask(mask))
        return Candidates(tuple(rles), (0.9, 0.8, 0.7))


if __name__ == "__main__":
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    app = create_app(
        ReviewSession.of_results(folder),
        SquareMasks(),  # type: ignore[arg-type]
        ReviewJobs({"export": lambda values, report: f"wrote {values['format']}"}, formats=("coco", "yolo")),
        port=port,
        token=TOKEN,
    )
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
