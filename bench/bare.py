"""The measure for our crawl: a Scrapy spider that stores bodies and does nothing else.

python -m bench.bare SEEDS_FILE FOLDER asks for the addresses of a file, one at a time like ours.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from scrapy import Request, Spider
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.http import Response

SETTINGS = {
    "ROBOTSTXT_OBEY": True,
    "CONCURRENT_REQUESTS": 1,
    "DOWNLOAD_DELAY": 0,
    "TELNETCONSOLE_ENABLED": False,
    "LOG_ENABLED": False,
}


class BareSpider(Spider):
    """Write the body of every address to a file."""

    name = "bare"

    def __init__(self, *, addresses: Sequence[str], folder: Path) -> None:
        super().__init__()
        self.addresses = addresses
        self.folder = folder

    async def start(self) -> AsyncIterator[Request]:
        """Yield a request an address."""
        for address in self.addresses:
            yield Request(address)

    def parse(self, response: Response) -> None:
        """Store a body under the last part of its address."""
        name = response.url.rstrip("/").rsplit("/", 1)[1]
        (self.folder / f"{name}.html").write_bytes(response.body)


def main() -> None:
    """Crawl."""
    addresses = Path(sys.argv[1]).read_text().split()
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True)
    process = AsyncCrawlerProcess(SETTINGS)
    process.crawl(BareSpider, addresses=addresses, folder=folder)
    process.start()


if __name__ == "__main__":
    main()
