"""Random markup around known lines: the work stays the same, and nothing crashes the parser."""

import dataclasses
import json
import random
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from page_markups import MARKUPS, Playable, Traps, counts, fixtures, headings, life, page, playlist

from crawler.items import Person, Work, work_from_dict, work_to_dict
from crawler.pages import PageError, WorkPage

FIXTURES = [(work, traps) for _, work, traps in fixtures() if not traps.get("links")]
BLOCKS = ("div", "p", "section", "li", "td", "dd", "h4", "x-row", "center", "DIV")
INLINES = "a abbr bdi cite data del dfn em font i img ins ruby samp span time u var x wbr".split()
# What may be missing from a page; a work needs no more than its composer and title.
OPTIONAL = ("list", "life", "instrumentation", "movements", "facts", "counts", "recordings",
            "notes", "related", "glossary")  # fmt: skip
HOSTILE = (
    "<", ">", "</div>", "<div>" * 50, "<script>", "</script>", "<!--", "-->", "&#0;", "&#xD800;",
    "&bogus;", "\0", "\ud800", "<table><tr>", "<svg><title>", "<p a='", '"', "<![CDATA[", "<?php",
    "Related Composers", "glossary", "<p>8:30</p>", "<p>I.</p>", "<p>1 recording, 1 video</p>",
    "<p>Born:</p>", "<p>Note:</p>", "<p>(for )</p>", "<a onclick=\"f('" + "a" * 11 + "','",
    "</title></head>", "<noscript>", "<plaintext>", "\u202e", "<p>From X</p>", "<base href='//x'>",
)  # fmt: skip
often = settings(
    derandomize=True, max_examples=150, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


def visible(work: Work, traps: Traps, left_out: set[str]) -> list[str | Playable]:
    """The lines of a page in their order, without some of its blocks."""
    blocks: dict[str, list[str | Playable]] = {
        "list": ["Some List", "3 of 450"],
        "composer": [work.composer.name],
        "life": list(life(work, traps)[1:]),
        "title": [work.title],
        "instrumentation": [f"(for {work.instrumentation})"] if work.instrumentation else [],
        "movements": [
            f"{_clock(item.typical_s)}{_roman(item.number)}. {item.name}" for item in work.movements
        ],
        "facts": [f"{label}: {value}" for label, value in work.facts.items()],
        "counts": [counts(work), "autoopen autoplay"] if work.recordings else [],
        "recordings": list(playlist(work, traps)),
        "notes": [
            line
            for note in work.notes
            for line in (*headings(note, traps), *note.text.split("\n\n"), note.credit)
            if line
        ],
        "related": ["Related Composers", *work.related],
        "glossary": ["glossary", "allegro [I]\u2014lively. explore | wiki"],
    }
    return [line for name, lines in blocks.items() if name not in left_out for line in lines]


def _clock(seconds: int | None) -> str:
    return "" if seconds is None else f"{seconds // 60}:{seconds % 60:02} "


def _roman(number: int) -> str:
    return ("I", "II", "III", "IV", "V", "VI")[number - 1]


def expected(work: Work, left_out: set[str]) -> Work:
    """What such a page tells."""
    bare: dict[str, object] = {
        "instrumentation": None, "movements": (), "facts": {}, "recordings": (), "notes": (),
        "related": (),
    }  # fmt: skip
    told = {name: value for name, value in bare.items() if name in left_out}
    if "life" in left_out:
        told["composer"] = Person(name=work.composer.name)
    return dataclasses.replace(work, **told)  # type: ignore[arg-type]


class Wrapper:
    """Puts lines into random elements that keep their order."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def page(self, lines: list[str | Playable]) -> str:
        """A whole page."""
        return "<html><body>" + "\n".join(self.block(line) for line in lines) + "</body></html>"

    def block(self, line: str | Playable) -> str:
        """A line in blocks, or a row with its values in an attribute each."""
        if isinstance(line, Playable):
            inside = "".join(self.block(text) for text in line.shown)
            carried = [f"data-{name}='{value}'" for name, value in line.values.items()]
            return self.element("div", inside, carried)
        for _ in range(self.random.randint(1, 4)):
            line_ = line if isinstance(line, str) else ""
            line = line_ if line_.startswith("<") else self.line(line_)
            line = self.element(self.random.choice(BLOCKS), line, [])
        return str(line)

    def line(self, text: str) -> str:
        """Words in random inline elements, with random white space and entities."""
        words = [self.word(word) for word in text.split(" ")]
        return self.random.choice((" ", "\n", "&nbsp;", " \t ", "<!-- I. --> ")).join(words)

    def word(self, word: str) -> str:
        """A word, some of its characters as entities, perhaps in an element."""
        coded = "".join(
            self.random.choice((f"&#{ord(c)};", f"&#x{ord(c):x};"))
            if c in "<>&\"'" or self.random.random() < 0.05
            else c
            for c in word
        )
        if self.random.random() < 0.2:
            return self.element(self.random.choice(INLINES[:-1]), coded, [])
        return coded

    def element(self, name: str, inside: str, attributes: list[str]) -> str:
        """An element with noise among its attributes, in any order."""
        noise = ["class='x From-Y'", 'title="Related Composers > glossary"', "hidden", "data-k=1"]
        every = [*attributes, *self.random.sample(noise, self.random.randint(0, 2))]
        self.random.shuffle(every)
        blank = self.random.choice(("", "\n  ", "\t"))
        return f"<{' '.join([name, *every])}>{blank}{inside}{blank}</{name}>"


@often
@given(st.sampled_from(FIXTURES), st.integers(0, 2**32))
def test_any_markup_that_keeps_the_order_gives_the_same_work(
    fixture: tuple[Work, Traps], seed: int
) -> None:
    work, traps = fixture
    html = Wrapper(seed).page(visible(work, traps, set()))
    assert WorkPage(html, work.page_url).work() == work


@often
@given(
    st.sampled_from(FIXTURES),
    st.sets(st.sampled_from(OPTIONAL), max_size=6),
    st.integers(0, 2**32),
)
def test_a_missing_block_moves_no_value_into_another_field(
    fixture: tuple[Work, Traps], left_out: set[str], seed: int
) -> None:
    work, traps = fixture
    told = [row.shown for row in playlist(work, traps)]
    if any(":" not in shown[0] or shown[1].startswith("V. ") for shown in told):
        left_out = left_out - {"counts"}  # nothing else says where such a playlist begins
    if "life" in left_out:
        left_out = left_out - {"instrumentation"}
        if not work.instrumentation:
            left_out = left_out - {"life"}  # nothing else says where the title stands
    html = Wrapper(seed).page(visible(work, traps, left_out))
    if is_a_work(work, left_out):
        assert WorkPage(html, work.page_url).work() == expected(work, left_out)
    else:
        with pytest.raises(PageError):
            WorkPage(html, work.page_url).work()


def is_a_work(work: Work, left_out: set[str]) -> bool:
    """Whether what is left says where the title stands: players below it, or a life and a body."""
    body = {"movements", "facts", "recordings", "notes"} - left_out
    players = work.instrumentation and "instrumentation" not in left_out
    counted = work.recordings and "counts" not in left_out
    return bool(players or counted or any(getattr(work, name) for name in body))


@often
@given(
    st.sampled_from(FIXTURES),
    st.sampled_from(sorted(MARKUPS)),
    st.lists(st.tuples(st.sampled_from(HOSTILE), st.floats(0, 1), st.integers(0, 40)), max_size=6),
)
def test_hostile_markup_gives_a_work_or_a_page_error(
    fixture: tuple[Work, Traps], markup: str, damage: list[tuple[str, float, int]]
) -> None:
    text = page(*fixture, markup)
    for junk, place, lost in damage:
        at = int(place * len(text))
        text = text[:at] + junk + text[at + lost :]
    with suppress(PageError):
        found = WorkPage(text, fixture[0].page_url)
        assert len(found.coverage()) == 18
        assert work_from_dict(json.loads(json.dumps(work_to_dict(found.work())))) == found.work()


@often
@given(st.text(max_size=300))
def test_any_text_is_a_work_or_a_page_error(text: str) -> None:
    with suppress(PageError):
        assert WorkPage(text, "x").work().title


@pytest.mark.parametrize("markup", MARKUPS)
def test_thirty_thousand_nested_tags_lose_nothing_and_take_no_time(markup: str) -> None:
    work, traps = FIXTURES[0]
    whole = page(work, traps, markup)
    begun = time.process_time()
    deep = whole.replace("</body>", "<div>" * 30_000 + "</body>")
    assert WorkPage(deep, work.page_url).work() == work
    deep = whole.replace("<body>", "<body>" + "<b>" * 30_000)
    with suppress(PageError):
        assert WorkPage(deep, work.page_url).work().composer == work.composer
    assert time.process_time() - begun < 5
