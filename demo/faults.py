"""What the replica answers, and what goes wrong with an answer on demand."""

import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import repeat

from crawler.errors import UserError
from demo.markup import page

HTML = "text/html; charset=utf-8"
DRIP_S = 0.2  # between two pieces of a slow answer
HUGE_BYTES = 100 * 2**20  # of a body that is too large, of a bomb once it is unpacked
CHUNK = b"<p>more of the same</p> \n".ljust(2**16)
NESTED = 30_000  # tags around the page
A_DAY_S = 86_400
RESET = 0  # instead of a status: the connection is reset


@dataclass(frozen=True)
class Answer:
    """What an address answers."""

    status: int
    media_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)  # beside the usual; "" = not sent
    pieces: Callable[[bytes], Iterator[bytes]] | None = None  # of the body; None = all at once
    pause_s: float = 0.0  # before every piece
    announced: bool = True  # its length is told
    ranges: bool = True  # a Range is answered with a part
    conditions: bool = True  # ... and with the whole when its If-Range is of another file
    shift: int = 0  # bytes by which the part that is sent lies off the part that was asked for


def html_answer(text: str, status: int = 200) -> Answer:
    """A page as it is sent."""
    return Answer(status, HTML, text.encode())


NOT_FOUND = html_answer(page("Not found", "<p>Nothing is here.</p>"), 404)
NOT_A_WORK = html_answer(
    page("Maintenance", "<h1>Back soon</h1><p>The site is being repaired.</p>")
)
FAULT_PAGE = page("Fault", "<p>A fault on demand.</p>")

Fault = Callable[[Answer], Answer]


def status_fault(status: int, **headers: str) -> Fault:
    """A status, with a small page."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda answer: replace(html_answer(FAULT_PAGE, status), headers=named)


def body_fault(change: Callable[[bytes], bytes], media_type: str | None = None) -> Fault:
    """Another body of the same address, perhaps under another media type."""
    return lambda answer: replace(
        answer, body=change(answer.body), media_type=media_type or answer.media_type
    )


def redirect_fault(target: str) -> Fault:
    """A redirect to `target`, an address or a path."""
    return lambda answer: replace(answer, status=302, body=b"", headers={"Location": target})


# ------------------------------------------------------------------------------------------------
# Bodies


def _half(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]


def _fifty(body: bytes) -> Iterator[bytes]:
    step = len(body) // 50 + 1
    return (body[start : start + step] for start in range(0, len(body), step))


def _endless(body: bytes) -> Iterator[bytes]:
    return repeat(b" ")


def _huge(body: bytes) -> Iterator[bytes]:
    return repeat(CHUNK, HUGE_BYTES // len(CHUNK))


@cache
def bomb() -> bytes:
    """HUGE_BYTES of spaces, gzipped: about a hundred kilobytes."""
    packer = zlib.compressobj(9, wbits=31)
    chunk = b" " * 2**20
    packed = [packer.compress(chunk) for _ in range(HUGE_BYTES // len(chunk))]
    return b"".join([*packed, packer.flush()])


def _script_in_prose(body: bytes) -> bytes:
    script = rb"\g<0><script>document.write('not prose');</script>"
    return re.sub(rb"(?<=[a-z]{4})\.(?= )", script, body)


def _nested(body: bytes) -> bytes:
    opened = body.replace(b"<body>", b"<body>" + b"<div>" * NESTED, 1)
    return opened.replace(b"</body>", b"</div>" * NESTED + b"</body>", 1)


def _corrupt(body: bytes) -> bytes:
    third = len(body) // 3
    return body[:third] + bytes(byte ^ 0x5A for byte in body[third:-third]) + body[-third:]


def _another(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


def _declared(times: float) -> Fault:
    return lambda answer: replace(
        answer,
        pieces=lambda body: iter([body]),  # the connection is closed behind it
        headers={"Content-Length": str(int(len(answer.body) * times))},
    )


def _as_windows(body: bytes) -> bytes:
    return body.decode().encode("cp1252", "xmlcharrefreplace")


# ------------------------------------------------------------------------------------------------
# The table

FAULTS: Mapping[str, Fault] = {
    # The site says no.
    **{str(status): status_fault(status) for status in (401, 403, 404, 410, 451, 500)},
    "429": status_fault(429, Retry_After="1"),
    "503": status_fault(503, Retry_After="1"),
    "later": status_fault(503, Retry_After=str(A_DAY_S)),
    "soft404": lambda answer: replace(NOT_FOUND, status=200),
    # The page is another.
    "html": lambda answer: replace(NOT_A_WORK, media_type=answer.media_type),
    "empty": body_fault(lambda body: b""),
    "binary": body_fault(lambda body: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 16),
    "script": body_fault(_script_in_prose),
    "nested": body_fault(_nested),
    "utf8-as-latin1": body_fault(lambda body: body, "text/html; charset=iso-8859-1"),
    "utf8-as-ascii": body_fault(lambda body: body, "text/html; charset=us-ascii"),
    "windows-as-utf8": body_fault(_as_windows),
    # The connection is bad.
    "reset": lambda answer: replace(answer, status=RESET),
    "truncate": lambda answer: replace(answer, pieces=_half),
    "slow": lambda answer: replace(answer, pieces=_fifty, pause_s=DRIP_S),
    "drip": lambda answer: replace(answer, pieces=_endless, pause_s=DRIP_S, announced=False),
    "cut-gzip": lambda answer: replace(
        answer, body=gzip.compress(answer.body)[:-200], headers={"Content-Encoding": "gzip"}
    ),
    # A part is asked for, or the file has changed since its first part came.
    "no-range": lambda answer: replace(answer, ranges=False, headers={"Accept-Ranges": ""}),
    "wrong-range": lambda answer: replace(answer, shift=-100),
    "changed": body_fault(_another),
    "changed-anyway": lambda answer: replace(answer, body=_another(answer.body), conditions=False),
    "nameless": lambda answer: replace(answer, headers={"ETag": "", "Last-Modified": ""}),
    # The media are damaged, or of another length than was told.
    "corrupt": body_fault(_corrupt),
    "length-above": _declared(2),
    "length-below": _declared(0.5),
    # The body is too large.
    "huge": lambda answer: replace(
        answer, pieces=_huge, headers={"Content-Length": str(HUGE_BYTES)}
    ),
    "flood": lambda answer: replace(answer, pieces=_huge, announced=False),
    "headers": lambda answer: replace(
        answer, headers={f"X-{number}": "x" * 1000 for number in range(1000)}
    ),
    "bomb": lambda answer: replace(answer, body=bomb(), headers={"Content-Encoding": "gzip"}),
    # A redirect; one to any other place is given as its address.
    "elsewhere": redirect_fault("http://192.0.2.1/"),  # reserved: nobody is there
    # Of robots.txt.
    "crawl-delay": body_fault(lambda body: body + b"Crawl-delay: 1\n"),
}


def find_fault(name: str) -> Fault:
    """A fault by its name in FAULTS, or the redirect to a path or address given in its place."""
    if name.startswith("/") or ":" in name:
        return redirect_fault(name)
    if name not in FAULTS:
        known = ", ".join(FAULTS)
        raise UserError(f"unknown fault {name!r}: give one of {known}, or a path or an address")
    return FAULTS[name]
