"""ArticlePage: the HTML text of a page -> Article."""

import re

from lxml import etree

from crawler.items import Article
from crawler.pages import DEFAULT, Page, PageError, Selectors
from crawler.prose import is_prose
from crawler.urls import slug
from crawler.visible import text_lines

MIN_ARTICLE = 200  # characters of prose, where no selector says that it is an article
DATE = re.compile(r"(?:[A-Z][a-z]+day, )?[A-Z][a-z]{2,8} \d{1,2}(?:st|nd|rd|th)?, \d{4}")
GONE = re.compile(r"(?:error )?404\b.*|(?:.* )?not found[.!]?", re.IGNORECASE)  # titles of none


class ArticlePage(Page):
    """An article's page, read from its HTML text alone; of several the longest is its own."""

    def __init__(self, html: str, url: str, *, selectors: Selectors = DEFAULT) -> None:
        super().__init__(html, url, selectors=selectors)
        articles = self._elements("article")
        if len(articles) > 1:  # the others are teasers
            self._root = max(articles, key=_length)

    def article(self) -> Article:
        """The article; PageError when the page has no title or no prose, or says that it is none.

        Without selectors that fit, the prose is all from the first paragraph to the last, the title
        the heading above it.
        """
        css = self.selectors.article
        lines = self._lines
        prose = [index for index, line in enumerate(lines) if is_prose(line)]
        above = lines[: prose[0]] if prose else lines
        texts = self._chosen(css["text"])
        if prose and not any(map(is_prose, texts)):
            found = lines[prose[0] : prose[-1] + 1]
            texts = found if sum(map(len, found)) >= MIN_ARTICLE else texts
        if not texts:
            raise PageError(f"not an article: no prose in {len(lines)} lines of text")
        title = " ".join(self._chosen(css["title"])) or self._heading(above)
        if not title or GONE.fullmatch(title):
            raise PageError(f"not an article: its title is {title!r}" if title
                            else "not an article: no title")  # fmt: skip
        dates = [line for line in above if DATE.fullmatch(line)]
        return Article(
            article_id=slug(self.url),
            page_url=self.url,
            title=title,
            text="\n\n".join(texts),
            date=" ".join(self._chosen(css["date"])) or (dates[0] if dates else None),
        )

    def _heading(self, above: list[str]) -> str:
        """The last heading of the highest rank above the prose, "" when there is none."""
        for rank in ("h1", "h2", "h3"):
            if found := [line for line in self._chosen(rank) if line in above]:
                return found[-1]
        return ""


def _length(element: etree._Element) -> int:
    return sum(map(len, text_lines(element)))
