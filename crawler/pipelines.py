"""What becomes of a fetched page: stored, parsed, and its end committed with a reason."""

import asyncio
import hashlib
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urljoin

from parsel import Selector
from w3lib.encoding import html_to_unicode

from crawler.articles import ArticlePage
from crawler.errors import UserError
from crawler.items import Article, Work, work_to_dict
from crawler.ledger import Entry, Ledger, State
from crawler.pages import DEFAULT, PageError, Selectors, WorkPage
from crawler.pagestore import has_page, load_page, page_path
from crawler.urls import ARTICLE, canonical, may_follow, page_key

if TYPE_CHECKING:
    from scrapy.crawler import Crawler  # loaded by a crawl only when something is missing

logger = logging.getLogger(__name__)

STAGE = "page"  # of the ledger
TRANSIENT = frozenset(
    {"network", "timeout", "server_error", "rate_limited", "blocked", "placeholder"}
    | {"tls", "tls_chain_incomplete"}
)
GONE, BLOCKED, RATE_LIMITED = (404, 410), (401, 403, 451), (429,)
TEMPORARY = (302, 303, 307)  # redirects that may lead elsewhere, or nowhere, the next time
TOO_SLOW = (408, 425)  # the site was not ready for us: it may be the next time
NOT_REFRESHED = "not refreshed: "  # what the message of a page begins with that stayed as it was
NOT_MODIFIED = 304
KEPT = ("url", "sha256", "headers", "fetched_s")  # of a page, whatever it was read as
KEPT_HEADERS = (
    "Content-Type", "Date", "ETag", "Last-Modified", "Location", "Retry-After", "Server"
)  # fmt: skip
HEAD = 4096  # characters by which text is told from other bytes
MAX_CONTROL = 0.02  # share of control characters in text
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
TAG = re.compile(r"<[A-Za-z!]")
LOST = r"\b(?:(?:not|cannot|could not|can't) (?:be )?found|no longer (?:exists|available))\b"
CODE = r"(?:error )?404\b"  # at the head of a heading: further on it may be K. 404
LOST_HEADING = re.compile(
    rf"<(?:title|h1)\b[^<>]*>(?:\s*{CODE}|[^<>]{{0,200}}?{LOST})", re.IGNORECASE
)
LOST_TEXT = re.compile(rf"{LOST}|\b{CODE}", re.IGNORECASE)
MAX_LOST = 2_000  # characters; a longer page that says "not found" speaks of something else


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The end of a request: a response, or the reason why there is none."""

    url: str  # canonical, as it was asked for
    started_s: float  # seconds since 1970
    final_url: str | None = None  # where redirects led; None = no response, or not redirected
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    error_class: str | None = None
    message: str | None = None
    passing: bool = False  # the reason may pass, whatever its class: a temporary redirect

    @property
    def text(self) -> str:
        """The body as text; see `page_text`."""
        return page_text(self.body, self.headers.get("Content-Type", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a page ends in the ledger."""

    state: State
    error_class: str | None = None
    message: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)


def failed(error_class: str, message: str, result: Mapping[str, Any] | None = None) -> Outcome:
    """The outcome of a page that gave nothing."""
    return Outcome(
        state=State.FAILED, error_class=error_class, message=message, result=result or {}
    )


def page_text(body: bytes, content_type: str) -> str:
    """A body as text: UTF-8 where it is that, whatever was declared, else as declared.

    What does not fit its declaration is read as Windows-1252, which fits everything.
    """
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        _, text = html_to_unicode(content_type or None, body, default_encoding="cp1252")
    return body.decode("cp1252", "replace") if "\ufffd" in text else text


def status_class(status: int) -> str | None:
    """The error class of an HTTP status, None for 200."""
    if status == 200:
        return None
    named = {
        "gone": GONE, "blocked": BLOCKED, "rate_limited": RATE_LIMITED, "network": TOO_SLOW
    }  # fmt: skip
    known = next((name for name, statuses in named.items() if status in statuses), None)
    return known or ("server_error" if status >= 500 else "http_error")


def failure(fetched: Fetched) -> tuple[str, str] | None:
    """Error class and message of a request that brought no page; None when it did."""
    if fetched.error_class:
        return fetched.error_class, fetched.message or ""
    assert fetched.status is not None, "a request ends with a response or an error"
    location = fetched.headers.get("Location")
    if 300 <= fetched.status < 400 and location:
        return "redirect", f"the site redirects to {location[:200]}"
    error_class = status_class(fetched.status)
    return (error_class, f"the site answered {fetched.status}") if error_class else None


def known(fetched: Fetched) -> dict[str, Any]:
    """What is known of a page whatever it is read as: the values named in KEPT."""
    url = fetched.final_url or fetched.url
    sha256 = hashlib.sha256(fetched.body).hexdigest()
    values = url, sha256, dict(fetched.headers), fetched.started_s
    return dict(zip(KEPT, values, strict=True))


