"""The stages put together, for one image or a batch.

No math and no output files of its own.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from no_time_to_train.config import Config
from no_time_to_train.data.images import ImageSource, all_as_pixels
from no_time_to_train.data.settings import tile_side_px
from no_time_to_train.matching import InstanceIndex, Matches, Prototypes, match, match_nearest_instances
from no_time_to_train.merging import SettledMasks, best_across_categories, decay_scores
from no_time_to_train.models.interfaces import FeatureEncoder, MaskModel
from no_time_to_train.models.prompting import Numbers, PromptableImage, PromptedMasks, segment_prompts
from no_time_to_train.ops.nms import class_aware_nms
from no_time_to_train.ops.rle import rle_area
from no_time_to_train.ops.transfers import to_device, to_host
from no_time_to_train.proposals.encoding import encode_images, square_image
from no_time_to_train.proposals.interfaces import EncodedImage, ProposalSource
from no_time_to_train.proposals.pooled import PooledProposals, pool_proposals
from no_time_to_train.proposals.tiled import with_tiles
from no_time_to_train.references.encoding import EncodedReference, build_memory_bank
from no_time_to_train.references.loading import as_references
from no_time_to_train.references.memory_bank import MemoryBank, as_memory
from no_time_to_train.references.second_look import encode_mask_crops
from no_time_to_train.scoring import Evidence, mask_ranking, mask_scores
from no_time_to_train.structures import Detections, ReferenceSet, TargetImage


class Segmenter:
    """Both frozen models and every stage.

    References go in, labeled masks of images come out.

    Args:
        encoder: frozen feature encoder.
        mask_model: frozen promptable mask model.
        config: every setting of the method.
        proposals: where candidate masks come from.

    Example:
        >>> segmenter = ntt.load_segmenter("proposals.points_per_side=8", preset="demo", device="cpu")
        >>> memory = segmenter.build_memory(ntt.load_references("references.json"))
        >>> detections = segmenter.segment("photo.jpg", memory)
        >>> detections[detections.scores >= 0.5].masks.dtype
        dtype('bool')
    """

    def __init__(
        self, encoder: FeatureEncoder, mask_model: MaskModel, config: Config, *, proposals: ProposalSource
    ) -> None:
        self.encoder = encoder
        self.mask_model = mask_model
        self.config = config
        self.proposals = proposals
        # A bank never changes, so what matching needs of it (K-means, an index) is made once per bank and forgotten
        # with it.
        self._prototypes: weakref.WeakKeyDictionary[MemoryBank, Prototypes | InstanceIndex] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def device(self) -> torch.device:
        """Return the mask model's device."""
        return self.mask_model.device

    def build_memory(
        self,
        references: ReferenceSet | str | Path,
        on_progress: Callable[[int, int], None] | None = None,
        on_encoded: Callable[[EncodedReference], object] | None = None,
    ) -> MemoryBank:
        """Compute the class prototypes of the references (equations 1-2).

        Boxes without a mask get one from the mask model.

        Args:
            references: from ``load_references``, or its file or folder.
            on_progress: called with (done, total) instances.
            on_encoded: called with every reference that was encoded.
        """
        return build_memory_bank(
            as_references(references, upright=self.config.images.upright),
            self.encoder,
            mask_model=self.mask_model,
            config=self.config.references,
            batch_size=self.config.encoder.batch_size,
            keep_instances=self.config.keeps_instances,
            on_progress=on_progress,
            on_encoded=on_encoded,
        )

    def segment(self, image: ImageSource, memory: MemoryBank | str | Path) -> Detections:
        """Segment one image: labeled instance masks, best first.

        There are at most ``merging.max_detections``.

        Args:
            image: (H, W, 3) uint8 RGB or (H, W) gray, an image of Pillow, or a file.
            memory: from ``build_memory``, or the file of one.
        """
        return self.segment_batch([image], memory)[0]

    def segment_batch(
        self,
        images: Sequence[ImageSource],
        memory: MemoryBank | str | Path,
        targets: Sequence[TargetImage] | None = None,
    ) -> list[Detections]:
        """Segment several images.

        The two image encoders see them as one batch.

        Args:
            images: as for ``segment``.
            memory: as for ``segment``.
            targets: which images they are, for sources of proposals that need to know it (``proposals=boxes``).
        """
        memory = as_memory(memory)
        memory.check_encoder(self.encoder)
        encoded = self.encode(images, targets)
        return [self.label(self.propose(image, memory), memory, image.pixels) for image in encoded]

    def segment_prompts(
        self,
        image: ImageSource | PromptableImage,
        points_xy: Numbers | None = None,
        point_labels: Numbers | None = None,
        boxes_xyxy: Numbers | None = None,
        mask: Numbers | None = None,
        multimask: bool = True,
    ) -> PromptedMasks:
        """Segment what a user's clicks, boxes or earlier masks point at.

        No references are needed: see ``models.prompting.segment_prompts``.
        """
        points = {"points_xy": points_xy, "point_labels": point_labels}
        return segment_prompts(self.mask_model, image, **points, boxes_xyxy=boxes_xyxy, mask=mask, multimask=multimask)

    @torch.inference_mode()
    def encode(
        self,
        images: Sequence[ImageSource],
        targets: Sequence[TargetImage] | None = None,
        squares: Sequence[Tensor] | None = None,
    ) -> list[EncodedImage]:
        """Encode every image with both networks.

        The whole image is squashed to each network's square input: the larger ones are ``squares``, where ``square``
        has made them already.
        """
        arrays = all_as_pixels(images, upright=self.config.images.upright)
        return encode_images(arrays, self.encoder, self.mask_model, targets, squares) if arrays else []

    def square(self, pixels: np.ndarray) -> Tensor:
        """Squash (H, W, 3) uint8 for ``encode``, in any thread."""
        return square_image(pixels, self.mask_model)

    @torch.inference_mode()
    def propose(self, image: EncodedImage, memory: MemoryBank | None = None) -> PooledProposals:
        """Return candidate masks and their features.

        They depend on the references only where the source looks at them
        (``proposals.point_grid.prefilter=semantic``), so one result serves any number of memory banks.
        With ``tiles`` those of the tiles of a large image are among them.
        """
        whole = self._propose_once(image, memory)
        side_px = tile_side_px(self.config.tiles, self.mask_model.image_size)
        if side_px is None or image.pixels is None:
            return whole
        size = self.mask_model.mask_size
        return with_tiles(whole, image.pixels, side_px, size, lambda t: self._propose_once(self.encode([t])[0], memory))

    def _propose_once(self, image: EncodedImage, memory: MemoryBank | None) -> PooledProposals:
        prototypes = None
        if memory is not None and "references" in self.proposals.needs:
            prototypes = to_device(memory.class_means()[0], self.device)
        settings = self.config.proposals
        proposals = self.proposals.propose(image, self.mask_model, prototypes)
        return pool_proposals(proposals, image, settings.consistency, settings.min_consistency)

    @torch.inference_mode()
    def label(self, pooled: PooledProposals, memory: MemoryBank, pixels: np.ndarray | None = None) -> Detections:
        """Match, score, suppress and merge the candidate masks of one image.

        These are sections 1 and 2 of the method.

        Args:
            pooled: the candidate masks.
            memory: from ``build_memory`` or ``MemoryBank.load``.
            pixels: (H, W, 3) uint8 RGB of the image; needed with ``second_look.max_masks``.
        """
        pooled, matches = _on_host(pooled, self._match(pooled.features, memory))
        if self.looks_twice:
            if pixels is None:
                raise ValueError("second_look.max_masks needs the pixels of the image")
            matches = self._look_again(pooled, matches, memory, pixels)
        return self._detections(pooled, self._settle(pooled, matches, memory), memory)

    @property
    def looks_twice(self) -> bool:
        """Return whether labeling needs the pixels of the image."""
        return self.config.second_look.max_masks > 0

    def _look_again(self, pooled: PooledProposals, matches: Matches, memory: MemoryBank, pixels: np.ndarray) -> Matches:
        """Match once more, with the features of the crops around the best masks; the others lose."""
        settings = self.config.second_look
        best = self._settle(pooled, matches, memory).mask_indices
        chosen = list(dict.fromkeys(best.tolist()))[: settings.max_masks]
        crops = encode_mask_crops(
            pixels,
            pooled.rles(torch.tensor(chosen, dtype=torch.long)),
            self.encoder,
            context_ratio=self.config.references.context_ratio,
            batch_size=self.config.encoder.batch_size,
        )
        features = pooled.features.clone()
        weights = torch.full_like(pooled.consistencies, settings.discount)
        for index, feature in zip(chosen, crops, strict=True):
            if feature is not None:
                features[index], weights[index] = feature.to(features), 1.0
        _, again = _on_host(pooled, self._match(features, memory))
        return replace(again, scores=again.scores * weights[again.mask_indices])

    def _settle(self, pooled: PooledProposals, matches: Matches, memory: MemoryBank) -> SettledMasks:
        """Score, suppress and merge labeled masks."""
        evidence = Evidence(
            similarities=matches.scores,
            predicted_ious=pooled.predicted_ious[matches.mask_indices],
            stabilities=pooled.stabilities[matches.mask_indices],
            consistencies=pooled.consistencies[matches.mask_indices],
        )
        matches = replace(matches, scores=mask_scores(evidence, self.config.scoring))
        kept = self._suppress(pooled, matches, mask_ranking(evidence, self.config.scoring))
        return self._merge(pooled, matches, kept, memory)

    def _detections(self, pooled: PooledProposals, settled: SettledMasks, memory: MemoryBank) -> Detections:
        ids = np.array([category.id for category in memory.categories], np.int64)
        return Detections.from_rles(
            settled.rles,
            scores=settled.scores.float().numpy(),
            category_ids=ids[settled.category_indices.numpy()],
            predicted_ious=pooled.predicted_ious[settled.mask_indices].float().numpy(),
            image_size_hw=pooled.image_size_hw,
            categories=[category for category in memory.categories if not category.is_background],
            box_convention=self.config.output.box_convention,
        )

    def _match(self, mask_features: Tensor, memory: MemoryBank) -> Matches:
        if memory not in self._prototypes:
            self._prototypes[memory] = self._prepare(memory)
        prepared = self._prototypes[memory]
        settings = self.config.matching
        if isinstance(prepared, InstanceIndex):  # searched on the CPU
            num_neighbors = settings.nearest_instances.num_neighbors
            return match_nearest_instances(mask_features.cpu(), prepared, num_neighbors, settings.labels_per_mask)
        return match(mask_features, prepared, labels_per_mask=settings.labels_per_mask)

    def _prepare(self, memory: MemoryBank) -> Prototypes | InstanceIndex:
        settings = self.config.matching
        num_categories = len(memory.categories)
        if settings.name == "nearest_instances":
            return InstanceIndex(*memory.instances(), num_categories)
        if settings.name == "nearest_centers":
            vectors, category_indices = memory.class_centers(
                settings.nearest_centers.num_centers, settings.nearest_centers.seed
            )
        else:
            vectors, category_indices = memory.class_means()
        return Prototypes(vectors.to(self.device), category_indices.to(self.device), num_categories)

    def _suppress(self, pooled: PooledProposals, matches: Matches, ranking: Tensor) -> Tensor:
        """Select the positions in ``matches`` that survive class-aware NMS, best ranking first."""
        boxes = pooled.grid_boxes_xyxy[matches.mask_indices]
        if self.config.output.box_convention == "inclusive":
            boxes = torch.cat([boxes[:, :2], (boxes[:, 2:] - 1).clamp(min=0)], dim=1)
        settings = self.config.merging
        kept = class_aware_nms(boxes, ranking, matches.category_indices, settings.nms_iou_threshold)
        kept = kept[: settings.max_masks]
        return kept[matches.scores[kept] > 0]

    def _merge(self, pooled: PooledProposals, matches: Matches, kept: Tensor, memory: MemoryBank) -> SettledMasks:
        """Full-resolution masks of the survivors, their scores decayed by overlap, the best ones first."""
        mask_indices, rows = torch.unique(matches.mask_indices[kept], return_inverse=True)
        unique_rles = pooled.rles(mask_indices)
        rles = [unique_rles[row] for row in rows.tolist()]
        # A mask can vanish when an image is smaller than the mask grid.
        visible = [position for position, rle in enumerate(rles) if rle_area(rle) > 0]
        rles = [rles[position] for position in visible]
        kept = kept[torch.tensor(visible, dtype=torch.long)]
        scores = decay_scores(
            matches.scores[kept],
            matches.category_indices[kept],
            rles,
            matches.normalized_features[matches.mask_indices[kept]],
            self.config.merging,
        )
        if self.config.merging.across_categories:
            is_best = best_across_categories(
                scores, matches.category_indices[kept], rles, self.config.merging.across_categories_iou
            )
            scores = scores * is_best
        order = self._ranked_output(scores, matches.category_indices[kept], memory)
        best = kept[order]
        return SettledMasks(
            rles=[rles[position] for position in order.tolist()],
            scores=scores[order],
            category_indices=matches.category_indices[best],
            mask_indices=matches.mask_indices[best],
        )

    def _ranked_output(self, scores: Tensor, category_indices: Tensor, memory: MemoryBank) -> Tensor:
        """Positions of the detections that go out: best score first, never the background, never a score of 0."""
        is_background = torch.tensor([category.is_background for category in memory.categories])
        order = torch.argsort(scores, descending=True, stable=True)
        order = order[(scores[order] > 0) & ~is_background[category_indices[order]]]
        return order[: self.config.merging.max_detections]


def _on_host(pooled: PooledProposals, matches: Matches) -> tuple[PooledProposals, Matches]:
    """Bring all but features and masks of the proposals to the CPU, at once.

    NMS and merging then never wait for the device.
    """
    of_masks = pooled.predicted_ious, pooled.stabilities, pooled.grid_boxes_xyxy, pooled.consistencies
    of_labels = matches.scores, matches.category_indices, matches.mask_indices, matches.normalized_features
    predicted_ious, stabilities, boxes_xyxy, consistencies, *labels = to_host(*of_masks, *of_labels)
    values = replace(
        pooled,
        predicted_ious=predicted_ious,
        stabilities=stabilities,
        grid_boxes_xyxy=boxes_xyxy,
        consistencies=consistencies,
    )
    return values, Matches(*labels)
