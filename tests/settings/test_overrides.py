"""What people type becomes what Hydra's grammar reads the same way."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from no_time_to_train.build import compose_bench_config
from no_time_to_train.errors import InputError
from no_time_to_train.settings import section, setting
from no_time_to_train.settings.overrides import Grammar, parse, split


@dataclass
class PartConfig:
    """A part."""

    path: str | None = setting(None, "A path.")
    names: list[str] = setting([], "Names.")
    count: int = setting(1, "A number.", between=(0, 9))


@dataclass
class WholeConfig:
    """The whole."""

    part: PartConfig = section(PartConfig)


GRAMMAR = Grammar(
    WholeConfig(),
    groups={"kind": ["round", "square"]},
    old_keys={"number": ("part.count",), "both": ("part.count", "part.path")},
    old_values={"kind": {"circle": "round"}},
    short_keys={"path": "part.path"},
)


@given(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), min_size=1))
@example("NULL")
def test_every_text_is_read_as_it_was_typed(text: str) -> None:
    quoted = text[0] in "'\"" or "${" in text
    if quoted or text == "null":
        return
    [override] = GRAMMAR.read([f"part.path={text}"])
    value = OverridesParser.create().parse_override(override).value()
    assert getattr(value, "text", value) == text


@pytest.mark.parametrize("text", ["1e5", "007", "true", "NaN", "a", "/a/b.json", "a=b/x (1).json", "'"])
def test_texts_that_look_like_something_else(text: str) -> None:
    [override] = GRAMMAR.read([f"part.path={text}"])
    value = OverridesParser.create().parse_override(override).value()
    assert getattr(value, "text", value) == text


def test_names_of_today_and_before() -> None:
    assert GRAMMAR.read(["number=3", "kind=circle", "path=a b"]) == ["part.count=3", "kind=round", "part.path='a b'"]
    assert GRAMMAR.read(["both=3"]) == ["part.count=3", "part.path=${part.count}"]


def test_sweeps_keep_their_commas() -> None:
    read = GRAMMAR.read(["number=1,2", "kind=square,circle", "path=a=b,c d", "part.names=[a],[b (1)]"], sweep=True)
    assert read == ["part.count=1,2", "kind=square,round", "part.path='a=b','c d'", "part.names=[a],['b (1)']"]
    assert GRAMMAR.read(["part.count=range(0,10)", "hydra/launcher=joblib"], sweep=True) == [
        "part.count=range(0,10)",
        "hydra/launcher=joblib",
    ]
    with pytest.raises(InputError, match="Several values need"):
        GRAMMAR.read(["kind=round,square"])


def test_parts_between_commas() -> None:
    assert split("[a,b],range(0,3),'x,y',z") == ["[a,b]", "range(0,3)", "'x,y'", "z"]
    assert parse("a=b=c").value == "b=c"
    with pytest.raises(InputError, match="a setting is key=value"):
        parse("a")


@pytest.mark.parametrize(
    "path",
    ["runs/cd_fsod/domain=uodd/x (1).json", "it's here.json", "a,b/[c].json", "C:\\data\\x\\", "{a}", "~/ü.json"],
)
def test_paths_are_taken_as_they_are_typed(path: str) -> None:
    config = compose_bench_config([f"benchmark.references={path}", f"runs={path}"])
    assert (config.benchmark.references, config.runs) == (path, path)


def test_lists_and_nothing_are_taken_as_they_are_typed() -> None:
    given = ["benchmark=custom", "categories=[traffic light,x (1),a=b]", "references=null"]
    config = compose_bench_config(given)
    assert config.benchmark.categories == ["traffic light", "x (1)", "a=b"] and config.benchmark.references is None
    assert compose_bench_config(["references='a,b'"]).benchmark.references == "a,b"
    assert compose_bench_config(["references=${runs}/x"]).benchmark.references == "runs/x"
