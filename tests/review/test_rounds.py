from __future__ import annotations

import json

from no_time_to_train.build import compose_config
from no_time_to_train.review.rounds import ReviewModels
from no_time_to_train.review.session import ReviewSession
from no_time_to_train.settings.walk import to_dict


def write_settings(session: ReviewSession, *overrides: str) -> None:
    path = session.folder / "run.json"
    content = json.loads(path.read_text())
    content["settings"] |= {"config": to_dict(compose_config(overrides)), "config_hash": "", "references": ""}
    path.write_text(json.dumps(content))


def test_a_review_goes_on_with_the_settings_of_the_run(session: ReviewSession) -> None:
    write_settings(session, "preset=demo", "merging=hard")
    assert ReviewModels(session, []).config == compose_config(["preset=demo", "merging=hard"])


def test_overrides_change_the_settings_of_the_run(session: ReviewSession) -> None:
    """Also where they say what is the default anyway."""
    write_settings(session, "preset=demo", "merging=hard", "device=cuda")
    config = ReviewModels(session, ["device=auto", "merging=semantic_soft"]).config
    assert (config.encoder.name, config.device, config.merging.name) == ("dinov2_demo", "auto", "semantic_soft")


def test_without_a_run_only_the_overrides_count(session: ReviewSession) -> None:
    (session.folder / "run.json").unlink()
    assert ReviewModels(session, ["preset=demo"]).config == compose_config(["preset=demo"])
