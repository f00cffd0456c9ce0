"""Detectors with small random weights, in transformers' own layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from no_time_to_train.errors import InputError, InputFileNotFoundError, WeightsNotFoundError
from no_time_to_train.models.detector import ObjectnessDetector, load_detector

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def save_yolos(folder: Path) -> Path:
    """Scores one label per box."""
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[32, 48],
        patch_size=8,
        num_detection_tokens=7,
        num_labels=3,
    )
    YolosForObjectDetection(config).save_pretrained(folder)
    YolosImageProcessor(size={"height": 32, "width": 48}).save_pretrained(folder)
    return folder


def save_rt_detr(folder: Path) -> Path:
    """Scores every label of a box by itself."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessor, RTDetrResNetConfig

    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
        out_indices=[2, 3, 4],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 8, 8],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        num_queries=9,
        num_labels=2,
    )
    RTDetrForObjectDetection(config).save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def save_owlv2(folder: Path, *, patch_size: int = 8) -> Path:
    """Tiny, on images of 32 x 32, in the layout of google/owlv2-base-patch16-ensemble."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor

    torch.manual_seed(0)
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Owlv2Config(
        vision_config={**tiny, "image_size": 32, "patch_size": patch_size},
        text_config={**tiny, "vocab_size": 10, "max_position_embeddings": 4},
        projection_dim=16,
    )
    module = Owlv2ForObjectDetection(config)
    with torch.no_grad():  # boxes and scores that differ, some of them beyond the image
        for head in (module.box_head, module.objectness_head):
            head.dense2.weight.normal_(std=0.5)
    module.save_pretrained(folder)
    Owlv2ImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_boxes_are_in_pixels_of_the_image(tmp_path: Path) -> None:
    detector = load_detector(str(save_yolos(tmp_path)))
    boxes, scores = detector.detect(IMAGE)
    assert boxes.shape == (7, 4) and scores.shape == (7,)
    assert boxes.dtype == scores.dtype == np.float32
    assert ((scores > 0) & (scores < 1)).all()
    # The network's own output: center, width and height as shares of the image; the best label that is not "nothing".
    inputs = detector.processor(images=IMAGE, return_tensors="pt")
    with torch.no_grad():
        outputs = detector.module(**inputs)
    center, size = outputs.pred_boxes[0, :, :2], outputs.pred_boxes[0, :, 2:]
    expected = torch.cat([center - size / 2, center + size / 2], dim=1) * torch.tensor([60, 40, 60, 40])
    np.testing.assert_allclose(boxes, expected.numpy(), atol=1e-3)
    np.testing.assert_allclose(scores, outputs.logits[0].softmax(-1)[:, :-1].amax(-1).numpy(), atol=1e-6)
    larger, _ = detector.detect(np.repeat(np.repeat(IMAGE, 2, axis=0), 2, axis=1))
    np.testing.assert_allclose(larger, 2 * boxes, atol=2.0)


def test_a_detector_that_scores_every_label(tmp_path: Path) -> None:
    boxes, scores = load_detector(str(save_rt_detr(tmp_path))).detect(IMAGE)
    assert len(boxes) == len(scores) > 0
    assert len(np.unique(boxes, axis=0)) <= 9
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("image", [IMAGE, IMAGE.transpose(1, 0, 2).copy()], ids=["wide", "high"])
def test_owlv2_scores_every_patch_by_its_objectness(tmp_path: Path, image: np.ndarray) -> None:
    from transformers import Owlv2ForObjectDetection, Owlv2ImageProcessor

    boxes, scores = load_detector(str(save_owlv2(tmp_path))).detect(image)
    assert boxes.shape == (16, 4) and scores.shape == (16,) and boxes.dtype == scores.dtype == np.float32

    # transformers itself, asked for an image that looks like the image: the boxes are those of the whole square.
    module = Owlv2ForObjectDetection.from_pretrained(tmp_path).eval()
    processor = Owlv2ImageProcessor.from_pretrained(tmp_path)
    pixel_values = processor(images=image, return_tensors="pt").pixel_values
    with torch.no_grad():
        guided = module.image_guided_detection(pixel_values=pixel_values, query_pixel_values=pixel_values)
        features, _ = module.image_embedder(pixel_values)
        objectness = module.objectness_predictor(features.flatten(1, 2))[0].sigmoid()
    guided.logits = torch.full((1, 16, 1), 9.0)
    [expected] = processor.post_process_image_guided_detection(
        guided, nms_threshold=1.0, target_sizes=torch.tensor([image.shape[:2]])
    )
    np.testing.assert_allclose(boxes, expected["boxes"].numpy(), atol=1e-4)
    np.testing.assert_allclose(scores, objectness.numpy(), atol=1e-6)
    assert np.unique(scores).size == 16


def test_padding_of_owlv2_is_undone(tmp_path: Path) -> None:
    """A wide image and the same on a square canvas, as the processor pads it, give the same boxes in pixels."""
    detector = load_detector(str(save_owlv2(tmp_path)))
    wide = np.full((24, 48, 3), 90, np.uint8)
    square = np.zeros((48, 48, 3), np.uint8)
    square[:24] = wide
    boxes, scores = detector.detect(wide)
    expected_boxes, expected_scores = detector.detect(square)
    np.testing.assert_allclose(boxes, expected_boxes, atol=1e-3)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)
    assert boxes[:, 3].max() > 24  # below the image: clipped by who uses them


def test_owlv2_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        WeightsNotFoundError, match=r"owlv2 \(620 MB\).*of https://huggingface.co/google/owlv2-base-pat"
    ):
        load_detector("owlv2")
    monkeypatch.setenv("NTTT_WEIGHTS", str(tmp_path))
    save_owlv2(tmp_path / "google/owlv2-base-patch16-ensemble")
    assert isinstance(load_detector("owlv2"), ObjectnessDetector)


def test_what_is_no_detector(tmp_path: Path) -> None:
    with pytest.raises(InputFileNotFoundError, match="no such folder, and not a hub id such as"):
        load_detector("detector_folder")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WeightsNotFoundError, match="has no config.json.*preprocessor_config.json"):
        load_detector(str(empty))

    from transformers import Dinov2Config, Dinov2Model, YolosImageProcessor

    other = tmp_path / "other"
    Dinov2Model(Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)).save_pretrained(other)
    YolosImageProcessor().save_pretrained(other)
    with pytest.raises(InputError, match="cannot be loaded as AutoModelForObjectDetection: .*Dinov2Config"):
        load_detector(str(other))


def test_a_backbone_without_a_head_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = save_yolos(tmp_path) / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(weights).items() if "bbox_predictor" not in name}
    save_file(kept, weights, metadata={"format": "pt"})
    with pytest.raises(InputError, match="weights are not in its files.* bbox_predictor.*without a detection head"):
        load_detector(str(tmp_path))


def test_owlv2_whose_heads_do_not_fit_is_refused(tmp_path: Path) -> None:
    other = save_owlv2(tmp_path / "other", patch_size=16)
    weights = save_owlv2(tmp_path / "tiny") / "model.safetensors"
    weights.write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="not in its files, or of another shape, owlv2.vision_model.embeddings"):
        load_detector(str(tmp_path / "tiny"))
