"""What a connection gives: verified, with limits to its head, unpacked whole; else refused."""

import socket
import ssl
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from OpenSSL import SSL, crypto
from scrapy import Spider
from scrapy.core.downloader.handlers.http11 import (
    HTTP11DownloadHandler,
    _LenientHTTP11ClientFactory,
    _LenientHTTP11ClientProtocol,
)
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Request
from service_identity import VerificationError
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web._newclient import HEADER, STATUS
from twisted.web.client import BrowserLikePolicyForHTTPS

from crawler.errors import UserError

# What OpenSSL says of a chain that ends before a root it knows; a host or a date is not mended
# by more certificates.
CHAIN_CODES = (2, 20, 21)
MAX_HEAD = 2**18  # bytes of a response's status and headers


class Refused(IgnoreRequest):
    """A request or response that is not taken; its class and message end in the ledger."""

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class


def is_tls(error: BaseException | None) -> bool:
    """Whether a certificate or its encryption stands behind an error."""
    while error is not None:
        reasons = getattr(error, "reasons", [])  # Twisted's list of failures
        if isinstance(error, SSL.Error | VerificationError) or any(
            is_tls(reason.value) for reason in reasons
        ):
            return True
        error = error.__cause__
    return False


def tls_class(url: str, bundle: str | None, error: Exception) -> tuple[str, str]:
    """Error class and message of a refused connection: a second handshake says what is wrong.

    Twisted hands on that the certificate was refused, the standard library says why.
    """
    place = urlsplit(url)
    try:
        context = ssl.create_default_context(cafile=bundle)
        with socket.create_connection((place.hostname, place.port or 443), timeout=10) as plain:
            context.wrap_socket(plain, server_hostname=place.hostname).close()
    except ssl.SSLCertVerificationError as refused:
        if refused.verify_code in CHAIN_CODES:
            return "tls_chain_incomplete", (
                f"the certificate of {place.hostname} cannot be verified "
                f"({refused.verify_message}): give --ca-bundle, a PEM file with your system's "
                "certificates and the missing one"
            )
        return "tls", (f"the certificate of {place.hostname} is refused: {refused.verify_message}")
    except OSError as failed:
        return "tls", f"no encrypted connection: {failed}"
    return "tls", f"no encrypted connection: {error}"


class VerifyingHandler(HTTP11DownloadHandler):
    """Fetch over https only from a site whose certificate holds; Scrapy's own takes any."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        bundle = crawler.settings["EARSCRIBE_CA_BUNDLE"]
        roots: Any = None  # the system's
        if bundle:
            roots = trustRootFromCertificates(read_bundle(Path(bundle)))  # type: ignore[no-untyped-call]
        policy: Any = BrowserLikePolicyForHTTPS(trustRoot=roots)  # type: ignore[no-untyped-call]
        self._contextFactory = policy
        self._pool._factory = HeadFactory


class PlainHandler(HTTP11DownloadHandler):
    """Fetch over http, with a limit to the response's head."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._pool._factory = HeadFactory


class HeadProtocol(_LenientHTTP11ClientProtocol):
    """Receive a response whose status line and headers are no longer than MAX_HEAD."""

    head_bytes = 0

    def request(self, request: Any) -> Any:
        """Called by Twisted for every request on the connection."""
        self.head_bytes = 0
        return super().request(request)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Called by Twisted with what came."""
        parser = self._parser
        if parser is not None and parser.state in (STATUS, HEADER):
            self.head_bytes += len(data)
            parser.MAX_LENGTH = MAX_HEAD
            if self.head_bytes > MAX_HEAD + len(data):
                why: Any = Failure(Refused("too_large", "the headers are longer than we read"))  # type: ignore[no-untyped-call]
                self._disconnectParser(why)  # type: ignore[no-untyped-call]
                transport: Any = self.transport
                transport.abortConnection()
                return
        super().dataReceived(data)  # type: ignore[no-untyped-call]


class HeadFactory(_LenientHTTP11ClientFactory):
    """Scrapy's factory, for HeadProtocol."""

    def buildProtocol(self, addr: Any) -> HeadProtocol:  # noqa: N802
        """Called by Twisted for every connection."""
        return HeadProtocol(self._quiescentCallback)  # type: ignore[no-untyped-call]


class Unpacking(HttpCompressionMiddleware):
    """Unpack whole bodies: Scrapy's own takes what a broken one begins with for the page."""

    def process_request(self, request: Request, spider: Spider | None = None) -> None:
        """Called by Scrapy with every request."""
        request.headers.setdefault("Accept-Encoding", b"gzip, deflate")

    @staticmethod
    def _decode(body: bytes, encoding: bytes, max_size: int) -> bytes:
        return unpacked(body, encoding.decode("latin-1"), max_size)


def unpacked(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """A body as it was before its gzip or deflate; Refused when it is broken or too large."""
    if not body:  # of a 304, whatever its headers say
        return body
    raw = encoding == "deflate" and body[:1] != b"\x78"  # what some servers send under this name
    packed = zlib.decompressobj(-15 if raw else 47)  # 47: gzip or zlib, by its head
    try:
        text = packed.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise Refused("network", f"the {encoding} body is broken: {error}") from error
    if len(text) > max_bytes:
        raise Refused("too_large", "the page is larger than crawl.max_page_bytes")
    if not packed.eof:
        raise Refused("network", f"the {encoding} body ends early")
    return text


def read_bundle(path: Path) -> list[Certificate]:
    """The certificates of a PEM file; UserError when there is none."""
    end = b"-----END CERTIFICATE-----"
    try:
        pieces = path.read_bytes().split(end)[:-1]
        certificates = [Certificate.loadPEM(piece + end) for piece in pieces]
    except (OSError, ValueError, crypto.Error) as error:
        raise UserError(f"crawl.ca_bundle {path} cannot be read: {error}") from error
    if not certificates:
        raise UserError(f"crawl.ca_bundle {path} holds no certificate: give a PEM file")
    return certificates
