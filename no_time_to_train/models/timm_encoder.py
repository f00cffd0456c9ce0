"""Vision transformers of timm as frozen encoders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from no_time_to_train.errors import InputError, missing_package
from no_time_to_train.models.catalog import TIMM, ModelSpec
from no_time_to_train.models.checkpoints import check_names_and_shapes, read_state_dict
from no_time_to_train.models.frozen_encoder import prepare_encoder
from no_time_to_train.models.patch_encoder import PatchEncoder, check_multiple
from no_time_to_train.models.weight_headers import check_finite
from no_time_to_train.models.weights import find_weights

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer


def load_timm(
    spec: ModelSpec,
    *,
    weights: str | Path | None = None,
    image_size: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    compile: bool = False,
) -> PatchEncoder:
    """Load a frozen vision transformer of timm.

    Args:
        spec: ``get_spec("timm/NAME")``.
        weights: hub id, local folder or local file to use instead of timm's own. Files may be in every layout that timm
            converts, such as Meta's.
        image_size: side of the square input in pixels, a multiple of the patch, to which timm resizes the position
            embeddings; None: that of timm's configuration.
        device, dtype, compile: as of ``load_dino``.

    Raises:
        InputError: no plain vision transformer, weights that do not fit, an impossible ``image_size``.
        EnvironmentProblemError: timm is not installed.
        WeightsNotFoundError, InputFileNotFoundError, UnsafeWeightsError: see ``find_weights``, ``read_state_dict``.
    """
    side = image_size or spec.image_size
    network = _build(spec, side)
    patch_size = network.patch_embed.patch_size[0]
    check_multiple("encoder.image_size", side, patch_size, spec.name)
    _fill(network, find_weights(spec, weights), spec)
    module = _Tokens(network)
    prepare_encoder(module, torch.device(device), dtype)
    if compile:
        module.compile()
    return PatchEncoder(
        module,
        model_id=spec.name,
        patch_size=patch_size,
        feature_dim=network.embed_dim,
        image_size=side,
        num_prefix_tokens=network.num_prefix_tokens,
        mean=spec.mean,
        std=spec.std,
        device=device,
        dtype=dtype,
    )


class _Output(NamedTuple):
    """What a ``PatchEncoder`` asks of its network."""

    last_hidden_state: Tensor


class _Tokens(nn.Module):
    """All tokens after the last normalization.

    Networks that were trained to average their tokens normalize the mean alone; here every token is normalized by that.
    """

    def __init__(self, network: VisionTransformer) -> None:
        super().__init__()
        self.network = network
        self.norm = network.fc_norm if isinstance(network.norm, nn.Identity) else nn.Identity()

    def forward(self, images: Tensor) -> _Output:
        return _Output(self.norm(self.network.forward_features(images)))


def _build(spec: ModelSpec, image_size: int) -> VisionTransformer:
    """Build the network with random weights and without a head."""
    try:
        import timm
        from timm.layers import PatchEmbed
        from timm.models.beit import Beit
        from timm.models.eva import Eva
        from timm.models.vision_transformer import VisionTransformer
    except ImportError as error:
        raise missing_package(error) from error
    try:
        network = timm.create_model(spec.name.removeprefix(TIMM), pretrained=False, num_classes=0, img_size=image_size)
    except TypeError:  # a network that takes no img_size
        network = None
    patches = network.patch_embed if isinstance(network, (VisionTransformer, Eva, Beit)) else None
    if not isinstance(patches, PatchEmbed) or len(set(patches.patch_size)) > 1:
        raise InputError(
            f"encoder={spec.name} gives no features of square patches. Use a plain vision transformer of timm: vit_*, "
            "deit*, beit* or eva*."
        )
    return cast("VisionTransformer", network)  # of all three the members that are used here are the same


def _fill(network: VisionTransformer, source: Path, spec: ModelSpec) -> None:
    """Load the weights, which timm converts to its own names and to the image size; misfits are errors."""
    state_dict = read_state_dict(source)
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        try:
            state_dict = convert(state_dict, network)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{source} does not hold the weights of {spec.name}: {error}") from error
    classifier = cast("dict[str, Any]", network.pretrained_cfg).get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else classifier
    kept = {name: tensor for name, tensor in state_dict.items() if name.rpartition(".")[0] not in heads}
    check_names_and_shapes(network.state_dict(), kept, source=source, model=spec.name)
    check_finite(kept.items(), source)
    network.load_state_dict(kept)
