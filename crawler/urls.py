"""Addresses of the site: the one form of each, its slug, and what may be followed."""

import ipaddress
import re
import socket
from urllib.parse import SplitResult, quote, unquote, urlsplit

from crawler.errors import UserError

WORK, ARTICLE = "chamber-music", "article"
MAX_SLUG = 200  # characters; the longest known has 118
SLUG = re.compile(r"(?![-.])[^\x00-\x20/\\\x7f\ufffd?#]+")  # decoded


def slug(url: str) -> str:
    """The slug of a work's or article's address, or of a bare slug, in its one spelling.

    An apostrophe is %27, as the site writes it; every other reserved character is encoded too.
    UserError when there is none.
    """
    return _kind_and_slug(url)[1]


def canonical(url: str, site: str) -> str:
    """The one address of a page: site, kind and slug, without query, with a slash at the end.

    `url` is an address of the site, a path, or the bare slug of a work. UserError when it is
    none of these.
    """
    kind, name = _kind_and_slug(url)
    if is_absolute(url) and not same_site(url, site):
        raise UserError(f"{url!r} is not on {site}: give an address of that site or a slug")
    return f"{site.rstrip('/')}/{kind}/{name}/"


def page_key(url: str) -> str:
    """The key of a page in the ledger: a work's slug, or article/<slug>."""
    kind, name = _kind_and_slug(url)
    return name if kind == WORK else f"{ARTICLE}/{name}"


def may_follow(url: str, site: str) -> bool:
    """Whether a whole address is a work or an article of the site, in its form without query."""
    try:
        return same_site(url, site) and not urlsplit(url).query and bool(canonical(url, site))
    except UserError:
        return False


def is_absolute(url: str) -> bool:
    """Whether an address names its scheme or host; a bare slug may hold a colon."""
    split = urlsplit(url)
    return "/" in url and bool(split.scheme or split.netloc)


def same_site(url: str, site: str) -> bool:
    """Whether two addresses are of one host and port; www., http and https are one."""
    try:
        return _place(urlsplit(url)) == _place(urlsplit(site))
    except ValueError:  # no port of this number, no host in these brackets
        return False


def refusal(url: str, site: str) -> str | None:
    """Why no request is sent to an address that a redirect or a link names; None when one is.

    An address of the site itself is always allowed, also where that is this machine.
    """
    try:
        split = urlsplit(url)
        host, _ = split.hostname or "", split.port  # both are checked when they are read
    except ValueError:
        return "it is no address"
    if split.scheme not in ("http", "https"):
        return f"its scheme is {split.scheme or 'missing'}, not http or https"
    if same_site(url, site):
        return None
    return "its host is a private address" if is_private(host) else "it is another site"


def is_private(host: str) -> bool:
    """Whether a host is not on the public network: loopback, private, link-local, reserved.

    Also in the short forms that resolvers read, like 127.1 and 0x7f000001.
    """
    if host.endswith(("localhost", ".local", ".internal")):
        return True
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        pass
    try:
        return not ipaddress.ip_address(socket.inet_aton(host)).is_global
    except (OSError, UnicodeError):
        return False


def is_loopback(url: str) -> bool:
    """Whether an address is on this very machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _place(split: SplitResult) -> tuple[str, int | None]:
    port = None if split.port in (80, 443) else split.port
    known = split.scheme in ("http", "https")
    return (split.hostname or "").removeprefix("www.") if known else "", port


def _kind_and_slug(url: str) -> tuple[str, str]:
    try:
        path = urlsplit(url if "/" in url else f"/{WORK}/{url}").path
    except ValueError:
        path = ""
    parts = [part for part in path.split("/") if part]
    name = unquote(parts[1]) if len(parts) == 2 else ""
    if parts[:1] not in ([WORK], [ARTICLE]) or len(name) > MAX_SLUG or not SLUG.fullmatch(name):
        raise UserError(
            f"{url!r} is no page of the site: give a slug like Josef-Suk-Piano-Quintet-in-g-minor"
            f"-Op-8, or an address with /{WORK}/<slug>/ or /{ARTICLE}/<slug>/"
        )
    return parts[0], quote(name, safe="!")
