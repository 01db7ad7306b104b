"""WorkPage and ArticlePage: the HTML text of a page -> Work or Article.

Selectors are tried first, field by field; what they do not find is read from the visible text.
"""

import logging
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from cssselect import SelectorError
from lxml import etree
from parsel import Selector

from crawler import grammar
from crawler.errors import UserError
from crawler.grammar import Labels, Lines, Row
from crawler.items import Article, Part, Recording, Work
from crawler.references import Reference, references
from crawler.urls import slug

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

VIDEO_URL = "https://www.youtube.com/watch?v={id}"
HIDDEN = frozenset({"head", "script", "style", "template", "noscript"})
# fmt: off
INLINE = frozenset({
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "em", "font", "i", "ins", "kbd", "label",
    "mark", "q", "s", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
})
# fmt: on
SPACE = re.compile(r"\s+")
MIN_ARTICLE = 200  # characters of prose, where no selector says that it is an article


class PageError(ValueError):
    """The page is not what it was taken for."""


@dataclass(frozen=True, kw_only=True)
class Selectors:
    """Where the fields stand and what the site calls them; see selectors.toml."""

    version: int
    work: Mapping[str, str]  # field -> CSS
    article: Mapping[str, str]
    labels: Labels


def read_selectors(path: Path) -> Selectors:
    """Read a file like selectors.toml; UserError when it is missing, malformed or incomplete."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        words = table["labels"]
        lists: dict[str, Any] = {k: tuple(v) for k, v in words.items() if isinstance(v, list)}
        labels = Labels(**{**words, **lists})
        return Selectors(**{**table, "labels": labels})
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} holds no selectors like crawler/selectors.toml: {error}"
        ) from error


DEFAULT = read_selectors(Path(__file__).with_name("selectors.toml"))


def text_lines(root: etree._Element) -> list[str]:
    """The visible text of an element: a line a block, white space collapsed, no empty lines."""
    parts: list[str] = []
    walk = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
    for event, element in walk:
        breaks = event in ("start", "end") and element.tag not in INLINE
        if event == "start":
            parts.append("\n" if breaks else "")
            if element.tag in HIDDEN:
                walk.skip_subtree()
            else:
                parts.append(_flat(element.text))
            continue
        parts.append("\n" if breaks else "")
        if element is not root:
            parts.append(_flat(element.tail))
    lines = (" ".join(line.split()) for line in "".join(parts).split("\n"))
    return [line for line in lines if line]


def _flat(text: str | None) -> str:
    return SPACE.sub(" ", text or "")


class _Page:
    """A page's element tree, built from a string."""

    def __init__(self, html: str, url: str, *, selectors: Selectors = DEFAULT) -> None:
        self.url = url
        self.selectors = selectors
        if not html.strip(" \t\r\n\x00"):
            raise PageError("the page is empty")
        try:
            self._tree = Selector(text=html, type="html")
        except ValueError as error:
            raise PageError(f"the page is not HTML: {error}") from error
        self._root = self._tree.root
        if not isinstance(self._root, etree._Element):
            raise PageError("the page is not HTML")

    @cached_property
    def _lines(self) -> list[str]:
        return text_lines(self._root)

    def _elements(self, css: str) -> list[etree._Element]:
        try:
            return [found.root for found in self._tree.css(css)]
        except SelectorError as error:
            raise UserError(f"{css!r} in the selectors is no CSS selector: {error}") from error

    def _chosen(self, css: str) -> list[str]:
        return [line for element in self._elements(css) for line in text_lines(element)]