def read_page(
    text: str, kept: Mapping[str, Any], video_url: str, selectors: Selectors = DEFAULT
) -> Outcome:
    """Parse a stored page; `kept` says what is known of it: url, sha256, headers, fetched_s.

    An error of the parser's own ends this page alone: its body can be read again.
    """
    if why := not_html(text):
        return failed("not_html", why, kept)
    if match := LOST_HEADING.search(text):
        return failed("gone", f"the page says {match[0][-80:]!r}", kept)
    try:
        parsed = parse(text, kept["url"], kept["sha256"], video_url, selectors)
    except PageError as error:
        if match := LOST_TEXT.search(short_text(text)):
            return failed("gone", f"the page says {match[0]!r}", kept)
        return failed("not_work_page", str(error), kept)
    except UserError:  # the selectors
        raise
    except Exception as error:
        logger.exception("%s: the parser fails", kept["url"])
        return failed("parser", repr(error), kept)
    return Outcome(state=State.OK, result={**kept, **parsed})


def not_html(text: str) -> str | None:
    """Why a text is no page of HTML, None when it may be one."""
    head = text[:HEAD]
    if not head.strip(" \t\r\n\0") and not text.strip(" \t\r\n\0"):
        return "the page is empty"
    if len(CONTROL.findall(head)) > MAX_CONTROL * len(head):
        return "the page is not text"
    return None if TAG.search(text) else "the page has no HTML element"


def short_text(text: str) -> str:
    """The visible text of a page that has little of it, else ''."""
    words = Selector(text=text).xpath("//text()[not(ancestor::script or ancestor::style)]")
    visible = " ".join(" ".join(words.getall()).split())
    return visible if len(visible) <= MAX_LOST else ""


def parse(
    text: str, url: str, sha256: str, video_url: str, selectors: Selectors = DEFAULT
) -> dict[str, Any]:
    """A page's kind and its work or article, as the ledger keeps them."""
    if page_key(url).startswith(f"{ARTICLE}/"):
        article = ArticlePage(text, url, selectors=selectors).article()
        return _result(replace(article, page_sha256=sha256))
    page = WorkPage(text, url, selectors=selectors, video_url=video_url)
    work = replace(page.work(), page_sha256=sha256)
    return _result(work) | {"coverage": page.coverage(), "no_prose": not work.notes}


def _result(item: Work | Article) -> dict[str, Any]:
    kind = "work" if isinstance(item, Work) else "article"
    return {"kind": kind, kind: work_to_dict(item)}


def links(text: str, url: str, site: str) -> list[str]:
    """Canonical addresses of the works and articles of the site that a page links to, each once.

    Those with a query are variants of a page and are left out.
    """
    hrefs = Selector(text=text).css("a::attr(href)").getall()
    found = [_joined(url, href.strip()) for href in hrefs]
    pages = dict.fromkeys(canonical(link, site) for link in found if may_follow(link, site))
    return [page for page in pages if page != url]


def _joined(url: str, href: str) -> str:
    try:
        return urljoin(url, href)
    except ValueError:  # no address at all, like http://[x
        return ""


