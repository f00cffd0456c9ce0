"""SAM's automatic mask generator.

It keeps every mask of a grid of points, in the image and in crops of it, that is sure enough.

The masks are those of ``sam2.automatic_mask_generator.SAM2AutomaticMaskGenerator``. What makes it faster: the decoder
shares its image side between the points and upscales nothing below the predicted IoU; stability scores, boxes and
run-length encodings come from the low-resolution logits, without a mask of the image's size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import ImageEmbedding, MaskModel, PromptBatch
from no_time_to_train.models.prompting import embed_image, to_square_xy
from no_time_to_train.ops.masks import encode_mask_logits, grid_logits, stability_scores
from no_time_to_train.ops.nms import nms
from no_time_to_train.ops.regions import remove_small_regions
from no_time_to_train.ops.rle import Rle, decode_rle, rles_to_boxes_xyxy
from no_time_to_train.ops.transfers import to_device, to_host
from no_time_to_train.proposals.crop_layers import Crop, crop_points_xy, image_crops, is_cut_off
from no_time_to_train.proposals.interfaces import EncodedImage, MaskProposals, Need, ProposalSource
from no_time_to_train.proposals.settings import AutomaticMasksConfig

_POINTS_AT_ONCE = 256
"""So many points' masks above the predicted IoU are held at once, 256 KB each for SAM 2, until the unstable ones go."""


@dataclass(frozen=True, eq=False)
class GeneratedMasks:
    """K masks of one image.

    Attributes:
        rles: run-length encoded masks of the image's size.
        boxes_xyxy: (K, 4) float32 half-open pixels.
        predicted_ious: (K,) float32, the mask model's own estimate of each mask's IoU.
        stability_scores: (K,) float32 in 0..1, see ``ops.masks.stability_scores``.
        points_xy: (K, 2) float32, the point that each mask comes from, in pixels of the image.
        crop_boxes_xyxy: (K, 4) int64, the part of the image that it was found in.
        logits: (K, m, m) float32 on the mask model's grid over that part, before small regions were removed.
    """

    rles: tuple[Rle, ...]
    boxes_xyxy: np.ndarray
    predicted_ious: np.ndarray
    stability_scores: np.ndarray
    points_xy: np.ndarray
    crop_boxes_xyxy: np.ndarray
    logits: Tensor

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> GeneratedMasks:
        """Select by slice, list of positions or boolean array of length K."""
        positions = np.arange(len(self))[index]
        arrays = {f.name: getattr(self, f.name)[positions] for f in fields(self) if f.name not in ("rles", "logits")}
        logits = self.logits[to_device(torch.from_numpy(positions), self.logits.device)]
        return GeneratedMasks(rles=tuple(self.rles[i] for i in positions), **arrays, logits=logits)

    @property
    def masks(self) -> np.ndarray:
        """Decode (K, H, W) bool masks on every call; at least one.

        Keep the slice small on large images.
        """
        return np.stack([decode_rle(rle) for rle in self.rles])


def _concatenate(parts: Sequence[GeneratedMasks]) -> GeneratedMasks:
    arrays = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts])
        for f in fields(GeneratedMasks)
        if f.name not in ("rles", "logits")
    }
    rles = tuple(rle for part in parts for rle in part.rles)
    return GeneratedMasks(rles=rles, **arrays, logits=torch.cat([part.logits for part in parts]))


