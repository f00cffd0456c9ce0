"""SAM 2's mask decoder for many prompts of one image: the package's numbers, a third of its multiplications.

What is shared by the prompts is computed once per image, the image tokens of a prompt are kept in factored form
(``folded_transformer``), and only the masks that are asked for are upscaled (``mask_upscaling``).
"""

from __future__ import annotations

import copy
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from no_time_to_train.errors import InputError
from no_time_to_train.models.interfaces import BestMasks, ImageEmbedding, MaskPrediction, PromptBatch
from no_time_to_train.models.mask_decoding import points_with_boxes
from no_time_to_train.models.precision import forward_precision
from no_time_to_train.models.processor import cpu_capabilities, is_amd_processor
from no_time_to_train.models.sam2.compiled_passes import CompiledPasses
from no_time_to_train.models.sam2.factored_tokens import FactoredTokens
from no_time_to_train.models.sam2.folded_transformer import FoldedTransformer, ImageTerms
from no_time_to_train.models.sam2.mask_upscaling import MaskUpscaling, UpscalingTerms
from no_time_to_train.ops.transfers import to_device, to_host

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base


def arithmetic_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Choose the format for a decoder's image side where ``dtype`` is allowed.

    It is float32 on CPUs that gain nothing from less.

    Matrix tiles (AMX) and AMD's AVX512-BF16 multiply bfloat16 two to four times as fast as float32. Other processors
    were measured at half the rate of float32, and the result is less exact.
    """
    if device.type != "cpu":
        return dtype
    capabilities = cpu_capabilities()
    is_fast = capabilities.get("amx_tile") or (capabilities.get("avx512_bf16") and is_amd_processor())
    return dtype if is_fast and dtype == torch.bfloat16 else torch.float32


@dataclass(frozen=True, eq=False)
class _SharedTerms:
    """Everything that depends on the image (and on mask prompts) alone."""

    transformer: ImageTerms
    upscaling: UpscalingTerms


@dataclass(frozen=True, eq=False)
class _Decoded:
    """N prompts after the transformer.

    Attributes:
        shared: of the image.
        image_tokens: of every prompt.
        mask_tokens: (N, 4, C), the single-mask token first.
        predicted_ious: (N, 4) float32.
    """

    shared: _SharedTerms
    image_tokens: FactoredTokens
    mask_tokens: Tensor
    predicted_ious: Tensor


class PointDecoder:
    """Decoder of prompts of one image; every call is one batch.

    ``batching.PromptBatcher`` splits long lists.

    The weights are copied and rearranged at construction: later changes of the model are not seen.
    """

    def __init__(
        self, model: SAM2Base, dtype: torch.dtype = torch.float32, passes: CompiledPasses | None = None
    ) -> None:
        """Fold the decoder's weights.

        Args:
            model: a trained SAM 2 network with high-resolution features, on the device where prompts will be decoded.
            dtype: arithmetic of the image side (float32, bfloat16 or float16). Prompt tokens and variances stay in
                float32.
            passes: what works off the image side of prompts without masks, in float32 on a CPU; None: torch.

        Raises:
            InputError: the network has no high-resolution features.
        """
        decoder = model.sam_mask_decoder
        if not decoder.use_high_res_features:
            raise InputError(
                "the shared-image decoder needs a SAM 2 network with use_high_res_features_in_sam=true. "
                "Use mask_model.decoder=plain for this one."
            )
        self._prompt_encoder = copy.deepcopy(model.sam_prompt_encoder).float().eval().requires_grad_(False)
        self._heads = copy.deepcopy(decoder).float().eval().requires_grad_(False)
        position = self._prompt_encoder.get_dense_pe()[0].flatten(1)
        self._transformer = FoldedTransformer(self._heads.transformer, position, dtype, passes)
        constant = self._transformer.final_constant
        self._upscaling = MaskUpscaling(self._heads.output_upscaling, constant, dtype, passes)
        special = [self._heads.iou_token.weight, self._heads.mask_tokens.weight]
        if decoder.pred_obj_scores:
            special.insert(0, self._heads.obj_score_token.weight)
        self._special_tokens = torch.cat(special)
        self._iou_index = int(decoder.pred_obj_scores)
        self._last_image: tuple[weakref.ref[ImageEmbedding], _SharedTerms] | None = None

    def predict(self, embedding: ImageEmbedding, prompts: PromptBatch, multimask: bool) -> MaskPrediction:
        """Predict masks for N prompts, as ``MaskDecoder`` in evaluation mode does.

        Args:
            embedding: of the image; what its prompts share is remembered until another image comes.
            prompts: N prompts; a box and points together are one prompt.
            multimask: all three outputs; or one: the single-mask output, which gives way to the best of the three
                where it is unstable, if the network is configured so.

        Returns:
            Float32 logits (N, M, m, m) and predicted IoUs (N, M); M is 3 or 1.
        """
        with forward_precision(embedding.embedding.device, torch.float32):
            decoded = self._decode(embedding, prompts)
            if multimask:
                return MaskPrediction(self._masks(decoded, slice(1, None)), decoded.predicted_ious[:, 1:])
            return self._single_mask(decoded)

    def predict_best(self, embedding: ImageEmbedding, prompts: PromptBatch, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's best mask, where its IoU is > ``min_predicted_iou``.

        Nothing else is upscaled. Arguments as in ``predict``.
        """
        with forward_precision(embedding.embedding.device, torch.float32):
            decoded = self._decode(embedding, prompts)
            best_ious, best = decoded.predicted_ious[:, 1:].max(dim=1)
            kept = torch.nonzero(best_ious > min_predicted_iou)[:, 0]
            logits = self._chosen_masks(decoded, kept, best[kept] + 1)
            return BestMasks(logits, best_ious[kept], kept)

    def predict_above(self, embedding: ImageEmbedding, prompts: PromptBatch, min_predicted_iou: float) -> BestMasks:
        """Predict each prompt's masks whose IoU is > ``min_predicted_iou``.

        Prompts without any are not upscaled. Arguments as in ``predict``.
        """
        with forward_precision(embedding.embedding.device, torch.float32):
            decoded = self._decode(embedding, prompts)
            [is_above] = to_host(decoded.predicted_ious[:, 1:] > min_predicted_iou)
            indices = torch.nonzero(is_above, as_tuple=True)
            indices += torch.unique_consecutive(indices[0], return_inverse=True)
            above, outputs, upscaled, rows = (to_device(i, decoded.mask_tokens.device) for i in indices)
            vectors = self._hyper_vectors(decoded, slice(1, None))[upscaled]
            logits = self._upscale(decoded, upscaled, vectors)[rows, outputs]
            return BestMasks(logits, decoded.predicted_ious[above, outputs + 1], above)

    def _decode(self, embedding: ImageEmbedding, prompts: PromptBatch) -> _Decoded:
        sparse, dense = self._prompt_encoder(
            points=points_with_boxes(prompts),
            boxes=None,
            masks=None if prompts.mask_logits is None else prompts.mask_logits[:, None].float(),
        )
        special = self._special_tokens.expand(len(prompts), -1, -1)
        tokens = torch.cat([special, sparse], dim=1)
        has_masks = prompts.mask_logits is not None and len(prompts) > 0
        shared = self._shared_terms(embedding, dense if has_masks else None)
        outputs = slice(self._iou_index, self._iou_index + 1 + self._heads.num_mask_tokens)
        processed, image_tokens = self._transformer(shared.transformer, tokens, outputs)
        return _Decoded(
            shared=shared,
            image_tokens=image_tokens,
            mask_tokens=processed[:, 1:],
            predicted_ious=self._heads.iou_prediction_head(processed[:, 0]),
        )

    def _shared_terms(self, embedding: ImageEmbedding, dense: Tensor | None) -> _SharedTerms:
        """Of the image, remembered for its next batch; with mask prompts (N, C, h, w) of every prompt."""
        if dense is not None:
            return self._project_image(embedding, dense)
        if self._last_image is None or self._last_image[0]() is not embedding:
            dense = self._prompt_encoder.no_mask_embed.weight[..., None, None]
            self._last_image = (weakref.ref(embedding), self._project_image(embedding, dense))
        return self._last_image[1]

    def _project_image(self, embedding: ImageEmbedding, dense: Tensor) -> _SharedTerms:
        image = (embedding.embedding.float() + dense).flatten(2)
        transformer = self._transformer.project_image(image)
        return _SharedTerms(
            transformer, self._upscaling.project_image(transformer.final_base, embedding.high_res_features)
        )

    def _hyper_vectors(self, decoded: _Decoded, tokens: slice) -> Tensor:
        """(N, M, C/8) of the mask tokens in the slice: what an upscaled pixel is multiplied with to give a logit."""
        mlps = list(self._heads.output_hypernetworks_mlps)[tokens]
        vectors = [mlp(token) for mlp, token in zip(mlps, decoded.mask_tokens[:, tokens].unbind(1), strict=True)]
        return torch.stack(vectors, dim=1)

    def _upscale(self, decoded: _Decoded, prompts: Tensor, vectors: Tensor) -> Tensor:
        """(K, M, m, m) logits of the listed prompts, each listed once, with their (K, M, C/8) hyper vectors."""
        shared, image_tokens = decoded.shared.upscaling, decoded.image_tokens
        if len(prompts) < len(decoded.mask_tokens):
            shared, image_tokens = shared[prompts], image_tokens[prompts]
        return self._upscaling(shared, image_tokens, vectors)

    def _masks(self, decoded: _Decoded, tokens: slice) -> Tensor:
        """(N, M, m, m) logits of the mask tokens in the slice."""
        return self._upscaling(decoded.shared.upscaling, decoded.image_tokens, self._hyper_vectors(decoded, tokens))

    def _chosen_masks(self, decoded: _Decoded, prompts: Tensor, tokens: Tensor) -> Tensor:
        """(K, m, m) logits: of every listed prompt the mask of one token."""
        vectors = self._hyper_vectors(decoded, slice(None))[prompts, tokens]
        return self._upscale(decoded, prompts, vectors[:, None])[:, 0]

    def _single_mask(self, decoded: _Decoded) -> MaskPrediction:
        """Return the single-mask token's output, or the best of the three where it is unstable."""
        logits, ious = self._masks(decoded, slice(0, 1)), decoded.predicted_ious[:, :1]
        if self._heads.dynamic_multimask_via_stability:
            unstable = self._heads._get_stability_scores(logits)[:, 0] < self._heads.dynamic_multimask_stability_thresh
            prompts = torch.nonzero(unstable)[:, 0]
            best_ious, best = decoded.predicted_ious[prompts, 1:].max(dim=1)
            logits[prompts, 0] = self._chosen_masks(decoded, prompts, best + 1)
            ious = ious.index_put((prompts, torch.zeros_like(prompts)), best_ious)
        return MaskPrediction(logits, ious)
