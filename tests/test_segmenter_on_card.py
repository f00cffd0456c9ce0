"""Every stage on a GPU that is not there: nothing mixes CPU and GPU, the results are the CPU's, waits are counted."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from no_time_to_train.build import build_proposals, compose_config
from no_time_to_train.files.tensor_cache import EntryMemory
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.models.frozen_encoder import prepare_encoder
from no_time_to_train.models.interfaces import MaskModel
from no_time_to_train.models.patch_encoder import PatchEncoder
from no_time_to_train.models.promptable import PromptableModel
from no_time_to_train.models.prompting import PromptedMasks, segment_prompts
from no_time_to_train.models.sam2.model import Sam2MaskModel, build_sam2
from no_time_to_train.ops.rle import decode_rle, encode_mask
from no_time_to_train.proposals.cache import ProposalCache
from no_time_to_train.references.memory_bank import MemoryBank
from no_time_to_train.references.memory_bank_builder import MemoryBankBuilder
from no_time_to_train.runs.image_labeling import BatchReader, is_cpu_idle, label_batch, square_ahead
from no_time_to_train.runs.image_loop import go_through
from no_time_to_train.runs.progress import Counter, tell_nobody
from no_time_to_train.segmenter import Segmenter
from no_time_to_train.structures import Category, Detections, ReferenceInstance, ReferenceSet, TargetImage
from tests.models.conftest import TINY_SAM2_YAML, randomise
from tests.models.test_promptable import tiny_sam2_config
from tests.pretend_card import CardTensor, pretend_card

CATEGORIES = tuple(Category(number, f"category {number}") for number in (1, 2, 3))
SIDE, PATCH, DIM = 56, 14, 32
POINTS = {"proposals.points_per_side": 4, "proposals.point_grid.min_predicted_iou": 0}
FAMILIES = ("folded", "plain", "transformers")
QUICK_AND_SLOW = ("folded", *(pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES[1:]))


@dataclass(frozen=True)
class Networks:
    """Tiny networks with random weights, on the CPU."""

    sam2: nn.Module
    transformers: nn.Module
    encoder: nn.Module


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    from transformers import Dinov2Config, Dinov2Model, Sam2Model

    config = tmp_path_factory.mktemp("sam2") / "tiny.yaml"
    config.write_text(TINY_SAM2_YAML.replace("DIRECTLY_ADD", "true"))
    spec = replace(get_spec("sam2.1_tiny"), name="tiny", config_file=str(config), image_size=128)
    encoder = Dinov2Config(
        hidden_size=DIM, num_hidden_layers=1, num_attention_heads=2, image_size=SIDE, patch_size=PATCH
    )
    modules = build_sam2(spec), Sam2Model(tiny_sam2_config()), Dinov2Model(encoder)
    for seed, module in enumerate(modules):
        randomise(module.eval(), seed)
        for name, parameter in module.named_parameters():  # so that masks and features differ from place to place
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
    return Networks(*modules)


def make_segmenter(networks: Networks, family: str, device: str, dtype: torch.dtype, *overrides: str) -> Segmenter:
    encoder = copy.deepcopy(networks.encoder)
    prepare_encoder(encoder, torch.device(device), dtype)
    chosen = {
        "preset": "paper",
        "encoder.image_size": SIDE,
        "matching.labels_per_mask": 3,
        "merging.nms_iou_threshold": 1,
    } | ({} if any(o.startswith("proposals=") for o in overrides) else POINTS)
    given = dict(override.split("=", 1) for override in overrides)
    config = compose_config([f"{key}={value}" for key, value in (chosen | given).items()])
    return Segmenter(
        PatchEncoder(
            encoder, model_id="tiny", patch_size=PATCH, feature_dim=DIM, image_size=SIDE, device=device, dtype=dtype
        ),
        make_mask_model(networks, family, device, dtype),
        config,
        proposals=build_proposals(config),
    )


def make_mask_model(networks: Networks, family: str, device: str, dtype: torch.dtype) -> MaskModel:
    common = {"model_id": "tiny", "device": device, "dtype": dtype, "prompts_per_batch": 8}
    if family == "transformers":
        module = copy.deepcopy(networks.transformers)
        prepare_encoder(module.vision_encoder.backbone, torch.device(device), dtype)
        return PromptableModel(module, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), **common)
    module = copy.deepcopy(networks.sam2)
    prepare_encoder(module.image_encoder, torch.device(device), dtype)
    return Sam2MaskModel(module, decoder=family, **common)


def make_memory() -> MemoryBank:
    builder = MemoryBankBuilder(CATEGORIES, DIM, keep_instances=True)
    generator = torch.Generator().manual_seed(0)
    for category in CATEGORIES:
        for _ in range(2):
            builder.add(category, torch.randn(DIM, generator=generator))
    return builder.build(encoder_id="tiny", encoder_image_size=SIDE)


def make_image(height: int = 90, width: int = 140, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.array(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def on_both(
    networks: Networks, monkeypatch: pytest.MonkeyPatch, *overrides: str, family: str = "folded"
) -> tuple[Detections, Detections]:
    """What the CPU and a GPU that is not there, the second of two, find with the same settings, in float32."""
    image, memory = make_image(), make_memory()
    on_cpu = make_segmenter(networks, family, "cpu", torch.float32, *overrides).segment(image, memory)
    with pretend_card(monkeypatch, "cuda:1"):
        on_card = make_segmenter(networks, family, "cuda:1", torch.float32, *overrides).segment(image, memory)
    return on_cpu, on_card


def assert_same(on_cpu: Detections, on_card: Detections) -> None:
    on_cpu, on_card = (found.scoring_at_least(1e-4) for found in (on_cpu, on_card))  # rounding makes 0 of less
    assert len(on_card) == len(on_cpu) > 1
    np.testing.assert_array_equal(on_card.category_ids, on_cpu.category_ids)
    np.testing.assert_allclose(on_card.scores, on_cpu.scores, atol=1e-5)
    for mine, theirs in zip(on_card.rles, on_cpu.rles, strict=True):
        assert (decode_rle(mine) == decode_rle(theirs)).mean() > 0.999


def test_the_pretended_card_takes_what_a_card_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretend_card(monkeypatch) as card:
        on_card, on_cpu = torch.ones(3, device="cuda"), torch.ones(3)
        assert isinstance(on_card, CardTensor) and (on_card + 1).device.type == "cuda"
        mixed: list[Callable[[], object]] = [
            lambda: on_card + on_cpu,
            lambda: torch.cat([on_card, on_cpu]),
            lambda: on_cpu[torch.zeros(1, dtype=torch.long, device="cuda")],
            lambda: on_card.numpy(),
            lambda: on_card.double(),
            lambda: on_card + torch.ones(3, device="cuda:1"),
            lambda: on_card[torch.zeros(1, dtype=torch.long, device="cuda:1")],
        ]
        for mix in mixed:
            with pytest.raises((RuntimeError, TypeError)):
                mix()
        assert (on_card * torch.tensor(2.0)).sum() and not card.waits["outside of the package: nonzero"]
        on_card.nonzero(), on_card[on_card > 0], on_card.cpu(), on_cpu.to("cuda")
    assert card.waits.total() == 5  # with the bool() of a tensor


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_float32_gives_what_the_cpu_gives(networks: Networks, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    assert_same(*on_both(networks, monkeypatch, family=family))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_autocast_runs_from_end_to_end(
    networks: Networks, monkeypatch: pytest.MonkeyPatch, family: str, dtype: torch.dtype
) -> None:
    with pretend_card(monkeypatch):
        segmenter = make_segmenter(networks, family, "cuda", dtype)
        [encoded] = segmenter.encode([make_image()])
        assert encoded.features.dtype == encoded.embedding.embedding.dtype == torch.float32
        found = segmenter.segment(make_image(), make_memory())
    assert len(found) and np.isfinite(found.scores).all()


AUTOMATIC = [
    "proposals=automatic_masks",
    "proposals.points_per_side=3",
    "proposals.automatic_masks.pred_iou_thresh=0",
    "proposals.automatic_masks.stability_score_thresh=0",
]
SETTINGS = {
    "second look": ["second_look.max_masks=3"],
    "half-open boxes": ["output.box_convention=half_open"],
    "nearest instances": ["matching=nearest_instances"],
    "nearest centers": ["matching=nearest_centers"],
    "across categories": ["merging.across_categories=true"],
    "graph diffusion": ["merging=graph_diffusion"],
    "hard": ["merging=hard"],
    "prefilter": ["proposals.point_grid.prefilter=semantic", "proposals.point_grid.prefilter_top_k=9"],
    "consistency": ["proposals.consistency=drop", "proposals.min_consistency=0.1"],
    "tiles": ["tiles=80"],
    "semantic": ["proposals=semantic_clusters", "proposals.semantic_clusters.min_predicted_iou=0"],
    "automatic": AUTOMATIC,
    "automatic in crops": [*AUTOMATIC, "proposals.automatic_masks.crop_n_layers=1"],
    "automatic without small regions": [*AUTOMATIC, "proposals.automatic_masks.min_mask_region_area=20"],
    "quality": ["scoring=quality"],
    "union": [
        "proposals=union",
        "proposals.sources=[point_grid,semantic_clusters]",
        "proposals.points_per_side=4",
        "proposals.point_grid.min_predicted_iou=0",
        "proposals.semantic_clusters.min_predicted_iou=0",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_every_way_gives_what_the_cpu_gives(networks: Networks, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert_same(*on_both(networks, monkeypatch, *SETTINGS[name]))


def test_how_often_the_host_waits(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each batch of prompts, for the labels, for each part of the masks, and for their outlines."""
    memory = make_memory()
    with pretend_card(monkeypatch) as card:
        segmenter = make_segmenter(networks, "folded", "cuda", torch.bfloat16)
        segmenter.segment(make_image(seed=1), memory)  # prototypes and what depends on sizes stay on the card
        card.waits.clear()
        square = segmenter.square(make_image())  # as threads do that read ahead
        card.sent.clear()
        [encoded] = segmenter.encode([make_image()], squares=[square])
        assert card.sent.total() == square.nbytes == 128 * 128 * 3
        found = segmenter.label(segmenter.propose(encoded), memory)
    assert len(set(found.category_ids)) > 1
    assert card.waits == {
        "models.sam2.shared_decoder.predict_best: nonzero": 2,
        "ops.transfers.to_host: synchronize": 2,
        "ops.masks._crossings: nonzero": 1,
    }


