"""The networks of the last run, kept loaded for the next one.

A sweep in one process loads them once.
"""

from __future__ import annotations

import json

from no_time_to_train import build
from no_time_to_train.config import Config, to_dict
from no_time_to_train.models.interfaces import FeatureEncoder, MaskModel
from no_time_to_train.segmenter import Segmenter

_loaded: dict[str, tuple[FeatureEncoder, MaskModel]] = {}
"""At most one entry: two pairs of networks may not fit a GPU."""


def segmenter_with_shared_models(config: Config) -> Segmenter:
    """Build a segmenter, with the previous networks if they fit.

    It is what ``build.build_segmenter`` gives; the networks are those of the call before where their settings are
    equal.
    """
    settings = [to_dict(config.encoder), to_dict(config.mask_model), config.device, config.precision]
    key = json.dumps(settings, sort_keys=True)
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = build.load_models(config)
    return build.assemble_segmenter(config, *_loaded[key])