class Desk:
    """Where fetched pages go and where the next address comes from.

    It holds the folder and its ledger, the queue, and who is told of the progress; of a page
    that is done it keeps its key and the hash of its body, no more.
    """

    def __init__(
        self,
        data: Path,
        ledger: Ledger,
        *,
        judge: Callable[[Fetched], Awaitable[Outcome]],
        site: str | None = None,
        max_pages: int | None = None,
        progress: Callable[[int], None] = lambda taken: None,
    ) -> None:
        self.data = data
        self.ledger = ledger
        self.judge = judge
        self.site = site  # whose links are followed; None = no link is
        self.max_pages = max_pages  # handed out in all; None = no limit
        self.progress = progress  # called with the number of pages taken
        self.queue: deque[str] = deque()  # canonical addresses
        self.known: set[str] = set()  # keys of all pages that are wanted
        self.bodies: dict[str, str] = {}  # sha256 -> key of the page that has this body
        self.asked = 0
        self.taken = 0
        self.tools = {"scrapy": version("scrapy")}
        self.bugs: list[Exception] = []  # errors of our own, for the caller of the crawl

    def next(self) -> tuple[str, Mapping[str, str]] | None:
        """The next address and the headers that ask only for a newer page; None at the end."""
        if not self.queue or (self.max_pages is not None and self.asked >= self.max_pages):
            return None
        self.asked += 1
        url = self.queue.popleft()
        return url, conditions(self.data, self.ledger.entry(STAGE, page_key(url)))

    def take(self, fetched: Fetched, outcome: Outcome) -> Outcome:
        """Commit the end of a page that was judged; where the ledger knows better, its end."""
        key = page_key(fetched.url)
        outcome = self._end(key, fetched, outcome, self.ledger.entry(STAGE, key))
        self._record(key, outcome, fetched.started_s)
        self.taken += 1
        self.progress(self.taken)
        return outcome

    def _end(self, key: str, fetched: Fetched, outcome: Outcome, before: Entry | None) -> Outcome:
        if fetched.status == NOT_MODIFIED and before and "sha256" in before.result:
            return again(before, fetched.started_s)
        if outcome.state is State.OK or outcome.error_class == "not_work_page":
            outcome = self._alone(key, outcome)
        if before and before.state is State.OK and outcome.error_class not in (None, "gone"):
            why = f"{NOT_REFRESHED}{outcome.error_class}: {outcome.message}"
            return Outcome(state=State.OK, message=why, result=before.result)
        if outcome.state is State.OK and self.site:
            followed = {**outcome.result, "links": self._follow(fetched)}
            outcome = replace(outcome, result=followed)
        return outcome

    def _alone(self, key: str, outcome: Outcome) -> Outcome:
        """The outcome, unless another page has the same body: then neither is what it claims.

        A body that is read as a work is that work, however many addresses lead to it.
        """
        if outcome.result.get("kind") == "work":
            return outcome
        own = page_key(outcome.result["url"])
        sha256 = outcome.result["sha256"]
        other = self.bodies.setdefault(sha256, own)
        if other == own:
            return outcome
        message = "the site shows the same page at {} too"
        first = self.ledger.entry(STAGE, other)
        if first and first.result.get("sha256") == sha256 and first.error_class != "placeholder":
            kept = {k: v for k, v in first.result.items() if k in KEPT}
            self._record(other, failed("placeholder", message.format(key), kept), time.time())
        kept = {k: v for k, v in outcome.result.items() if k in KEPT}
        return failed("placeholder", message.format(other), kept)

    def _follow(self, fetched: Fetched) -> list[str]:
        assert self.site, "links are followed on a site"
        found = links(fetched.text, fetched.final_url or fetched.url, self.site)
        self.want(found)
        return found

    def want(self, addresses: Iterable[str]) -> None:
        """Queue the pages that are not known yet."""
        for url in addresses:
            if (key := page_key(url)) not in self.known:
                self.known.add(key)
                self.queue.append(url)

    def _record(self, key: str, outcome: Outcome, started_s: float) -> None:
        self.ledger.record(
            STAGE,
            key,
            outcome.state,
            error_class=outcome.error_class,
            message=outcome.message,
            result=outcome.result,
            started_s=started_s,
            tools=self.tools,
        )


def again(before: Entry, fetched_s: float) -> Outcome:
    """The outcome of a page that is as it was."""
    return Outcome(
        state=before.state,
        error_class=before.error_class,
        message=None if before.state is State.OK else before.message,
        result={**before.result, "fetched_s": fetched_s},
    )


def conditions(data: Path, entry: Entry | None) -> dict[str, str]:
    """The headers by which a site answers 304 when its page is the stored one."""
    if entry is None or is_passing(entry) or body_of(data, entry) is None:
        return {}
    headers = entry.result.get("headers", {})
    names = {"If-None-Match": "ETag", "If-Modified-Since": "Last-Modified"}
    return {name: headers[kept] for name, kept in names.items() if headers.get(kept)}


def is_passing(entry: Entry) -> bool:
    """Whether a page failed for a reason that may pass."""
    passing = entry.error_class in TRANSIENT or bool(entry.result.get("passing"))
    return entry.state is State.FAILED and passing


def body_of(data: Path, entry: Entry) -> bytes | None:
    """The stored body of a page, None when there is none.

    A damaged body is removed, so that the page is asked for again.
    """
    if not has_body(data, entry):
        return None
    try:
        return load_page(data, entry.result["sha256"])
    except UserError as error:
        logger.warning("%s: crawl again to fetch it", error)
        page_path(data, entry.result["sha256"]).unlink()
        return None


def has_body(data: Path, entry: Entry) -> bool:
    """Whether the page store has the body of a page."""
    sha256 = entry.result.get("sha256")
    return isinstance(sha256, str) and has_page(data, sha256)


class CommitPipeline:
    """Scrapy's way to the desk, which the spider carries: pages are taken in their order.

    While one page is committed the next is judged.
    """

    def __init__(self, crawler: "Crawler") -> None:
        self.crawler = crawler
        self.turn = asyncio.Lock()

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> Self:
        """Called by Scrapy."""
        return cls(crawler)

    async def process_item(self, item: Fetched) -> Fetched:
        """Judge and commit one page; after an error of our own no further page is asked for."""
        spider: Any = self.crawler.spider
        try:
            async with self.turn:
                outcome = await spider.desk.judge(item)
            await asyncio.sleep(0)  # the next page is handed to the parser first
            spider.desk.take(item, outcome)
        except Exception as error:
            spider.desk.bugs.append(error)
            spider.desk.queue.clear()
            raise
        finally:
            await spider.committed()
        return item
