from __future__ import annotations

import gc

import pytest
import torch
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from torch import Tensor, nn

from no_time_to_train.errors import InputError
from no_time_to_train.models.batching import PromptBatcher
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.models.interfaces import ImageEmbedding, PromptBatch
from no_time_to_train.models.native_code import find_compiler
from no_time_to_train.models.sam2 import compiled_passes
from no_time_to_train.models.sam2.compiled_passes import CompiledPasses
from no_time_to_train.models.sam2.factored_tokens import per_head, prompts_apart, prompts_together
from no_time_to_train.models.sam2.model import build_sam2
from no_time_to_train.models.sam2.plain_decoder import PlainDecoder
from no_time_to_train.models.sam2.shared_decoder import PointDecoder, arithmetic_dtype

CHANNELS, GRID = 64, 8
IMAGE_SIZE = 16 * GRID


class Network(nn.Module):
    """The two parts of SAM2Base that decode prompts, small."""

    def __init__(self, *, pred_obj_scores: bool = True, dynamic_multimask: bool = True, high_res: bool = True) -> None:
        super().__init__()
        self.sam_prompt_encoder = PromptEncoder(CHANNELS, (GRID, GRID), (IMAGE_SIZE, IMAGE_SIZE), 16)
        self.sam_mask_decoder = MaskDecoder(
            transformer_dim=CHANNELS,
            transformer=TwoWayTransformer(depth=2, embedding_dim=CHANNELS, num_heads=8, mlp_dim=96),
            iou_head_hidden_dim=32,
            use_high_res_features=high_res,
            iou_prediction_use_sigmoid=True,
            pred_obj_scores=pred_obj_scores,
            pred_obj_scores_mlp=pred_obj_scores,
            dynamic_multimask_via_stability=dynamic_multimask,
        )


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights, biases and norms that all matter, and attention that is neither flat nor one-hot."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1.5 * noise / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.5 + 0.3 * noise)
    return module.eval().requires_grad_(False)


