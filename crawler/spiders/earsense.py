"""EarsenseSpider: asks for one page after the other, and knows when to stop."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

from scrapy import Request, Spider
from scrapy.exceptions import CloseSpider
from scrapy.http import Response
from twisted.python.failure import Failure

from crawler.errors import UserError
from crawler.pipelines import BLOCKED, KEPT_HEADERS, RATE_LIMITED, TEMPORARY, Fetched
from crawler.settings import RobotsUnread, failure_class, is_temporary
from crawler.urls import canonical

MAX_MISSES = 3  # pages in a row without an answer, after which the site counts as unreachable
MAX_REFUSALS = 3  # answers in a row that say: not you, or not now
AHEAD = 3  # pages at most that wait for the desk while the next is asked for
MISSED = ("network", "timeout")


class EarsenseSpider(Spider):
    """Fetch the work and article pages that the desk names, one at a time."""

    name = "earsense"

    def __init__(self, *, desk: Any, site: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.desk = desk  # next() and take() of crawler.pipelines.Desk
        self.site = site
        self._misses = 0
        self._refusals = 0
        self._in_hand = 0  # pages that were asked for and are not committed
        self._moved = asyncio.Condition()

    async def start(self) -> AsyncIterator[Request]:
        """Yield the first request; every answer brings the next."""
        if request := await self._next(in_hand=0):
            yield request

    async def _next(self, *, in_hand: int) -> Request | None:
        """The next request, once no more than so many pages are in hand; None at the end."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._in_hand <= in_hand)
        page = self.desk.next()
        if page is None:
            return None
        self._in_hand += 1
        url, headers = page
        return Request(
            url,
            headers=dict(headers),
            callback=self.parse,
            errback=self.missed,
            cb_kwargs={"url": url},
            dont_filter=True,  # the desk names a page once, so no set of all has to be kept
        )

    async def committed(self) -> None:
        """Called by the pipeline when the desk is done with a page."""
        async with self._moved:
            self._in_hand -= 1
            self._moved.notify_all()

    async def parse(self, response: Response, url: str) -> AsyncIterator[Fetched | Request]:
        """Hand over a response; end the run when the site refuses us."""
        self._misses = 0
        refused = response.status in (*BLOCKED, *RATE_LIMITED)
        self._refusals = self._refusals + 1 if refused else 0
        reason = response.meta.get("stop")
        if self._refusals >= MAX_REFUSALS:
            reason = (
                f"the site refuses us with {response.status}, {self._refusals} times in a row: "
                "ask its owner before more"
            )
        async for result in self._hand_over(self._fetched(response, url), reason):
            yield result

    async def _hand_over(
        self, fetched: Fetched, reason: str | None
    ) -> AsyncIterator[Fetched | Request]:
        """Give a page to the desk and ask for the next, or end the run for a reason.

        The next is asked for while the desk works at this one, once no more than AHEAD are in
        hand: a kill costs no more pages than that and one. Without a next, this page's links
        may help.
        """
        ahead = None if reason else await self._next(in_hand=AHEAD)
        if ahead:
            yield ahead
        yield fetched
        if reason:
            raise CloseSpider(reason)
        if ahead is None and (found := await self._next(in_hand=0)):
            yield found

    def _fetched(self, response: Response, url: str) -> Fetched:
        final, elsewhere, passing = None, None, response.status in TEMPORARY
        if response.meta.get("redirect_times"):
            try:
                final = canonical(response.url, self.site)
            except UserError as error:
                elsewhere = str(error)
                passing = is_temporary(cast(Any, response.request))
        return Fetched(
            url=url,
            final_url=final,
            started_s=time.time() - response.meta.get("download_latency", 0.0),
            status=response.status,
            headers={name: value for name in KEPT_HEADERS if (value := header(response, name))},
            body=response.body,
            error_class="redirect" if elsewhere else None,
            message=elsewhere,
            passing=passing,
        )

    async def missed(self, failure: Failure) -> AsyncIterator[Fetched | Request]:
        """Hand over the reason why a page has no response; end the run after a few in a row."""
        error, request = failure.value, cast(Any, failure).request
        assert error is not None, "Scrapy gives its errbacks an error"
        error_class, message = failure_class(error)
        self._misses = self._misses + 1 if error_class in MISSED else 0
        reason = None
        if isinstance(error, RobotsUnread) or error_class.startswith("tls"):
            reason = message
        elif self._misses >= MAX_MISSES:
            reason = f"the site cannot be reached: {message}"
        fetched = Fetched(
            url=request.cb_kwargs["url"],
            started_s=time.time(),
            error_class=error_class,
            message=message,
            passing=error_class == "redirect" and is_temporary(request),
        )
        async for result in self._hand_over(fetched, reason):
            yield result


def header(response: Response, name: str) -> str:
    """A header of a response, '' when it has none."""
    return (response.headers.get(name) or b"").decode("latin-1")
