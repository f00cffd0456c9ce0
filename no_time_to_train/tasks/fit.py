"""``nttt fit``: references in, a memory bank of kilobytes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train import build
from no_time_to_train.errors import InputError
from no_time_to_train.tasks.memory_source import ReferenceOptions, build_memory


@dataclass(frozen=True)
class FitOptions:
    """The command line of ``nttt fit``."""

    references: ReferenceOptions
    out: Path
    overrides: Sequence[str]


def fit(options: FitOptions) -> None:
    """Encode the references and write the memory bank."""
    if options.out.suffix != ".safetensors":
        raise InputError(f"-o {options.out}: the memory bank is a safetensors file, so its name ends in .safetensors.")
    config = build.compose_config(options.overrides)
    references = options.references.read()
    segmenter = build.build_segmenter(config)
    print(f"{segmenter.device}: {segmenter.encoder.model_id}", flush=True)
    memory = build_memory(segmenter, references)
    memory.save(options.out)
    print(f"{options.out} ({options.out.stat().st_size / 1000:.0f} kB, memory {memory.fingerprint}). Use it with:")
    print(f"  nttt label photos/ --memory {options.out}")
