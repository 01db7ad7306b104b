"""Settings in layers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from crawler.errors import UserError
from crawler.options import layered, misspelt, read_toml, refuse_unknown_sections, variables


@dataclass(frozen=True)
class Cut:
    sample_rate: int = 16_000
    codec: Literal["flac", "wav"] = "flac"
    channels: Literal[1, 2] = 1


@dataclass(frozen=True)
class Config:
    workers: int = 2
    delay_s: float = 1.0
    contact: str | None = None
    keep: bool = True
    seeds: tuple[str, ...] = ()
    folder: Path | None = None
    fractions: tuple[float, ...] = (0.8, 0.2)
    cut: Cut = field(default_factory=Cut)


def test_each_layer_covers_the_one_before() -> None:
    toml = {"fetch": {"workers": 3, "delay_s": 2, "cut": {"codec": "wav"}}}
    environment = {"EARSCRIBE_FETCH_DELAY_S": "4.5", "EARSCRIBE_FETCH_CUT_SAMPLE_RATE": "8000"}
    environment["EARSCRIBE_FETCH_CUT_CHANNELS"] = "2"
    flags = {"workers": 5, "contact": None}
    config = layered(Config(), "fetch", toml=toml, environment=environment, flags=flags)
    assert config == Config(workers=5, delay_s=4.5, cut=Cut(8000, "wav", 2))


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("keep", "false", False),
        ("keep", "0", False),
        ("seeds", "a,b", ("a", "b")),
        ("fractions", "0.5,0.5", (0.5, 0.5)),
        ("folder", "/x", Path("/x")),
        ("contact", "a@b.example", "a@b.example"),
        ("delay_s", "3", 3.0),
    ],
)
def test_the_environment_is_read_as_the_field_is_typed(name: str, value: str, read: Any) -> None:
    environment = {f"EARSCRIBE_FETCH_{name.upper()}": value}
    assert getattr(layered(Config(), "fetch", environment=environment), name) == read


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"wrkers": 1}, "unknown key 'wrkers' .did you mean workers.*known: workers, delay_s"),
        ({"workers": "many"}, "workers = 'many' is not allowed: give int"),
        ({"workers": 2.5}, "workers = 2.5 is not allowed: give int"),
        ({"workers": True}, "workers = True is not allowed: give int"),
        ({"keep": "maybe"}, "keep = 'maybe' is not allowed: give bool"),
        ({"cut": {"channels": True}}, "channels = True is not allowed: give one of 1, 2"),
        ({"cut": {"channels": 1.0}}, "channels = 1.0 is not allowed: give one of 1, 2"),
        ({"keep": 1}, "keep = 1 is not allowed: give bool"),
        ({"delay_s": float("nan")}, "delay_s = nan is not a finite number"),
        ({"delay_s": "inf"}, "delay_s = 'inf' is not a finite number"),
        ({"fractions": [0.5, float("nan")]}, "fractions = nan is not a finite number"),
        ({"workers": float("inf")}, "workers = inf is not allowed: give int"),
        ({"cut": {"codec": "mp3"}}, r"\[fetch.cut\] codec = 'mp3'.*one of flac, wav"),
        ({"cut": {"rate": 1}}, r"\[fetch.cut\]: unknown key 'rate'"),
        ({"cut": 3}, "cut = 3 is not allowed"),
    ],
)
def test_a_wrong_setting_is_told_with_what_is_allowed(values: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        layered(Config(), "fetch", toml={"fetch": values}, environment={})


def test_an_empty_variable_is_not_given() -> None:
    toml = {"fetch": {"workers": 3}}
    empty = {"EARSCRIBE_FETCH_FOLDER": "", "EARSCRIBE_FETCH_WORKERS": ""}
    config = layered(Config(), "fetch", toml=toml, environment=empty)
    assert config == Config(workers=3)


def test_a_variable_that_nothing_reads_is_named() -> None:
    known = [*variables(Config(), "EARSCRIBE_FETCH_"), "EARSCRIBE_DATA"]
    assert "EARSCRIBE_FETCH_CUT_CODEC" in known
    assert "EARSCRIBE_FETCH_CUT" not in known
    given = [*known, "HOME", "EARSCRIBE_FETCH_WORKER", "EARSCRIBE_X"]
    assert misspelt(given, known) == [
        "the variable EARSCRIBE_FETCH_WORKER is not read: did you mean EARSCRIBE_FETCH_WORKERS?",
        "the variable EARSCRIBE_X is not read",
    ]


def test_a_section_that_is_no_table_is_told() -> None:
    with pytest.raises(UserError, match=r"\[fetch\] is 3"):
        layered(Config(), "fetch", toml={"fetch": 3}, environment={})


def test_unknown_sections_and_missing_or_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown section 'fetsh' .did you mean fetch"):
        refuse_unknown_sections({"fetsh": {}}, ("crawl", "fetch"))
    with pytest.raises(UserError, match="no configuration file"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("[fetch\n")
    with pytest.raises(UserError, match="broken.toml is not TOML"):
        read_toml(tmp_path / "broken.toml")
    assert read_toml(None) == {}
