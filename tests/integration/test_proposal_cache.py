"""Detections from cached proposals are those of fresh ones, bit for bit, whatever the references and the merging."""

from __future__ import annotations

import numpy as np
import pytest

import no_time_to_train as ntt
from no_time_to_train.build import build_proposals, compose_config
from no_time_to_train.files.paths import demo_data_folder
from no_time_to_train.proposals.cache import ProposalCache
from no_time_to_train.proposals.pooled import PooledProposals
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.segmenter import Segmenter

BENCHMARK = demo_data_folder() / "benchmark"


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return ntt.load_segmenter(preset="demo", device="cpu")


@pytest.fixture(scope="module")
def memories(segmenter: Segmenter) -> list[MemoryBank]:
    references = ntt.load_references(BENCHMARK / "annotations" / "train.json", images=BENCHMARK / "train")
    segmenter.config.references.keep_instances = True
    parts = [references.instances[:15], references.instances[20:60]]
    return [segmenter.build_memory(ntt.ReferenceSet(references.categories, part)) for part in parts]


@pytest.fixture(scope="module")
def fresh_and_cached(
    segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[PooledProposals, PooledProposals]]:
    cache = ProposalCache(tmp_path_factory.mktemp("cache"), "demo")
    pairs = []
    for picture in sorted((BENCHMARK / "test").glob("*.jpg"))[:2]:
        [encoded] = segmenter.encode([picture])
        fresh = segmenter.propose(encoded)
        cache.store(picture.name, fresh)
        cached = cache.load(picture.name)
        assert cached is not None
        pairs.append((fresh, cached))
    return pairs


@pytest.mark.parametrize("matching", ["class_mean", "nearest_centers", "nearest_instances"])
@pytest.mark.parametrize("merging", ["hard", "soft", "semantic_soft", "graph_diffusion", "none"])
def test_cached_equals_fresh(
    segmenter: Segmenter,
    memories: list[MemoryBank],
    fresh_and_cached: list[tuple[PooledProposals, PooledProposals]],
    matching: str,
    merging: str,
) -> None:
    config = compose_config(["preset=demo", f"matching={matching}", f"merging={merging}"])
    variant = Segmenter(segmenter.encoder, segmenter.mask_model, config, proposals=build_proposals(config))
    for memory in memories:
        for fresh, cached in fresh_and_cached:
            expected, found = variant.label(fresh, memory), variant.label(cached, memory)
            assert len(expected) > 0 and found.rles == expected.rles
            for name in ("boxes_xyxy", "scores", "category_ids", "predicted_ious"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
