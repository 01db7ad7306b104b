"""WorkPage: the HTML text of a page -> Work.

Selectors are tried first, field by field; what they do not find is read from the visible text.
"""

import dataclasses
import logging
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from cssselect import SelectorError
from lxml import etree
from parsel.csstranslator import css2xpath
from parsel.selector import create_root_node

from crawler import grammar, playlist
from crawler.errors import UserError
from crawler.grammar import Counts, Labels, Lines
from crawler.items import Person, Work
from crawler.playlist import Row, paired, recordings
from crawler.prose import notes
from crawler.references import Carried, carried, from_element, unique
from crawler.regions import joined, regions
from crawler.urls import slug
from crawler.visible import text_lines

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

VIDEO_URL = "https://www.youtube.com/watch?v={id}"
ROW_DEPTH = 8  # elements around a video's carrier that may be its row
ROW_LINES = 6  # more than that are no row of a playlist
# Fields that are read out of another field, and where they stand in a Work.
WITHIN = {
    "dates": "composer",
    "nationality": "composer",
    "born": "composer",
    "died": "composer",
    "key": "title",
    "opus": "title",
    "catalogue": "title",
}


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
        selectors = Selectors(**{**table, "labels": Labels(**{**words, **lists})})
        _check_tables(selectors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} holds no selectors like crawler/selectors.toml: {error}"
        ) from error
    return selectors


def _check_tables(selectors: Selectors) -> None:
    for field in fields(Labels):
        value, is_list = getattr(selectors.labels, field.name), field.type is not str
        texts = value if isinstance(value, tuple) else (value,)
        if isinstance(value, tuple) != is_list or not all(
            isinstance(text, str) and text for text in texts
        ):
            raise TypeError(f"labels.{field.name} is not {'a list of texts' * is_list or 'a text'}")
    if type(selectors.version) is not int:
        raise TypeError("version is not a whole number")
    for table, known in ((selectors.work, WORK_FIELDS), (selectors.article, ARTICLE_FIELDS)):
        if set(table) != set(known) or not all(isinstance(css, str) for css in table.values()):
            raise KeyError(f"a table has to give a CSS text for each of {', '.join(known)}")


# fmt: off
WORK_FIELDS = (
    "list", "composer", "title", "instrumentation", "movements", "facts", "counts", "recordings",
    "videos", "notes", "related",
)
# fmt: on
ARTICLE_FIELDS = ("title", "date", "text")
DEFAULT = read_selectors(Path(__file__).with_name("selectors.toml"))


@cache
def _compiled(css: str) -> etree.XPath:
    try:
        return etree.XPath(css2xpath(css))
    except (SelectorError, etree.XPathError) as error:
        raise UserError(f"{css!r} in the selectors is no CSS selector: {error}") from error


