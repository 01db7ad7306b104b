"""The replica: a loopback server with work pages, articles and media, and faults on demand."""

import errno
import hashlib
import json
import logging
import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from crawler.errors import UserError
from crawler.items import read_works
from demo.markup import (
    MEDIA_TYPES,
    markup_of,
    page,
    render_article,
    render_home,
    render_watch,
    render_work,
)

logger = logging.getLogger(__name__)

STATUS_FAULTS = ("403", "404", "410", "429", "500", "503")
FAULTS = (*STATUS_FAULTS, "elsewhere", "html", "empty", "truncate", "slow", "reset")
DRIP_S = 0.2  # between two of the fifty pieces of a slow answer
IDLE_S = 30.0  # after which a silent connection is closed
ROBOTS = "User-agent: *\nDisallow: /search\nDisallow: /chamber-music/Private-\n"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """What an address holds: HTML or a file's bytes."""

    status: int
    media_type: str
    body: bytes


def _html(text: str, status: int = 200) -> Answer:
    return Answer(status, HTML, text.encode())


NOT_FOUND = _html(page("Not found", "<p>Nothing is here.</p>"), 404)
NOT_A_WORK = _html(page("Maintenance", "<h1>Back soon</h1><p>The site is being repaired.</p>"))


class Corpus:
    """A demo corpus folder, read once: works.jsonl, media.json, articles.json, audio/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.works = {work.work_id: work for work in read_works(folder / "works.jsonl")}
        self.media: dict[str, dict[str, Any]] = _read_json(folder / "media.json")
        articles: list[dict[str, str]] = _read_json(folder / "articles.json")
        self.articles = {article["article_id"]: article for article in articles}

    def answer(self, target: str, address: str) -> Answer:
        """The answer to a request for `target` (path and query) of the site at `address`."""
        split = urlsplit(target)
        parts = [quote(unquote(part), safe="!") for part in split.path.split("/") if part]
        match parts:
            case []:
                return _html(render_home([*self.works], [*self.articles]))
            case ["robots.txt"]:
                return Answer(200, "text/plain; charset=utf-8", ROBOTS.encode())
            case ["chamber-music", slug] if slug in self.works:
                return _html(render_work(self.works[slug], markup_of(slug)))
            case ["article", slug] if slug in self.articles:
                return _html(render_article(self.articles[slug]))
            case ["watch"]:
                return self._watch(parse_qs(split.query).get("v", [""])[0], address)
            case ["media", name]:
                return self._file(unquote(name))
        return NOT_FOUND

    def _watch(self, youtube_id: str, address: str) -> Answer:
        media = self.media.get(youtube_id)
        if media is None:
            return NOT_FOUND
        return _html(render_watch(youtube_id, media, address))

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

    def __init__(self, corpus: Corpus, faults: Mapping[str, str], host: str, port: int) -> None:
        for fault in faults.values():
            if fault not in FAULTS:
                raise UserError(f"unknown fault {fault!r}: give one of {', '.join(FAULTS)}")
        self.corpus = corpus
        self.faults = dict(faults)  # may be changed while the replica runs
        self.host = host
        self.port = port
        self.stopping = threading.Event()
        self._requests: list[Request] = []
        self._guard = threading.Lock()

    @property
    def address(self) -> str:
        """http://host:port, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

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
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    faults: Mapping[str, str] | None = None,
) -> Iterator[Replica]:
    """Serve a demo corpus folder from threads of this process; port 0 takes a free one.

    `faults` maps a path (of a video: with its query) to one of FAULTS. UserError when the port
    is taken or the folder is no demo corpus.
    """
    replica = Replica(Corpus(folder), faults or {}, host, port)
    with _bound(replica) as server:
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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is a normal day, not a traceback on the terminal."""
        logger.debug("connection from %s broke off", client_address, exc_info=True)


def _bound(replica: Replica) -> _Server:
    handler = type("Handler", (_Handler,), {"replica": replica})
    try:
        return _Server((replica.host, replica.port), handler)
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        problem = "is taken" if taken else f"cannot be used ({error})"
        raise UserError(
            f"port {replica.port} on {replica.host} {problem}: give another with --port"
        ) from error


class _Handler(BaseHTTPRequestHandler):
    replica: Replica
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def do_GET(self) -> None:
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the replica keeps its own log."""

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        faults = self.replica.faults
        fault = faults.get(self.path) or faults.get(path) or ""
        answer = self.replica.corpus.answer(self.path, self.replica.address)
        if fault.isdigit():
            answer = _html(page("Fault", "<p>A fault on demand.</p>"), int(fault))
        elif fault == "html":
            answer = Answer(200, answer.media_type, NOT_A_WORK.body)
        elif fault == "empty":
            answer = Answer(200, answer.media_type, b"")
        elif fault == "elsewhere":
            answer = Answer(302, answer.media_type, b"")
        elif fault == "reset":
            return self._reset()
        return self._send(answer, fault)

    def _reset(self) -> None:
        self.replica.note(Request(self.command, self.path, 0, self.headers.get("Range")))
        abort = struct.pack("ii", 1, 0)  # linger for no time: the peer sees a reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abort)
        self.connection.close()
        self.close_connection = True

    def _send(self, answer: Answer, fault: str) -> None:
        wanted = self.headers.get("Range")
        status, span = requested_span(wanted, answer)
        body = answer.body[span.start : span.stop]
        self.replica.note(Request(self.command, self.path, status, wanted))
        self.send_response(status)
        self.send_header("Content-Type", answer.media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"')
        if status == HTTPStatus.PARTIAL_CONTENT:
            covered = f"bytes {span.start}-{span.stop - 1}/{len(answer.body)}"
            self.send_header("Content-Range", covered)
        elif status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.send_header("Content-Range", f"bytes */{len(answer.body)}")
        elif status == HTTPStatus.FOUND:
            self.send_header("Location", "http://192.0.2.1/")  # reserved: nobody is there
        elif status == HTTPStatus.TOO_MANY_REQUESTS:
            self.send_header("Retry-After", "1")
        self.end_headers()
        if self.command == "GET":
            self._write(body, fault)

    def _write(self, body: bytes, fault: str) -> None:
        if fault == "truncate":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif fault == "slow":
            self._drip(body)
        else:
            self.wfile.write(body)

    def _drip(self, body: bytes) -> None:
        step = len(body) // 50 + 1
        for start in range(0, len(body), step):
            if self.replica.stopping.wait(DRIP_S):
                break
            self.wfile.write(body[start : start + step])
            self.wfile.flush()


def requested_span(wanted: str | None, answer: Answer) -> tuple[int, range]:
    """Status and bytes for a Range header; an unreadable one asks for the whole."""
    size = len(answer.body)
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if answer.status != HTTPStatus.OK or match is None or match.group() == "bytes=-":
        return answer.status, range(size)
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, range(0)
    return HTTPStatus.PARTIAL_CONTENT, range(start, stop)
