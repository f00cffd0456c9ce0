"""Settings of the two frozen networks."""

from __future__ import annotations

from dataclasses import dataclass

from no_time_to_train.settings import setting


@dataclass
class EncoderConfig:
    """The frozen feature encoder."""

    name: str = setting(
        "dinov2_large", "Model: a name of `nttt weights list`, or `timm/NAME`, any plain vision transformer of timm."
    )
    weights: str | None = setting(None, "Hub id, local folder or local file in place of the model's own weights.")
    image_size: int = setting(
        518, "Side of the square input in pixels; a multiple of the model's patch.", between=(8, 8192)
    )
    batch_size: int = setting(
        8, "Images in one forward pass, of references and targets.", between=(1, 4096), affects_results=False
    )
    compile: bool = setting(False, "Use torch.compile on the GPU (static shapes).", affects_results=False)


@dataclass
class MaskModelConfig:
    """The frozen promptable mask model."""

    name: str = setting(
        "sam2.1_large",
        "Model: a name of `nttt weights list`, or `hf/` and the hub id or folder of a promptable model of transformers "
        "(SAM 2, SAM 3's tracker, EdgeTAM).",
    )
    weights: str | None = setting(None, "Hub id, local folder or local file in place of the model's own weights.")
    decoder: str = setting(
        "auto",
        "`folded` shares the image's side between prompts; `compiled` is the same in C++ that is compiled on this "
        "machine, for CPUs, in float32; `plain` is the sam2 package's own. The numbers are the same up to rounding. "
        "`auto`: `compiled` for full-size networks where it can be, else `folded`. Networks of transformers (`hf/`) "
        "have their own.",
        choices=("auto", "compiled", "folded", "plain"),
        affects_results=False,
    )
    prompts_per_batch: int | None = setting(
        None,
        "Prompts decoded at once; null: chosen for the device (its cache on a CPU, hundreds on a GPU).",
        between=(1, 65536),
        affects_results=False,
    )
    compile: bool = setting(False, "Use torch.compile on the GPU.", affects_results=False)
    add_no_memory_embedding: bool | None = setting(
        None,
        'Add the learned "no memory" embedding to the image embedding, as the sam2 package\'s image predictor does; '
        "null: what the network's configuration says (`directly_add_no_mem_embed`). The published code does not.",
    )
