from __future__ import annotations

import json

import pytest

from no_time_to_train.build import compose_config
from no_time_to_train.errors import InputError
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


@pytest.mark.parametrize(
    ("lost", "overrides", "refused"),
    [
        ("matching", (), "does not say which matching labeled the images"),
        ("matching", ("matching=nearest_centers",), None),
        ("encoder", ("merging=hard",), "does not say which encoder labeled the images"),
        ("encoder", ("preset=demo",), None),
        ("encoder", ("encoder=dinov2_demo",), None),
    ],
)
def test_settings_that_a_run_does_not_say_are_not_guessed(
    session: ReviewSession, lost: str, overrides: tuple[str, ...], refused: str | None
) -> None:
    write_settings(session, "preset=demo")
    path = session.folder / "run.json"
    content = json.loads(path.read_text())
    del content["settings"]["config"][lost]
    path.write_text(json.dumps(content))
    if refused is None:
        assert ReviewModels(session, overrides).config.encoder.name == "dinov2_demo"
    else:
        with pytest.raises(InputError, match=refused):
            _ = ReviewModels(session, overrides).config


def test_a_default_in_place_of_a_lost_setting_is_told(session: ReviewSession, caplog) -> None:
    write_settings(session, "preset=demo")
    path = session.folder / "run.json"
    content = json.loads(path.read_text())
    del content["settings"]["config"]["merging"]["exponent"]
    path.write_text(json.dumps(content))
    assert ReviewModels(session, []).config.merging.exponent == 0.5
    assert caplog.messages == [f"{path} does not say merging.exponent: the default is used."]
    caplog.clear()
    assert ReviewModels(session, ["merging.exponent=0.5"]).config.merging.exponent == 0.5
    assert not caplog.messages


def test_without_a_run_only_the_overrides_count(session: ReviewSession) -> None:
    (session.folder / "run.json").unlink()
    assert ReviewModels(session, ["preset=demo"]).config == compose_config(["preset=demo"])
