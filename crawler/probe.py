"""One page looked at closely: each field's value, the method that found it, what was tried."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crawler.crawl import CrawlConfig, chosen_selectors, fetch_page
from crawler.errors import UserError
from crawler.files import write_atomic
from crawler.grammar import Counts, ListPlace
from crawler.items import Movement, Note, Person, Recording, Work, work_to_dict
from crawler.pages import DEFAULT, VIDEO_URL, Field, PageError, Selectors, WorkPage
from crawler.pipelines import failure, page_text
from crawler.urls import ARTICLE, canonical, page_key, same_site, slug

PAGE_NAME, WORK_NAME = "page.html", "work.json"  # of a fixture folder
MAX_VALUE = 160  # characters of a value in a row


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one page gives."""

    url: str
    html: str
    work: Work | None  # None = not a work page; `error` says why
    fields: tuple[Field, ...]  # in the order of the site's blocks
    remarks: tuple[str, ...]  # what does not fit together
    error: str | None = None

    def rows(self) -> list[dict[str, str]]:
        """A row a field: field, method, value, and what was tried before it."""
        return [
            {
                "field": field.name,
                "method": field.method or "not found",
                "value": shortened(field.value),
                "tried": "; ".join(field.tried),
            }
            for field in self.fields
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the work (null for none) and the method of each field."""
        return {
            "work": work_to_dict(self.work) if self.work else None,
            "coverage": {field.name: field.method for field in self.fields},
        }


def probe(target: str, *, url: str | None = None, config: CrawlConfig | None = None) -> Probe:
    """Look at a file, or fetch an address or a slug as politely as a crawl, keeping nothing.

    `url` says which address a file came from; without it, the work.json beside the file or the
    file's own name does. UserError when there is no such page or it is an article.
    """
    config = config or CrawlConfig()
    path = Path(target)
    is_file = path.is_file()
    if not is_file and (path.suffix in (".html", ".htm") or path.exists()):
        raise UserError(f"{target} is no file: give a page's file, its address or its slug")
    address = _canonical(url or (_origin(path) if is_file else target), config.site)
    if page_key(address).startswith(f"{ARTICLE}/"):
        raise UserError(f"{address} is an article: probe looks at works, /chamber-music/<slug>/")
    html = _read(path, config.max_page_bytes) if is_file else _fetched(target, config)
    return probe_page(html, address, selectors=chosen_selectors(config), video_url=config.video_url)


def _read(path: Path, most_bytes: int) -> str:
    try:
        if path.stat().st_size > most_bytes:
            raise UserError(f"{path} is larger than crawl.max_page_bytes, {most_bytes}")
        return page_text(path.read_bytes(), "")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _canonical(address: str, site: str) -> str:
    if "://" in address and not same_site(address, site):
        split = urlsplit(address)
        site = f"{split.scheme}://{split.netloc}"
    return canonical(address, site)


def _origin(path: Path) -> str:
    truth = path.with_name(WORK_NAME)
    if not truth.is_file():
        return path.stem
    try:
        return str(json.loads(truth.read_text(encoding="utf-8"))["page_url"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{truth} is no work: give the page's address with --url") from error


def _fetched(target: str, config: CrawlConfig) -> str:
    fetched = fetch_page(target, config)
    if reason := failure(fetched):
        raise UserError(f"{target}: {reason[0]}: {reason[1]}")
    return fetched.text


def probe_page(
    html: str, url: str, *, selectors: Selectors = DEFAULT, video_url: str = VIDEO_URL
) -> Probe:
    """Look at a page's HTML text; `url` is its address."""
    try:
        page = WorkPage(html, url, selectors=selectors, video_url=video_url)
        fields = page.fields()
    except PageError as error:
        return Probe(url=url, html=html, work=None, fields=(), remarks=(), error=str(error))
    try:
        work, why = page.work(), None
    except PageError as error:
        work, why = None, str(error)
    remarks = tuple(_remarks(fields)) if work else ()
    return Probe(url=url, html=html, work=work, fields=fields, remarks=remarks, error=why)


def save_fixture(found: Probe, folder: Path) -> list[Path]:
    """Write page.html, and work.json where it is a work; returns what was written.

    UserError in another work's folder, and in a work's where the page is none.
    """
    truth = folder / WORK_NAME
    if truth.is_file() and (not found.work or slug(_origin(truth)) != slug(found.url)):
        held = "another work" if found.work else "a work, and this page is none"
        raise UserError(f"{folder} holds {held}: give a folder of its own with --save")
    try:
        write_atomic(folder / PAGE_NAME, found.html.encode("utf-8", "replace"))
        if found.work:
            write_atomic(truth, work_json(found.work).encode())
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error}") from error
    return [folder / PAGE_NAME, *([truth] if found.work else [])]


def work_json(work: Work) -> str:
    """The text of a fixture's work.json."""
    return json.dumps(work_to_dict(work), ensure_ascii=False, indent=1) + "\n"


def _remarks(fields: tuple[Field, ...]) -> list[str]:
    """What a page says of itself and what was found, where the two differ."""
    value = {field.name: field.value for field in fields}
    recordings, movements = value["recordings"] or (), value["movements"] or ()
    videos = len(value["videos"] or ())
    remarks = []
    if counts := value["counts"]:
        told = (
            ("recording", counts.recordings, len(recordings)),
            ("video", counts.videos, videos),
        )
        remarks += [
            f"the page says {_number(said, noun)}, {number} found"
            for noun, said, number in told
            if said != number
        ]
    listed = [movement.number for movement in movements]
    if listed != list(range(1, len(listed) + 1)):
        remarks.append(f"the movements are numbered {listed}")
    played = {part.movement for recording in recordings for part in recording.parts}
    if odd := sorted(played - {None, 0, *listed}) if listed else []:
        remarks.append(f"videos of movements {odd}, which the page does not list")
    return remarks


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shortened(value: Any) -> str:
    """A field's value in one line."""
    text = _told(value)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "\u2026"


def _told(value: Any) -> str:
    match value:
        case None:
            return ""
        case Person():
            return value.name
        case Movement():
            return f"{value.number}. {value.name}"
        case Recording():
            return f"{', '.join(value.performers) or 'not said'} ({len(value.parts)})"
        case Note():
            return f"{value.source}: {len(value.text.split())} words"
        case Counts():
            return f"{_number(value.recordings, 'recording')}, {_number(value.videos, 'video')}"
        case ListPlace():
            return f"{value.title}: {value.place} of {value.total}"
        case dict():
            return "; ".join(f"{name}: {item}" for name, item in value.items())
        case tuple():
            return "; ".join(map(_told, value))
        case _:
            return str(value)