class WorkPage(_Page):
    """A work page, read from its HTML text alone.

    `url` is its canonical address, `video_url` the pattern of a video's address. PageError when
    the page is not a work page.
    """

    def __init__(
        self,
        html: str,
        url: str,
        *,
        selectors: Selectors = DEFAULT,
        video_url: str = VIDEO_URL,
    ) -> None:
        super().__init__(html, url, selectors=selectors)
        self.video_url = video_url
        self._coverage: dict[str, str | None] = {}

    def coverage(self) -> dict[str, str | None]:
        """How each field was found: "selector", "text", or None for not at all."""
        self.work()
        return dict(self._coverage)

    def work(self) -> Work:
        """The work that the page tells of."""
        labels = self.selectors.labels
        composer = self._read("composer", grammar.person)
        title = self._read("title", " ".join)
        if composer is None or not title:
            missing = "title" if composer else "composer"
            raise PageError(f"not a work page: no {missing} in {len(self._lines)} lines of text")
        key, opus = grammar.KEY.search(title), grammar.OPUS.search(title)
        return Work(
            work_id=slug(self.url),
            page_url=self.url,
            composer=composer,
            title=title,
            key=key[1] if key else None,
            opus=opus[0] if opus else None,
            instrumentation=self._read("instrumentation", _instrumentation),
            movements=self._read("movements", grammar.movements) or (),
            facts=self._read("facts", lambda lines: grammar.facts(lines, labels)) or {},
            recordings=self._recordings(),
            notes=self._read("notes", grammar.notes) or (),
            related=self._read("related", grammar.related) or (),
        )

    @cached_property
    def _regions(self) -> Mapping[str, Lines]:
        return grammar.regions(self._lines, self.selectors.labels)

    def _read(self, field: str, parse: Callable[[Lines], Value]) -> Value | None:
        selected = self._chosen(self.selectors.work[field])
        if value := parse(selected) if selected else None:
            self._coverage[field] = "selector"
            return value
        region = self._regions.get(field)
        value = parse(region) if region else None
        self._coverage[field] = "text" if value else None
        return value or None

    def _recordings(self) -> tuple[Recording, ...]:
        labels = self.selectors.labels
        refs = references(self._root)
        chosen = self._elements(self.selectors.work["rows"])
        rows = [grammar.row(text_lines(element)) for element in chosen]
        if not chosen:
            rows = grammar.rows(self._regions.get("rows", ()), labels)
        method: str | None = "selector" if chosen else "text"
        if len(rows) != len(refs):
            logger.warning("%s: %d rows but %d videos", self.url, len(rows), len(refs))
            rows = [Row(None, ()) for _ in refs]
            method = None
        self._coverage["recordings"] = method if refs else None
        return group([_Video.read(ref, row, labels) for ref, row in zip(refs, rows, strict=True)],
                     self.video_url)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Video:
    """A playlist row with its reference."""

    reference: Reference
    duration_s: float | None
    performers: tuple[str, ...]
    qualifiers: tuple[str, ...]
    movement: int | None
    name: str

    @classmethod
    def read(cls, reference: Reference, row: Row, labels: Labels) -> "_Video":
        lines = row.lines
        alone = len(lines) == 1 and reference.movement != 0 and grammar.movement(lines[0])
        who, name = ("", lines[0]) if alone else (*lines, "", "")[:2]
        names, qualifiers = grammar.performers(who, labels)
        item = grammar.movement(name)
        number = reference.movement
        if number is None and item:
            number = item.number
        title = item.name if item else name
        return cls(reference, row.duration_s, names, qualifiers, number, title)

    def part(self, video_url: str) -> Part:
        ref = self.reference
        return Part(
            video_id=ref.video_id,
            youtube_id=ref.youtube_id,
            url=video_url.replace("{id}", ref.youtube_id),
            movement=self.movement,
            start_s=ref.start_s,
            end_s=ref.end_s,
            duration_s=self.duration_s,
            name=self.name,
        )

    def follows(self, last: "_Video") -> bool:
        """Whether this is the next part of the recording that `last` belongs to."""
        if last.reference.following is not None:
            return last.reference.following == self.reference.video_id
        same = (self.performers, self.qualifiers) == (last.performers, last.qualifiers)
        return same and (self.movement or 0) > (last.movement or 0) > 0


def group(videos: list[_Video], video_url: str) -> tuple[Recording, ...]:
    """Rows -> recordings, by the chain of next videos, else by performers and numerals."""
    groups: list[list[_Video]] = []
    for video in videos:
        if not groups or not video.follows(groups[-1][-1]):
            groups.append([])
        groups[-1].append(video)
    return tuple(
        Recording(
            recording_id=members[0].reference.video_id,
            performers=members[0].performers,
            qualifiers=members[0].qualifiers,
            parts=tuple(video.part(video_url) for video in members),
        )
        for members in groups
    )


def _instrumentation(lines: Lines) -> str | None:
    match = grammar.INSTRUMENTATION.fullmatch(" ".join(lines))
    return match[1] if match else None


class ArticlePage(_Page):
    """An article's page, read from its HTML text alone."""

    def article(self) -> Article:
        """The article; PageError when the page has no title or no prose."""
        css = self.selectors.article
        title = " ".join(self._chosen(css["title"])) or " ".join(self._chosen("h1"))
        texts = self._chosen(css["text"])
        if not texts:
            texts = self._chosen("p")
            if sum(map(len, texts)) < MIN_ARTICLE:
                raise PageError(f"not an article: no prose in {len(self._lines)} lines of text")
        if not title:
            raise PageError("not an article: no title")
        return Article(
            article_id=slug(self.url),
            page_url=self.url,
            title=title,
            text="\n\n".join(texts),
            date=" ".join(self._chosen(css["date"])) or None,
        )
