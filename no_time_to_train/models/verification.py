"""Checking weights on disk against the networks they belong to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.errors import NoTimeToTrainError, WeightsNotFoundError
from no_time_to_train.files.hashes import sha256_of_file
from no_time_to_train.models.catalog import get_spec
from no_time_to_train.models.weights import locate_weights


@dataclass(frozen=True)
class VerificationReport:
    """Result of ``nttt weights verify``.

    Attributes:
        name: the model.
        location: the file or folder that was checked.
        sha256: hash of every checkpoint file, by file name.
        problem: None where every name and shape matches, else what is wrong.
    """

    name: str
    location: Path
    sha256: dict[str, str]
    problem: str | None


def verify_weights(name: str) -> VerificationReport:
    """Compare the weights called ``name`` with the network, as a run loads them.

    Raises:
        InputError: no model of that name.
        WeightsNotFoundError: the weights are not on this machine.
    """
    from no_time_to_train.models.detector import load_detector
    from no_time_to_train.models.loading import load_encoder, load_mask_model

    spec = get_spec(name)
    location = locate_weights(spec)
    if location is None:
        raise WeightsNotFoundError(f"{name} is not on this machine. Fetch it with: nttt weights get {name}")
    problem = None
    try:
        if spec.kind == "encoder":
            load_encoder(spec, weights=location)
        elif spec.kind == "detector":
            load_detector(str(location))
        else:
            load_mask_model(spec, weights=location, decoder="plain")
    except (NoTimeToTrainError, OSError) as error:  # the finding itself: others are still to be checked
        problem = str(error)
    files = sorted(location.glob("*.safetensors")) if location.is_dir() else [location]
    hashes = {file.name: sha256_of_file(file) for file in files if os.access(file, os.R_OK)}
    return VerificationReport(name, location, hashes, problem)
