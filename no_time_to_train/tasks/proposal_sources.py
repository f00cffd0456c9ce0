"""Sources of proposals as they are written on the command line: ``point_grid+automatic_masks[crop_n_layers=1]``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from no_time_to_train import build
from no_time_to_train.config import BenchConfig
from no_time_to_train.errors import InputError, Parameter
from no_time_to_train.proposals.combined import Union
from no_time_to_train.proposals.interfaces import ProposalSource


@dataclass(frozen=True)
class WrittenSource:
    """One source, or the union of several.

    Attributes:
        text: as written.
        parts: name and settings (``proposals.key=value``) of every source.
    """

    text: str
    parts: tuple[tuple[str, tuple[str, ...]], ...]

    def build(self, overrides: Sequence[str]) -> tuple[BenchConfig, ProposalSource]:
        """Build the source; return it with its config.

        Of a union it is the config of its first part.

        Args:
            overrides: settings that all sources share; what stands in brackets wins over them.

        Raises:
            InputError: an unknown source or setting.
        """
        configs = [
            build.compose_bench_config([f"proposals={name}", *settings], shared=overrides)
            for name, settings in self.parts
        ]
        sources = tuple(build.build_proposals(config) for config in configs)
        return configs[0], sources[0] if len(sources) == 1 else Union(sources)


def parse_sources(text: str) -> list[WrittenSource]:
    """Read a list of sources.

    Args:
        text: names separated by commas; a union is names joined by ``+``; a source's own settings follow its name in
            brackets, e.g. ``semantic_clusters[n_clusters=[4,8],min_cluster_patches=3]``.

    Raises:
        InputError: no source, one that is named twice, unbalanced brackets, or something else in them than settings.
    """
    written = [
        WrittenSource(source, tuple(_parse_part(part) for part in _split_outside_brackets(source, "+")))
        for source in _split_outside_brackets(text, ",")
    ]
    texts = [source.text for source in written]
    repeated = sorted({source for source in texts if texts.count(source) > 1})
    if repeated or not written:
        problem = f"{', '.join(repeated)} is named twice" if repeated else "no source is named"
        came = Parameter("sources", text)
        raise InputError(f"{came}: {problem}. Name some, separated by commas.", parameters=[came])
    return written


def _parse_part(text: str) -> tuple[str, tuple[str, ...]]:
    matched = re.fullmatch(r"(\w+)(?:\[(.*)\])?", text)
    settings = _split_outside_brackets(matched.group(2) or "", ",") if matched else []
    if matched is None or not all(re.match(r"\w+=", setting) for setting in settings):
        raise InputError(
            f"source of masks '{text}': must be the name of a source, its settings in brackets, e.g. "
            "automatic_masks[crop_n_layers=1,points_per_side=16]."
        )
    return matched.group(1), tuple(f"proposals.{setting}" for setting in settings)


def _split_outside_brackets(text: str, separator: str) -> list[str]:
    """Return the parts between the separators that stand in no bracket, stripped, empty ones left out."""
    if not isinstance(text, str):
        raise InputError(f"sources of masks must be text such as 'point_grid,boxes', got {type(text).__name__}.")
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if depth < 0:
            break
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth != 0:
        raise InputError(f"sources of masks: the brackets in '{text}' do not close each other.")
    return [part.strip() for part in parts if part.strip()]
