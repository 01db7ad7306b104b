"""What a person says of the way to the recordings: cookies, proxy, certificates, arguments."""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from crawler.errors import UserError

PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def read_cookies(path: Path) -> str:
    """The text of a cookies file; UserError unless it is in the Netscape format."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"fetch.cookies {path} cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        is_cookie = line.strip() and not (line.startswith("#") and "#HttpOnly_" not in line)
        if is_cookie and len(line.split("\t")) != 7:  # never repeated: it may hold a secret
            raise UserError(
                f"fetch.cookies {path} line {number} has not 7 fields between tabs: "
                "give a cookies file in the Netscape format"
            )
    return text


def check_proxy(url: str) -> None:
    """UserError unless `url` is the address of a proxy."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in PROXY_SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        known = ", ".join(PROXY_SCHEMES)
        raise UserError(f"fetch.proxy {url!r} is not scheme://host:port with one of {known}")


def check_bundle(path: Path) -> None:
    """UserError unless `path` is a PEM file of certificates."""
    try:
        ssl.create_default_context().load_verify_locations(cafile=path)
    except OSError as error:
        raise UserError(
            f"fetch.ca_bundle {path} is not a PEM file of certificates: {error}"
        ) from error


def trusting(make: Callable[..., ssl.SSLContext], bundle: Path) -> Callable[..., ssl.SSLContext]:
    """`make`, whose contexts trust the certificates of `bundle` too."""

    def context(*args: object, **more: object) -> ssl.SSLContext:
        made = make(*args, **more)
        made.load_verify_locations(cafile=bundle)
        return made

    return context


def parsed_arguments(arguments: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Arguments of extractors, "youtube:player_client=web,tv;skip=dash", by extractor and name.

    UserError for one of another form.
    """
    parsed: dict[str, dict[str, list[str]]] = {}
    for argument in arguments:
        extractor, _, given = argument.partition(":")
        pairs = [one.partition("=") for one in given.split(";")]
        if not extractor or not all(name.strip() and value for name, _, value in pairs):
            raise UserError(
                f"fetch.extractor_args {argument!r} is not extractor:name=value,value;..."
            )
        known = parsed.setdefault(extractor.strip().lower(), {})
        known.update(
            (name.strip().lower().replace("-", "_"), value.split(",")) for name, _, value in pairs
        )
    return parsed