class Page:
    """A page's element tree, built from a string."""

    def __init__(self, html: str, url: str, *, selectors: Selectors = DEFAULT) -> None:
        self.url = url
        self.selectors = selectors
        if not html.strip(" \t\r\n\x00"):
            raise PageError("the page is empty")
        try:
            # parsel's own tree, but of plain elements: those of lxml.html cost half as much again.
            self._root = create_root_node(html, etree.HTMLParser)
        except ValueError as error:
            raise PageError(f"the page is not HTML: {error}") from error

    @cached_property
    def _lines(self) -> list[str]:
        return joined(text_lines(self._root))

    def _elements(self, css: str) -> list[etree._Element]:
        found = _compiled(css)(self._root) if css else []
        return [item for item in found if isinstance(item, etree._Element)]

    def _chosen(self, css: str) -> list[str]:
        found = _compiled(css)(self._root) if css else []  # elements, or texts of ::attr(...)
        return [
            line
            for item in found
            for line in (text_lines(item) if isinstance(item, etree._Element) else [str(item)])
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What was found of a field, and how."""

    name: str
    value: Any  # None = nothing
    method: str | None  # "selector", "text", "shape", or None for not at all
    tried: tuple[str, ...] = ()  # what did not find it, in this order


class WorkPage(Page):
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

    def coverage(self) -> dict[str, str | None]:
        """How each field was found: "selector", "text", "shape", or None for not at all."""
        return {field.name: field.method for field in self.fields()}

    def fields(self) -> tuple[Field, ...]:
        """Every field in the order of the site's blocks, also of a page that is no work's."""
        found = self._fields
        composer, title = found["composer"], found["title"]
        within = {**_life(composer.value), **_numbers(title.value)}
        parts = [
            Field(
                name=name,
                value=within.get(name),
                method=found[parent].method if within.get(name) else None,
                tried=() if within.get(name) else (f"not in the {parent}",),
            )
            for name, parent in WITHIN.items()
        ]
        every = {field.name: field for field in [*found.values(), *parts]}
        return tuple(every[name] for name in ORDER)

    def work(self) -> Work:
        """The work that the page tells of."""
        found = {name: field.value for name, field in self._fields.items()}
        if found["composer"] is None or found["title"] is None:
            missing = "title" if found["composer"] else "composer"
            raise PageError(f"not a work page: no {missing} in {len(self._lines)} lines of text")
        return Work(
            work_id=slug(self.url),
            page_url=self.url,
            composer=found["composer"],
            title=found["title"],
            **_numbers(found["title"]),
            instrumentation=found["instrumentation"],
            movements=found["movements"] or (),
            facts=found["facts"] or {},
            recordings=found["recordings"] or (),
            notes=found["notes"] or (),
            related=found["related"] or (),
        )

    @cached_property
    def _regions(self) -> Mapping[str, Lines]:
        selected = self._chosen(self.selectors.work["title"])
        return regions(self._lines, self.selectors.labels, selected)

    @cached_property
    def _fields(self) -> dict[str, Field]:
        labels = self.selectors.labels
        composer = self._read("composer", _living, grammar.person)
        title = _without_name(self._read("title", grammar.title), composer.value)
        counts = self._read("counts", grammar.counts, grammar.listed_counts)
        videos, refs = self._videos()
        found = [
            title,
            counts,
            videos,
            self._recordings(refs, counts.value),
            self._read("list", lambda lines: grammar.list_place(lines, labels)),
            composer,
            self._read("instrumentation", grammar.instrumentation, grammar.bare_instrumentation),
            self._read("movements", grammar.movements, grammar.listed_movements),
            self._read(
                "facts",
                lambda lines: grammar.facts(lines, labels),
                lambda lines: grammar.listed_facts(lines, labels),
            ),
            self._read("notes", lambda lines: notes(lines, labels, title.value or "")),
            self._read("related", grammar.related),
        ]
        return {field.name: field for field in found}

    def _read(
        self,
        field: str,
        parse: Callable[[Lines], Value],
        known: Callable[[Lines], Value] | None = None,
    ) -> Field:
        """A field by its selector, else from the text; `known` reads lines that must hold it.

        What only `known` reads may be any text, so it counts where the text has nothing better.
        """
        css = self.selectors.work[field]
        selected = joined(self._chosen(css))
        if chosen := (parse(selected) or None) if selected else None:
            return Field(name=field, value=chosen, method="selector")
        tried: tuple[str, ...] = (_no_selection(css, selected),)
        region = self._regions.get(field)
        value = parse(region) if region else None
        if not value and selected and known and (chosen := known(selected)):
            return Field(name=field, value=chosen, method="selector")
        value = value or (known(region) if region and field == "composer" and known else None)
        if value:
            return Field(name=field, value=value, method="text", tried=tried)
        tried = (*tried, _no_text(self._regions, region))
        return Field(name=field, value=None, method=None, tried=tried)

    def _videos(self) -> tuple[Field, list[Carried]]:
        css = self.selectors.work["videos"]
        found = [
            (ref, element)
            for element in self._elements(css)
            if (ref := from_element(element, self.url))
        ]
        method = "selector" if found else "shape"
        found = found or carried(self._root, self.url)
        tried = [] if method == "selector" else [_no_selection(css, self._chosen(css))]
        if not found:
            tried.append("shape: no id with its id and movement, no watch or embed link")
            return Field(name="videos", value=None, method=None, tried=tuple(tried)), []
        ids = tuple(ref.video_id for ref in unique([ref for ref, _ in found]))
        return Field(name="videos", value=ids, method=method, tried=tuple(tried)), found

    def _recordings(self, refs: list[Carried], counts: Counts | None) -> Field:
        labels = self.selectors.labels
        if not refs:
            return Field(name="recordings", value=None, method=None, tried=("no videos",))
        once = unique([ref for ref, _ in refs])
        pairs, method, tried = [(ref, Row(None, ())) for ref in once], None, []
        for name, rows in self._rows(refs, len(once)):
            if found := paired(rows, [ref for ref, _ in refs]):
                pairs, method = found, name
                break
            css = f" {self.selectors.work['recordings']!r}" if name == "selector" else ""
            tried.append(f"{name}{css}: {len(rows)} rows but {len(once)} videos")
        else:
            logger.warning("%s: %s", self.url, "; ".join(tried))
        expected = counts.recordings if counts else None
        value = recordings(pairs, self.video_url, labels, expected)
        return Field(name="recordings", value=value, method=method, tried=tuple(tried))

    def _rows(self, refs: list[Carried], expected: int) -> Iterator[tuple[str, list[Row]]]:
        """The playlist's rows as each method reads them."""
        labels = self.selectors.labels
        chosen = self._elements(self.selectors.work["recordings"])
        yield "selector", [playlist.row(text_lines(element), labels) for element in chosen]
        yield "text", playlist.rows(self._regions.get("recordings", ()), labels, expected)
        around = _lines_around([element for _, element in refs])
        yield "shape", [playlist.row(lines, labels) for lines in around]


# fmt: off
ORDER = (
    "list", "composer", "dates", "nationality", "born", "died", "title", "key", "opus", "catalogue",
    "instrumentation", "movements", "facts", "counts", "recordings", "videos", "notes", "related",
)
# fmt: on


def _living(lines: Lines) -> Person | None:
    """The composer where the lines tell more than a name."""
    person = grammar.person(lines)
    return person if person and dataclasses.replace(person, name="") != Person(name="") else None


def _without_name(title: Field, composer: Person | None) -> Field:
    """The title without the composer's name before it."""
    if not title.value or composer is None:
        return title
    value = title.value
    for mark in (": ", " - ", " \u2013 "):
        value = value.removeprefix(f"{composer.name}{mark}")
    return dataclasses.replace(title, value=value)


def _no_selection(css: str, selected: Lines) -> str:
    if not css:
        return "selector: none given"
    return f"selector {css!r}: " + ("its text is none" if selected else "no element")


def _no_text(regions: Mapping[str, Lines], region: Lines | None) -> str:
    if not regions:
        return "text: no line that could be the title, so no place to look at"
    if not region:
        return "text: no lines where it would stand"
    return f"text: nothing of its form in {len(region)} lines from {region[0][:60]!r}"


def _life(person: Person | None) -> dict[str, Any]:
    if person is None:
        return {}
    dates = f"{person.birth_year or ''}-{person.death_year or ''}"
    return {
        "dates": None if dates == "-" else dates,
        "nationality": person.nationality,
        "born": person.born,
        "died": person.died,
    }


def _numbers(title: str | None) -> dict[str, str | None]:
    """Key, opus and catalogue number in a title."""
    key = grammar.KEY.search(title or "")
    opus, catalogue = grammar.numbers(title or "")
    return {"key": key[1] if key else None, "opus": opus, "catalogue": catalogue}


def _lines_around(carriers: Sequence[etree._Element]) -> list[list[str]]:
    """The text of the largest element around each carrier that holds no other carrier."""
    holders = Counter(
        holder
        for carrier in dict.fromkeys(carriers)
        for holder in islice(carrier.iterancestors(), ROW_DEPTH)
    )
    around = []
    for carrier in dict.fromkeys(carriers):
        best = text_lines(carrier)
        for holder in islice(carrier.iterancestors(), ROW_DEPTH):
            lines = text_lines(holder) if holders[holder] == 1 else []
            if not lines or len(lines) > ROW_LINES:
                break
            best = lines
        around.append(best)
    return around if all(around) else []