def random_embedding(channels: int = CHANNELS, grid: int = GRID, seed: int = 1) -> ImageEmbedding:
    generator = torch.Generator().manual_seed(seed)

    def maps(depth: int, side: int) -> Tensor:
        return torch.randn(1, depth, side, side, generator=generator)

    return ImageEmbedding(maps(channels, grid), (maps(channels // 8, 4 * grid), maps(channels // 4, 2 * grid)))


def random_prompts(kind: str, count: int, image_size: int = IMAGE_SIZE, seed: int = 2) -> PromptBatch:
    generator = torch.Generator().manual_seed(seed)
    num_points = 3 if "points" in kind else 1
    corners = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values * image_size
    points = torch.rand(count, num_points, 2, generator=generator) * image_size
    labels = torch.randint(-1 if num_points > 1 else 1, 2, (count, num_points), generator=generator)
    masks = 4 * torch.randn(count, image_size // 4, image_size // 4, generator=generator)
    return PromptBatch(
        points_xy=points if "point" in kind else None,
        point_labels=labels if "point" in kind else None,
        boxes_xyxy=corners.flatten(1) if "box" in kind else None,
        mask_logits=masks if "mask" in kind else None,
    )


@pytest.fixture(scope="module")
def network() -> Network:
    return randomise(Network())


@pytest.fixture(scope="module")
def embedding() -> ImageEmbedding:
    return random_embedding()


# Of the session, and named by the tests themselves: compiled before a test gets a home folder of its own.
@pytest.fixture(scope="session")
def compiled() -> CompiledPasses | None:
    return None if find_compiler() is None else CompiledPasses()


@pytest.fixture(params=["torch", "compiled"])
def passes(request: pytest.FixtureRequest, compiled: CompiledPasses | None) -> CompiledPasses | None:
    """What works off the image side."""
    if request.param == "compiled" and compiled is None:
        pytest.skip("no C++ compiler")
    return compiled if request.param == "compiled" else None


@pytest.mark.parametrize("kind", ["point", "points", "box", "box+point", "mask", "box+points+mask"])
@pytest.mark.parametrize("multimask", [True, False])
def test_same_numbers_as_the_package(
    network: Network, embedding: ImageEmbedding, kind: str, multimask: bool, passes: CompiledPasses | None
) -> None:
    prompts = random_prompts(kind, count=5)

    folded = PointDecoder(network, passes=passes).predict(embedding, prompts, multimask)

    plain = PlainDecoder(network).predict(embedding, prompts, multimask)
    assert plain.logits.std() > 0.1, "a constant would be easy to match"
    torch.testing.assert_close(folded.logits, plain.logits, atol=5e-5, rtol=1e-5)
    torch.testing.assert_close(folded.predicted_ious, plain.predicted_ious, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pred_obj_scores", [True, False])
@pytest.mark.parametrize("dynamic_multimask", [True, False])
def test_every_configuration_of_the_decoder(
    embedding: ImageEmbedding, pred_obj_scores: bool, dynamic_multimask: bool, passes: CompiledPasses | None
) -> None:
    network = randomise(Network(pred_obj_scores=pred_obj_scores, dynamic_multimask=dynamic_multimask))
    prompts = random_prompts("point", count=4)

    folded = PointDecoder(network, passes=passes).predict(embedding, prompts, False)

    plain = PlainDecoder(network).predict(embedding, prompts, False)
    torch.testing.assert_close(folded.logits, plain.logits, atol=5e-5, rtol=1e-5)
    torch.testing.assert_close(folded.predicted_ious, plain.predicted_ious, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 2.0])
def test_unstable_single_masks_give_way(embedding: ImageEmbedding, threshold: float) -> None:
    """None, some and all of the prompts fall back to the best of the three."""
    network = randomise(Network())
    network.sam_mask_decoder.dynamic_multimask_stability_delta = 0.5
    network.sam_mask_decoder.dynamic_multimask_stability_thresh = threshold
    prompts = random_prompts("point", count=12)

    folded = PointDecoder(network).predict(embedding, prompts, False)

    plain = PlainDecoder(network).predict(embedding, prompts, False)
    torch.testing.assert_close(folded.logits, plain.logits, atol=5e-5, rtol=1e-5)
    torch.testing.assert_close(folded.predicted_ious, plain.predicted_ious, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ["point", "box+mask"])
@pytest.mark.parametrize("kept", ["all", "some", "none"])
def test_best_masks_are_those_of_predict(
    network: Network, embedding: ImageEmbedding, kind: str, kept: str, passes: CompiledPasses | None
) -> None:
    decoder, prompts = PointDecoder(network, passes=passes), random_prompts(kind, count=9)
    three = decoder.predict(embedding, prompts, True)
    best_ious, best = three.predicted_ious.max(dim=1)
    threshold = {"all": -1.0, "some": best_ious.median().item(), "none": 1.0}[kept]

    masks = decoder.predict_best(embedding, prompts, threshold)

    expected = torch.nonzero(best_ious > threshold)[:, 0]
    assert len(expected) == {"all": 9, "some": 4, "none": 0}[kept]
    assert torch.equal(masks.prompt_indices, expected)
    assert torch.equal(masks.predicted_ious, best_ious[expected])
    torch.testing.assert_close(masks.logits, three.logits[expected, best[expected]], atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["point", "box+mask"])
@pytest.mark.parametrize("kept", ["all", "some", "none"])
def test_masks_above_are_those_of_the_plain_decoder(
    network: Network, embedding: ImageEmbedding, kind: str, kept: str
) -> None:
    prompts = random_prompts(kind, count=9)
    plain = PlainDecoder(network)
    ious = plain.predict(embedding, prompts, True).predicted_ious
    threshold = {"all": -torch.inf, "some": ious.quantile(0.7).item(), "none": 1.0}[kept]

    masks = PointDecoder(network).predict_above(embedding, prompts, threshold)

    expected = plain.predict_above(embedding, prompts, threshold)
    assert len(expected.logits) == {"all": 27, "some": 8, "none": 0}[kept]
    assert torch.equal(masks.prompt_indices, expected.prompt_indices)
    torch.testing.assert_close(masks.predicted_ious, expected.predicted_ious, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(masks.logits, expected.logits, atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["point", "mask"])
@pytest.mark.parametrize("count", [0, 1])
def test_few_prompts(
    network: Network, embedding: ImageEmbedding, kind: str, count: int, passes: CompiledPasses | None
) -> None:
    decoder, prompts = PointDecoder(network, passes=passes), random_prompts(kind, count=count)
    side = 4 * GRID

    assert decoder.predict(embedding, prompts, True).logits.shape == (count, 3, side, side)
    assert decoder.predict(embedding, prompts, False).logits.shape == (count, 1, side, side)
    assert decoder.predict_best(embedding, prompts, -1.0).logits.shape == (count, side, side)
    assert decoder.predict_above(embedding, prompts, -1.0).logits.shape == (3 * count, side, side)


def test_batches_do_not_change_the_result(network: Network, embedding: ImageEmbedding) -> None:
    decoder, prompts = PointDecoder(network), random_prompts("point", count=7)
    whole = decoder.predict_best(embedding, prompts, -1.0)

    parts = PromptBatcher(3).run(lambda batch: decoder.predict_best(embedding, batch, -1.0), prompts)

    torch.testing.assert_close(torch.cat([part.logits for _, part in parts]), whole.logits, atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize("at_once", [1, 3])
def test_who_decodes_a_prompt_changes_no_bit(
    network: Network,
    embedding: ImageEmbedding,
    compiled: CompiledPasses | None,
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder, prompts = PointDecoder(network, passes=compiled), random_prompts("points", count=7)
    expected = decoder.predict(embedding, prompts, True)

    monkeypatch.setattr(compiled_passes, "_PROMPTS_AT_ONCE", at_once)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    several = decoder.predict(embedding, prompts, True)

    assert torch.equal(several.logits, expected.logits)
    assert torch.equal(several.predicted_ious, expected.predicted_ious)


def test_large_scores_and_activations_overflow_nowhere(compiled: CompiledPasses | None) -> None:
    network = randomise(Network())
    with torch.no_grad():
        for name, parameter in network.sam_mask_decoder.named_parameters():
            if "q_proj.weight" in name or "output_upscaling.0" in name:
                parameter.mul_(30)
    prompts = random_prompts("point", count=3)
    embedding = random_embedding()

    logits = PointDecoder(network, passes=compiled).predict(embedding, prompts, True).logits

    expected = PointDecoder(network).predict(embedding, prompts, True).logits
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits, expected, atol=2e-3, rtol=1e-3)


def test_each_image_has_its_own_shared_terms(network: Network, embedding: ImageEmbedding) -> None:
    decoder, prompts = PointDecoder(network), random_prompts("point", count=2)
    first = decoder.predict(embedding, prompts, True)

    other = random_embedding(seed=9)
    second = decoder.predict(other, prompts, True)
    again = decoder.predict(embedding, prompts, True)

    plain = PlainDecoder(network).predict(other, prompts, True)
    torch.testing.assert_close(second.logits, plain.logits, atol=5e-5, rtol=1e-5)
    assert torch.equal(first.logits, again.logits)


def test_an_embedding_that_is_gone_is_not_mistaken_for_a_new_one(network: Network) -> None:
    decoder, prompts = PointDecoder(network), random_prompts("point", count=2)
    for seed in range(3):  # a new object may get the address of the old one
        embedding = random_embedding(seed=seed)
        folded = decoder.predict(embedding, prompts, True)
        plain = PlainDecoder(network).predict(embedding, prompts, True)
        torch.testing.assert_close(folded.logits, plain.logits, atol=5e-5, rtol=1e-5)
        del embedding
        gc.collect()


@pytest.mark.parametrize(("dtype", "least_agreement"), [(torch.bfloat16, 0.995), (torch.float16, 0.999)])
def test_half_precision_agrees_in_nearly_all_pixels(
    network: Network, embedding: ImageEmbedding, dtype: torch.dtype, least_agreement: float
) -> None:
    prompts = random_prompts("point", count=16)

    folded = PointDecoder(network, dtype).predict(embedding, prompts, True)

    plain = PlainDecoder(network).predict(embedding, prompts, True)
    assert folded.logits.dtype == torch.float32
    assert ((folded.logits > 0) == (plain.logits > 0)).float().mean() >= least_agreement
    torch.testing.assert_close(folded.predicted_ious, plain.predicted_ious, atol=5e-3, rtol=0)


def test_autocast_around_a_float32_decoder_changes_nothing(network: Network, embedding: ImageEmbedding) -> None:
    decoder, prompts = PointDecoder(network), random_prompts("point", count=2)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = decoder.predict(embedding, prompts, True)

    assert torch.equal(inside.logits, decoder.predict(embedding, prompts, True).logits)


def test_the_model_is_left_as_it_was(network: Network) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}

    PointDecoder(network, torch.bfloat16)

    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_without_high_resolution_features_is_refused() -> None:
    with pytest.raises(InputError, match="use_high_res_features_in_sam=true.*decoder=plain"):
        PointDecoder(Network(high_res=False))


@pytest.mark.parametrize(
    ("amx", "processor", "device", "expected"),
    [
        (False, "Intel Xeon", "cpu", torch.float32),
        (False, "AMD EPYC", "cpu", torch.bfloat16),
        (True, "Intel Xeon", "cpu", torch.bfloat16),
        (False, "Intel Xeon", "cuda", torch.bfloat16),
    ],
)
def test_half_precision_is_used_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, amx: bool, processor: str, device: str, expected: torch.dtype
) -> None:
    capabilities = {"amx_tile": amx, "avx512_bf16": True, "cpu_name": processor}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)

    assert arithmetic_dtype(torch.bfloat16, torch.device(device)) == expected
    assert arithmetic_dtype(torch.float32, torch.device(device)) == torch.float32
    if device == "cpu":
        assert arithmetic_dtype(torch.float16, torch.device(device)) == torch.float32


@pytest.mark.slow
def test_full_size_network() -> None:
    network = randomise(build_sam2(get_spec("sam2.1_tiny")))
    embedding = random_embedding(channels=256, grid=64)
    prompts = random_prompts("point", count=6, image_size=1024)
    plain = PlainDecoder(network).predict_best(embedding, prompts, -1.0)

    exact = PointDecoder(network).predict_best(embedding, prompts, -1.0)
    half = PointDecoder(network, torch.bfloat16).predict_best(embedding, prompts, -1.0)
    compiled = PointDecoder(network, passes=CompiledPasses()).predict_best(embedding, prompts, -1.0)

    assert torch.equal(compiled.prompt_indices, plain.prompt_indices)
    torch.testing.assert_close(compiled.logits, plain.logits, atol=1e-4, rtol=0)
    assert torch.equal(exact.prompt_indices, plain.prompt_indices)
    torch.testing.assert_close(exact.logits, plain.logits, atol=1e-4, rtol=0)
    assert ((half.logits > 0) == (plain.logits > 0)).float().mean() >= 0.998


@pytest.mark.parametrize("images", [1, 3])
def test_per_head_products_are_the_same_on_every_device(images: int) -> None:
    tokens, image = torch.randn(3, 2, 4, 5), torch.randn(images, 2, 5, 6)
    expected = torch.einsum("nhtd,nhdl->nhtl", tokens, image.expand(3, -1, -1, -1)).flatten(1, 2)
    torch.testing.assert_close(per_head(tokens, image), expected)
    torch.testing.assert_close(prompts_together(tokens, image[:1]), prompts_apart(tokens, image[:1]))