@dataclass
class AutomaticMasks(AutomaticMasksConfig, ProposalSource):
    """SAM's automatic mask generator, alone or as a source of proposals.

    ``generate`` is for it alone, ``propose`` for a source.

    All three multimask outputs of every point are candidates; empty masks are left out. The names are SAM's own.

    The settings of :class:`AutomaticMasksConfig` are the arguments. Small regions are removed as in the first SAM's
    generator: SAM 2's does it on the low-resolution mask, and only where its CUDA extension was compiled.

    Raises:
        InputError: no point is left on some layer of crops.

    Example:
        >>> segmenter = ntt.load_segmenter(preset="demo", device="cpu")
        >>> generator = ntt.AutomaticMasks(points_per_side=4)
        >>> masks = generator.generate(ntt.read_image("photo.jpg"), segmenter.mask_model)
        >>> len(masks.rles) == len(masks.predicted_ious)
        True
    """

    def __post_init__(self) -> None:
        if self._points_per_side_of(self.crop_n_layers) < 1:
            raise InputError(
                f"points_per_side={self.points_per_side} with "
                f"crop_n_points_downscale_factor={self.crop_n_points_downscale_factor} leaves no point in the crops of "
                f"layer {self.crop_n_layers}: use more points, a smaller factor or fewer layers."
            )

    @classmethod
    def from_config(cls, settings: AutomaticMasksConfig) -> AutomaticMasks:
        """Return the source with these settings; raises as the class does."""
        return cls(**vars(settings))

    @property
    def needs(self) -> frozenset[Need]:
        """Return what it looks at: the embedding; for crops pixels too."""
        return frozenset({"embedding", "pixels"} if self.crop_n_layers else {"embedding"})

    @torch.inference_mode()
    def generate(self, pixels: np.ndarray, mask_model: MaskModel) -> GeneratedMasks:
        """Generate all masks of (H, W, 3) uint8 RGB.

        They are those that ``SAM2AutomaticMaskGenerator.generate`` finds.

        Example:
            >>> masks = AutomaticMasks(points_per_side=16).generate(read_image("photo.jpg"), load_sam2("sam2.1_large"))
        """

        def embed(crop: Crop) -> ImageEmbedding:
            return embed_image(mask_model, crop.cut(pixels)).embedding

        return self._generate((pixels.shape[0], pixels.shape[1]), embed, mask_model)

    @torch.inference_mode()
    def propose(self, image: EncodedImage, mask_model: MaskModel, prototypes: Tensor | None = None) -> MaskProposals:
        """Propose the masks as candidates for labeling.

        The whole image is not encoded again: ``image`` has it in the labeling method's own (bicubic) resampling, so
        that the masks found there can differ by a few pixels from those of ``generate``. Crops are encoded as there.

        Raises:
            InputError: there are layers of crops, but ``image`` does not hold its pixels.
        """
        pixels = image.pixels
        if self.crop_n_layers and pixels is None:
            raise InputError(
                "proposals.automatic_masks.crop_n_layers needs the image's pixels: make it with Segmenter.encode."
            )

        def embed(crop: Crop) -> ImageEmbedding:
            if crop.layer == 0 or pixels is None:
                return image.embedding
            return embed_image(mask_model, crop.cut(pixels)).embedding

        masks = self._generate(image.image_size_hw, embed, mask_model)
        logits = masks.logits
        height, width = image.image_size_hw
        is_whole = (masks.crop_boxes_xyxy == (0, 0, width, height)).all(axis=1)
        from_pixels = np.flatnonzero(~is_whole | (self.min_mask_region_area > 0))
        if len(from_pixels):
            grids = grid_logits([masks.rles[i] for i in from_pixels], mask_model.mask_size)
            logits[to_device(torch.from_numpy(from_pixels), logits.device)] = to_device(grids, logits.device)
        predicted_ious, stabilities = (
            to_device(torch.from_numpy(values), logits.device)
            for values in (masks.predicted_ious, masks.stability_scores)
        )
        return MaskProposals(logits, predicted_ious, masks.rles, stabilities)

    def _generate(
        self, image_size_hw: tuple[int, int], embed: Callable[[Crop], ImageEmbedding], mask_model: MaskModel
    ) -> GeneratedMasks:
        crops = image_crops(image_size_hw, self.crop_n_layers, self.crop_overlap_ratio)
        masks = _concatenate([self._masks_of_crop(crop, embed(crop), image_size_hw, mask_model) for crop in crops])
        if len(crops) > 1:
            sides = masks.crop_boxes_xyxy[:, 2:] - masks.crop_boxes_xyxy[:, :2]
            masks = _suppress(masks, 1 / sides.prod(axis=1), self.crop_nms_thresh)
        return self._without_small_regions(masks) if self.min_mask_region_area else masks

    def _masks_of_crop(
        self, crop: Crop, embedding: ImageEmbedding, image_size_hw: tuple[int, int], mask_model: MaskModel
    ) -> GeneratedMasks:
        """Return the masks of one crop that are sure enough, best predicted IoU first."""
        points_xy = crop_points_xy(crop.size_hw, self._points_per_side_of(crop.layer))
        masks = _concatenate(
            [
                self._masks_at(points, crop, embedding, image_size_hw, mask_model)
                for points in points_xy.split(_POINTS_AT_ONCE)
            ]
        )
        return _suppress(masks, masks.predicted_ious, self.box_nms_thresh)

    def _masks_at(
        self,
        points_xy: Tensor,
        crop: Crop,
        embedding: ImageEmbedding,
        image_size_hw: tuple[int, int],
        mask_model: MaskModel,
    ) -> GeneratedMasks:
        """Return the masks of some points (P, 2) of a crop.

        They pass all thresholds and are not cut off by its edges.
        """
        found = mask_model.predict_above(
            embedding,
            PromptBatch.of_clicks(to_square_xy(points_xy, crop.size_hw, mask_model.image_size)),
            min_predicted_iou=self.pred_iou_thresh if self.pred_iou_thresh > 0 else -torch.inf,
        )
        stability = stability_scores(found.logits, crop.size_hw, self.stability_score_offset, antialias=False)
        is_stable = stability >= self.stability_score_thresh
        if self.stability_score_thresh <= 0:
            is_stable = torch.ones_like(is_stable)
        kept = torch.nonzero(is_stable)[:, 0]
        logits = found.logits[kept]
        rles = encode_mask_logits(logits, image_size_hw, crop_xyxy=crop.box_xyxy, antialias=False)
        of_masks = found.predicted_ious[kept], stability[kept], found.prompt_indices[kept]
        predicted_ious, stabilities, prompt_indices = to_host(*of_masks)
        points_in_image = points_xy[prompt_indices] + torch.tensor(crop.box_xyxy[:2])
        masks = GeneratedMasks(
            rles=tuple(rles),
            boxes_xyxy=rles_to_boxes_xyxy(rles),
            predicted_ious=predicted_ious.numpy(),
            stability_scores=stabilities.numpy(),
            points_xy=points_in_image.numpy(),
            crop_boxes_xyxy=np.tile(np.array(crop.box_xyxy), (len(rles), 1)),
            logits=logits,
        )
        is_empty = masks.boxes_xyxy[:, 2] == 0
        return masks[~is_empty & ~is_cut_off(masks.boxes_xyxy, crop, image_size_hw)]

    def _without_small_regions(self, masks: GeneratedMasks) -> GeneratedMasks:
        """Small regions removed; then, of masks that have become alike, one that needed no change stays."""
        rles = tuple(remove_small_regions(rle, self.min_mask_region_area) for rle in masks.rles)
        is_unchanged = np.array([new is old for new, old in zip(rles, masks.rles, strict=True)], np.float32)
        masks = replace(masks, rles=rles, boxes_xyxy=rles_to_boxes_xyxy(rles))
        return _suppress(masks, is_unchanged, max(self.box_nms_thresh, self.crop_nms_thresh))

    def _points_per_side_of(self, layer: int) -> int:
        return int(self.points_per_side / self.crop_n_points_downscale_factor**layer)


def _suppress(masks: GeneratedMasks, ranking: np.ndarray, iou_threshold: float) -> GeneratedMasks:
    """Greedy NMS of boxes, best ranking first; equal rankings in their order.

    On boxes that end on the last pixel's index, in float32: so SAM computes it.
    """
    boxes = torch.from_numpy(masks.boxes_xyxy - np.array([0, 0, 1, 1], np.float32))
    return masks[nms(boxes, torch.from_numpy(ranking.astype(np.float32)), iou_threshold).numpy()]
