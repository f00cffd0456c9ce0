"""What a run's reference sheets show."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from no_time_to_train.ops.rle import encode_mask, rle_area
from no_time_to_train.references.encoding import EncodedReference
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import ReferenceSet
from no_time_to_train.tasks import memory_source
from tests.tasks.conftest import ColorSegmenter


def test_sheets_show_masks_made_from_boxes(nttt, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[ReferenceSet] = []
    monkeypatch.setattr(memory_source, "write_reference_sheets", lambda shown, *_, **__: drawn.append(shown))
    build_memory = ColorSegmenter.build_memory

    def building(self: Segmenter, references: ReferenceSet, on_progress=None, on_encoded=None) -> object:
        for instance in references.instances:
            mask = np.zeros((60, 80), bool)
            mask[: instance.annotation_id * 2] = True
            made = dataclasses.replace(instance, mask=encode_mask(mask))
            on_encoded(EncodedReference(made, None, 1, 14))
        return build_memory(self, references, on_progress)

    monkeypatch.setattr(ColorSegmenter, "build_memory", building)
    boxes = "--ref refs/r.png:bird:50,20,70,50 --ref refs/r.png:boat:10,10,40,30"
    assert nttt(f"label photos/ {boxes}") == 0
    [references] = drawn
    assert [rle_area(i.mask) for i in references.instances] == [80 * 2 * i.annotation_id for i in references.instances]
