"""The replica: a loopback server with work pages, articles and media, and faults on demand."""

import errno
import hashlib
import json
import logging
import re
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from crawler.errors import UserError
from crawler.items import Work, read_works
from demo.faults import NOT_FOUND, RESET, Answer, find_fault, html_answer
from demo.markup import (
    MEDIA_TYPES,
    markup_of,
    render_article,
    render_home,
    render_watch,
    render_work,
)

logger = logging.getLogger(__name__)

IDLE_S = 30.0  # after which a silent connection is closed
ROBOTS = "User-agent: *\nDisallow: /search\nDisallow: /chamber-music/Private-\n"
CHANGED = "Sun, 05 Jan 2025 12:00:00 GMT"  # when everything on the replica was last modified


class Corpus:
    """What a replica shows: works by their slugs, videos by their ids, articles by theirs."""

    def __init__(
        self,
        works: Iterable[Work],
        articles: Iterable[Mapping[str, str]] = (),
        media: Mapping[str, Mapping[str, Any]] | None = None,
        folder: Path = Path(),  # of the media
    ) -> None:
        self.works = {work.work_id: work for work in works}
        self.articles = {article["article_id"]: article for article in articles}
        self.media = media or {}
        self.folder = folder

    @classmethod
    def read(cls, folder: Path) -> Self:
        """A demo corpus folder: works.jsonl, media.json, articles.json, audio/."""
        articles, media = (_read_json(folder / f"{name}.json") for name in ("articles", "media"))
        return cls(read_works(folder / "works.jsonl"), articles, media, folder)

    def answer(self, target: str, address: str) -> Answer:
        """The answer to a request for `target` (path and query) of the site at `address`."""
        split = urlsplit(target)
        parts = [quote(unquote(part), safe="!") for part in split.path.split("/") if part]
        match parts:
            case []:
                return html_answer(render_home([*self.works], [*self.articles]))
            case ["robots.txt"]:
                return Answer(200, "text/plain; charset=utf-8", ROBOTS.encode())
            case ["chamber-music", slug] if slug in self.works:
                return html_answer(render_work(self.works[slug], markup_of(slug)))
            case ["article", slug] if slug in self.articles:
                return html_answer(render_article(self.articles[slug]))
            case ["watch"]:
                return self._watch(parse_qs(split.query).get("v", [""])[0], address)
            case ["media", name]:
                return self._file(unquote(name))
        return NOT_FOUND

    def _watch(self, youtube_id: str, address: str) -> Answer:
        media = self.media.get(youtube_id)
        if media is None:
            return NOT_FOUND
        return html_answer(render_watch(youtube_id, media, address))

    def _file(self, name: str) -> Answer:
        media = self.media.get(Path(name).stem)
        path = self.folder / media["file"] if media else None
        if path is None or path.suffix != Path(name).suffix or not path.is_file():
            return NOT_FOUND
        return Answer(200, MEDIA_TYPES[path.suffix], path.read_bytes())


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path} is missing: a demo corpus has works, media and articles")
    return json.loads(path.read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------------
# The server


@dataclass(frozen=True)
class Request:
    """One request as it was answered."""

    method: str
    path: str  # with its query
    status: int  # 0 = the connection was reset
    range: str | None  # the Range header
    time_s: float = field(default_factory=time.monotonic)


class Replica:
    """A running replica: its address, what it was asked for, and the faults it shows."""

    def __init__(
        self, corpus: Corpus, faults: Mapping[str, str], host: str, port: int, scheme: str
    ) -> None:
        for fault in faults.values():
            find_fault(fault)
        self.corpus = corpus
        self.faults = dict(faults)  # may be changed while the replica runs
        self.scheme = scheme
        self.host = host
        self.port = port
        self.stopping = threading.Event()
        self._requests: list[Request] = []
        self._guard = threading.Lock()

    @property
    def address(self) -> str:
        """scheme://host:port, without a slash at the end."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """Every request so far, oldest first."""
        with self._guard:
            return list(self._requests)

    def served(self, prefix: str) -> int:
        """How many requests went to paths that begin with `prefix`."""
        return sum(request.path.startswith(prefix) for request in self.requests)

    def note(self, request: Request) -> None:
        """Add a line to the request log."""
        with self._guard:
            self._requests.append(request)


@contextmanager
def serve(
    site: Path | Corpus,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    faults: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Replica]:
    """Serve a demo corpus or its folder from threads of this process; port 0 takes a free one.

    `faults` maps a path (of a video: with its query) to one of demo.faults.FAULTS, or to the path
    or address to which it redirects. With `tls`, the context of a certificate, the replica speaks
    https. UserError when the port is taken, the folder no demo corpus or a fault unknown.
    """
    corpus = Corpus.read(site) if isinstance(site, Path) else site
    replica = Replica(corpus, faults or {}, host, port, "https" if tls else "http")
    with _bound(replica, tls) as server:
        replica.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield replica
        finally:
            replica.stopping.set()
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    tls: ssl.SSLContext | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        """A new connection; its handshake waits for the thread that answers it."""
        connection, client = super().get_request()
        if self.tls:
            connection = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, client

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is a normal day, not a traceback on the terminal."""
        logger.debug("connection from %s broke off", client_address, exc_info=True)


def _bound(replica: Replica, tls: ssl.SSLContext | None) -> _Server:
    handler = type("Handler", (_Handler,), {"replica": replica})
    try:
        server = _Server((replica.host, replica.port), handler)
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        problem = "is taken" if taken else f"cannot be used ({error})"
        raise UserError(
            f"port {replica.port} on {replica.host} {problem}: give another with --port"
        ) from error
    server.tls = tls
    return server


class _Handler(BaseHTTPRequestHandler):
    replica: Replica
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True  # a body must not wait until its head is acknowledged

    def do_GET(self) -> None:
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the replica keeps its own log."""

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        answer = self.replica.corpus.answer(self.path, self.replica.address)
        faults = self.replica.faults
        if fault := faults.get(self.path) or faults.get(path):
            answer = find_fault(fault)(answer)
        if answer.status == RESET:
            return self._reset()
        return self._send(answer)

    def _note(self, status: int) -> None:
        self.replica.note(Request(self.command, self.path, status, self.headers.get("Range")))

    def _reset(self) -> None:
        self._note(RESET)
        abort = struct.pack("ii", 1, 0)  # linger for no time: the peer sees a reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abort)
        self.connection.close()
        self.close_connection = True

    def _send(self, answer: Answer) -> None:
        etag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
        if answer.status == HTTPStatus.OK and self._has(etag):
            answer = replace(answer, status=HTTPStatus.NOT_MODIFIED, body=b"")
        wanted = self.headers.get("Range") if self._may_be_partial(answer, etag) else None
        status, span = requested_span(wanted, answer)
        body = answer.body[span.start : span.stop]
        self._note(status)
        self.send_response(status)
        usual = {
            "Content-Type": answer.media_type,
            "Content-Length": str(len(body)),
            "Accept-Ranges": "bytes",
            "ETag": etag,
            "Last-Modified": CHANGED,
        }
        headers = usual | dict(answer.headers) | content_range(status, span, len(answer.body))
        if not answer.announced:
            del headers["Content-Length"]
            headers["Connection"] = "close"
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._write(body, answer)

    def _has(self, etag: str) -> bool:
        """Whether the client has this very answer already; its ETag goes before its date."""
        if known := self.headers.get("If-None-Match"):
            return etag in known
        return self.headers.get("If-Modified-Since") == CHANGED

    def _may_be_partial(self, answer: Answer, etag: str) -> bool:
        """Whether a Range is heeded: the file must be the one that If-Range speaks of."""
        condition = self.headers.get("If-Range")
        same = condition in (None, etag, CHANGED) or not answer.conditions
        return answer.ranges and same

    def _write(self, body: bytes, answer: Answer) -> None:
        if answer.pieces is None:
            self.wfile.write(body)
            return
        self.close_connection = True
        for piece in answer.pieces(body):
            if self.replica.stopping.wait(answer.pause_s):
                break
            self.wfile.write(piece)


def content_range(status: int, span: range, size: int) -> dict[str, str]:
    """The header that says which bytes of how many are sent, if any are left out."""
    if status == HTTPStatus.PARTIAL_CONTENT:
        return {"Content-Range": f"bytes {span.start}-{span.stop - 1}/{size}"}
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return {"Content-Range": f"bytes */{size}"}
    return {}


def requested_span(wanted: str | None, answer: Answer) -> tuple[int, range]:
    """Status and bytes for a Range header; an unreadable one asks for the whole."""
    size = len(answer.body)
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if answer.status != HTTPStatus.OK or match is None or match.group() == "bytes=-":
        return answer.status, range(size)
    first, last = match.groups()
    start = max(0, (int(first) if first else max(0, size - int(last))) + answer.shift)
    stop = max(0, min(size, int(last) + 1) + answer.shift) if first and last else size
    if start >= stop:
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, range(0)
    return HTTPStatus.PARTIAL_CONTENT, range(start, stop)