def test_the_loop_with_its_threads(networks: Networks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Images are read and squashed by threads and finished by another; float32 gives what the CPU gives in turns."""
    memory, found = make_memory(), {"cpu": [], "cuda:1": []}
    targets = [TargetImage(tmp_path / f"{number}.png", f"{number}.png", number) for number in range(2)]
    for target in targets:
        Image.fromarray(make_image(seed=target.id)).save(target.path)

    def label(device: str) -> None:
        segmenter = make_segmenter(networks, "folded", device, torch.float32)
        is_beside, sink = is_cpu_idle(segmenter), Kept(found[device])
        reader = BatchReader([targets[:1], targets[1:]], square=square_ahead(segmenter))
        process = partial(label_batch, segmenter=segmenter, memory=memory)
        go_through(reader, process, sink, Counter("images", 2, tell_nobody), finish_beside=is_beside)

    label("cpu")
    with pretend_card(monkeypatch, "cuda:1"):
        label("cuda:1")
    for on_cpu, on_card in zip(found["cpu"], found["cuda:1"], strict=True):
        assert_same(on_cpu, on_card)


class Kept(nullcontext):
    """A sink that keeps detections."""

    def is_done(self, target: TargetImage) -> bool:
        return False

    def write(self, target: TargetImage, image: np.ndarray | None, detections: Detections) -> None:
        self.enter_result.append(detections)


def make_references(folder: Path, num_images: int) -> ReferenceSet:
    """On each image two instances: one with a mask, one with a box."""
    mask = np.zeros((90, 140), bool)
    mask[20:70, 30:100] = True
    found: list[ReferenceInstance] = []
    for number in range(num_images):
        path = folder / f"{number}.png"
        Image.fromarray(make_image(seed=3 + number)).save(path)
        with_mask = ReferenceInstance(path, number, 2 * number, CATEGORIES[0], (30, 20, 100, 70), encode_mask(mask))
        found += [with_mask, replace(with_mask, annotation_id=2 * number + 1, mask=None)]
    return ReferenceSet(CATEGORIES[:1], tuple(found))


def test_references_are_encoded(networks: Networks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The host waits once for each batch of crops, and where a mask is made of a box."""
    references = make_references(tmp_path, 2)
    on_cpu = make_segmenter(networks, "folded", "cpu", torch.float32).build_memory(references)
    with pretend_card(monkeypatch, "cuda:1") as card:
        segmenter = make_segmenter(networks, "folded", "cuda:1", torch.float32)
        card.waits.clear()
        on_card = segmenter.build_memory(references)
    torch.testing.assert_close(on_card.class_means()[0], on_cpu.class_means()[0])
    assert card.waits == {
        "models.sam2.shared_decoder._single_mask: nonzero": 2,
        "ops.masks._crossings: nonzero": 2,
        "ops.transfers.to_host: synchronize": 2 + 1,
        "models.prompting.segment_prompts: to_copy": 2,
    }


def test_boxes_become_masks(networks: Networks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The host waits for the masks that give way to others, for the sure ones, and as for any image."""
    boxes = [[10, 10, 60, 50], [40, 20, 90, 60], [5, 5, 130, 80]]
    results = [{"image_id": 1, "bbox": box, "score": 0.5} for box in boxes]
    (tmp_path / "boxes.json").write_text(json.dumps(results))
    settings = (
        "proposals=boxes",
        f"proposals.boxes.boxes_file={tmp_path / 'boxes.json'}",
        "proposals.boxes.min_predicted_iou=0",
    )
    image, memory, targets = make_image(), make_memory(), [TargetImage(tmp_path / "image.png", "image.png", 1)]
    on_cpu = make_segmenter(networks, "folded", "cpu", torch.float32, *settings)
    with pretend_card(monkeypatch, "cuda:1") as card:
        on_card = make_segmenter(networks, "folded", "cuda:1", torch.float32, *settings)
        on_card._match(torch.zeros(1, DIM, device="cuda:1"), memory)  # prototypes stay there
        card.waits.clear()
        [found] = on_card.segment_batch([image], memory, targets)
    assert_same(on_cpu.segment_batch([image], memory, targets)[0], found)
    assert card.waits == {
        "models.sam2.shared_decoder._single_mask: nonzero": 1,
        "proposals.boxes.propose: nonzero": 1,
        "ops.transfers.to_host: synchronize": 2,
        "ops.masks._crossings: nonzero": 1,
    }


@pytest.mark.parametrize("family", QUICK_AND_SLOW)
def test_clicks_and_their_refinement(networks: Networks, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """Points, a box and the mask of an earlier answer, in a session as of ``nttt review``."""

    def session(device: str) -> PromptedMasks:
        model = make_mask_model(networks, family, device, torch.float32)
        first = segment_prompts(model, make_image(), points_xy=[[40, 30], [90, 60]], point_labels=[1, 0])
        return segment_prompts(
            model,
            first.image,
            points_xy=[[50, 40]],
            point_labels=torch.ones(1, device=device),
            boxes_xyxy=[20, 10, 110, 80],
            mask=first.best().logits[:, 0],
        )

    on_cpu = session("cpu")
    with pretend_card(monkeypatch, "cuda:1"):
        on_card = session("cuda:1")
    np.testing.assert_allclose(on_card.predicted_ious, on_cpu.predicted_ious, atol=1e-5)
    assert (on_card.masks == on_cpu.masks).mean() > 0.999


def test_cached_proposals_come_back(networks: Networks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are stored and loaded by threads; loading waits for nothing."""
    memory = make_memory()
    with pretend_card(monkeypatch, "cuda:1") as card:
        segmenter = make_segmenter(networks, "folded", "cuda:1", torch.float32)
        pooled = segmenter.propose(segmenter.encode([make_image()])[0])
        kept = EntryMemory(max_bytes=1 << 30)
        cache = ProposalCache(tmp_path, "made for a test", segmenter.device, kept)
        cache.store("image", pooled)
        entry = kept.get("made for a test", "image")
        assert entry is not None and not any(tensor.is_pinned() for tensor in entry.tensors.values())
        card.waits.clear()
        again = cache.load("image")
        assert again is not None and isinstance(again.features, CardTensor) and not card.waits
        assert_same(segmenter.label(pooled, memory), segmenter.label(again, memory))
