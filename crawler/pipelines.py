"""What becomes of a fetched page: stored, parsed, and its end committed with a reason."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from crawler.items import Article, Work, work_to_dict
from crawler.ledger import Ledger, State
from crawler.pages import ArticlePage, PageError, WorkPage
from crawler.pagestore import store_page
from crawler.urls import ARTICLE, page_key

if TYPE_CHECKING:
    from scrapy.crawler import Crawler  # loaded by a crawl only when something is missing

STAGE = "page"  # of the ledger
TRANSIENT = frozenset({"network", "server_error", "rate_limited", "blocked"})
GONE, BLOCKED, RATE_LIMITED = (404, 410), (401, 403, 451), (429,)
KEPT_HEADERS = ("Content-Type", "Date", "ETag", "Last-Modified", "Server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The end of a request: a response, or the reason why there is none."""

    url: str  # canonical, whatever was redirected
    started_s: float  # seconds since 1970
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    text: str | None = None  # None = the body is no text
    error_class: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a page ends in the ledger."""

    state: State
    error_class: str | None = None
    message: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)


def status_class(status: int) -> str | None:
    """The error class of an HTTP status, None for 200."""
    if status == 200:
        return None
    named = {"gone": GONE, "blocked": BLOCKED, "rate_limited": RATE_LIMITED}
    known = next((name for name, statuses in named.items() if status in statuses), None)
    return known or ("server_error" if status >= 500 else "http_error")


def judge(fetched: Fetched, data: Path, video_url: str) -> Outcome:
    """Store the body of a page and parse it; the outcome is what the ledger is told."""
    error_class, message = fetched.error_class, fetched.message
    if fetched.status is not None and (error_class := status_class(fetched.status)):
        message = f"the site answered {fetched.status}"
    if error_class:
        return Outcome(state=State.FAILED, error_class=error_class, message=message)
    sha256 = store_page(data, fetched.body)
    result = {"url": fetched.url, "sha256": sha256, "headers": dict(fetched.headers)}
    try:
        parsed = parse(fetched.text or "", fetched.url, sha256, video_url)
    except PageError as error:
        return Outcome(
            state=State.FAILED, error_class="not_work_page", message=str(error), result=result
        )
    return Outcome(state=State.OK, result=result | parsed)


def parse(text: str, url: str, sha256: str, video_url: str) -> dict[str, Any]:
    """A page's kind and its work or article, as the ledger keeps them."""
    if page_key(url).startswith(f"{ARTICLE}/"):
        article = replace(ArticlePage(text, url).article(), page_sha256=sha256)
        return _result(article)
    page = WorkPage(text, url, video_url=video_url)
    work = replace(page.work(), page_sha256=sha256)
    return _result(work) | {"coverage": page.coverage(), "no_prose": not work.notes}


def _result(item: Work | Article) -> dict[str, Any]:
    kind = "work" if isinstance(item, Work) else "article"
    return {"kind": kind, kind: work_to_dict(item)}


class Desk:
    """Where fetched pages go: the folder and its ledger, and who is told of the progress."""

    def __init__(
        self, data: Path, ledger: Ledger, *, video_url: str, progress: Callable[[int], None]
    ) -> None:
        self.data = data
        self.ledger = ledger
        self.video_url = video_url
        self.progress = progress  # called with the number of pages taken
        self.taken = 0
        self.tools = {"scrapy": version("scrapy")}
        self.bugs: list[Exception] = []  # errors of our own, for the caller of the crawl

    def take(self, fetched: Fetched) -> Outcome:
        """Judge a page and commit its end."""
        outcome = judge(fetched, self.data, self.video_url)
        self.ledger.record(
            STAGE,
            page_key(fetched.url),
            outcome.state,
            error_class=outcome.error_class,
            message=outcome.message,
            result=outcome.result,
            started_s=fetched.started_s,
            tools=self.tools,
        )
        self.taken += 1
        self.progress(self.taken)
        return outcome


class CommitPipeline:
    """Scrapy's way to the desk, which the spider carries."""

    def __init__(self, crawler: "Crawler") -> None:
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> Self:
        """Called by Scrapy."""
        return cls(crawler)

    def process_item(self, item: Fetched) -> Fetched:
        """Commit one page."""
        spider: Any = self.crawler.spider
        try:
            spider.desk.take(item)
        except Exception as error:
            spider.desk.bugs.append(error)
            raise
        return item
