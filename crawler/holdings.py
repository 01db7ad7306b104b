"""What a data folder holds of a site: its stored pages, where they lead, and what is missing."""

from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

from crawler.errors import UserError
from crawler.ledger import LEDGER_NAME, Entry, Ledger, State, damaged
from crawler.pagestore import PAGES
from crawler.pipelines import STAGE, Fetched, body_of, has_body, is_passing, links
from crawler.urls import canonical, page_key, same_site

BODIES = (None, "not_work_page", "placeholder")  # error classes of pages that show something
FILES = ("works.jsonl", "articles.jsonl", "crawl-stats.json")


def refuse_odd_files(data: Path) -> None:
    """UserError where a file of ours is a folder or the page store is a file."""
    wrong = [data / name for name in FILES if (data / name).is_dir()]
    wrong += [path for path in [data / PAGES] if path.exists() and not path.is_dir()]
    if wrong:
        kind = "folder" if wrong[0].is_dir() else "file"
        raise UserError(f"{wrong[0]} is a {kind}: move it away or give another --data")


def known_bodies(data: Path, ledger: Ledger, site: str) -> dict[str, str]:
    """sha256 of a body -> key of the page where it was found, of every page with content.

    UserError for an entry that this program did not write, and for one of another site.
    """
    bodies = {}
    for entry in ledger.walk(STAGE):
        check_entry(data, entry)
        if "url" not in entry.result:
            continue
        if not same_site(entry.result["url"], site):
            raise UserError(
                f"{data} holds pages of another site ({entry.result['url']}), not of {site}: "
                "give another folder with --data"
            )
        if entry.error_class in BODIES:
            bodies[entry.result["sha256"]] = page_key(entry.result["url"])
    return bodies


def check_entry(data: Path, entry: Entry) -> None:
    """UserError for a page that is not told as this program tells it."""
    found = entry.result
    headers = found.get("headers", {})
    why = None
    if not isinstance(found.get("fetched_s", 0.0), int | float):
        why = "its fetched_s is no number"
    elif not isinstance(headers, Mapping) or not all(
        isinstance(text, str) for text in headers.values()
    ):
        why = "its headers are no texts"
    elif "sha256" in found or "url" in found:
        try:
            _ = page_key(found["url"]), bytes.fromhex(found["sha256"])
        except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
            why = f"its page is {error!r}"
    if why:
        raise damaged(data / LEDGER_NAME, STAGE, entry.item, why)


def stored_page(data: Path, entry: Entry) -> Fetched | None:
    """A page of the store as it was fetched, None when it has no body there."""
    body = body_of(data, entry)
    if body is None:
        return None
    return Fetched(
        url=entry.result["url"],
        started_s=entry.result.get("fetched_s", entry.updated_s),
        status=200,
        headers=entry.result.get("headers", {}),
        body=body,
    )


def reached(data: Path, ledger: Ledger, seeds: Mapping[str, str], site: str) -> dict[str, str]:
    """The seeds and every page that the stored pages lead to from them; no request is sent."""
    found, queue = dict(seeds), deque(seeds)
    while queue:
        entry = ledger.entry(STAGE, queue.popleft())
        if entry is None or entry.state is not State.OK:
            continue
        for url in stored_links(data, entry, site):
            if (key := page_key(url)) not in found:
                found[key] = canonical(url, site)
                queue.append(key)
    return found


def stored_links(data: Path, entry: Entry, site: str) -> list[str]:
    """The links of a page as the ledger has them, else from its stored body."""
    if "links" in entry.result:
        return list(entry.result["links"])
    page = stored_page(data, entry)
    return links(page.text, page.url, site) if page else []


def missing_pages(data: Path, ledger: Ledger, keys: Iterable[str], oldest_s: float) -> list[str]:
    """Which of these pages have to be asked for (again), in their order; see `is_missing`."""
    done = {entry.item for entry in ledger.walk(STAGE) if not is_missing(data, entry, oldest_s)}
    return [key for key in keys if key not in done]


def is_missing(data: Path, entry: Entry | None, oldest_s: float = 0.0) -> bool:
    """Whether a page has to be asked for (again): no end yet, its body lost, or it is too old."""
    if entry is None or entry.state is State.PENDING:
        return True
    if "sha256" in entry.result and not has_body(data, entry):
        return True
    if entry.result.get("fetched_s", entry.updated_s) < oldest_s:
        return True
    return is_passing(entry)
