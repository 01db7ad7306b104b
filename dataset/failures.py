"""What yt-dlp says when it fails, and the class of failure that it stands for."""

import re

from dataset.pairs import ErrorClass

CLASSES = (  # the first pattern that a message fits says its class; what may pass comes first
    (r"no space left|disk quota|errno (28|122)\b", ErrorClass.DISK_FULL),
    (
        r"http error 429|too many requests|rate.?limit|not a bot|captcha|unusual traffic|"
        r"blocked by server \(4\d\d\)",
        ErrorClass.RATE_LIMITED,
    ),
    (r"http error 5\d\d|internal error|backend error", ErrorClass.SERVER_ERROR),
    (
        r"will begin|premieres? |not (currently|yet) (live|available)|not.?started|offline|"
        r"live event has ended|we.re processing|check back|needs to be reloaded|"
        r"not available on this app|watch on the latest version|other websites|"
        r"on this website or application|content isn.t available\W*$|"
        r"api (page|json): http error 4|\[youtube.*requested format",
        ErrorClass.EXTRACTOR,
    ),
    (r"incomplete youtube id|without video id", ErrorClass.NOT_MEDIA),
    (
        r"timed? ?out|connection|\breset\b|getaddrinfo|name or service|address associated|"
        r"temporary failure|temporarily unavailable|failed to resolve|unreachable|no route|"
        r"\bssl|_ssl|\btls\b|certificate|handshake|incomplete|bytes read|ended prematurely|"
        r"content too short|bytes, expected|did not get any data|file is empty|broken pipe|"
        r"http error (408|416|425)|proxy error|tunnel|your network",
        ErrorClass.NETWORK,
    ),
    (r"private video|(video|track|playlist) is (now )?private|set to private", ErrorClass.PRIVATE),
    (
        r"in your (country|location|region)|from your location|geo.?restrict|http error 451|"
        r"censorship|decision of the .* government",
        ErrorClass.GEO,
    ),
    (
        r"sign.?in\b|log(ged)?.?in\b|members|confirm your age|age.?restricted|inappropriate|"
        r"premium|subscribers|registered users|requires payment|password|for the authentication|"
        r"account credentials|http error 401",
        ErrorClass.LOGIN,
    ),
    (r"\bdrm\b|requested format|no audio|only images are available", ErrorClass.NO_AUDIO),
    (r"refused address .* is not public", ErrorClass.REFUSED),
    (
        r"unsupported url|refused address|not a valid url|no suitable extractor|"
        r"for safety reasons|unsafe file extension",
        ErrorClass.NOT_MEDIA,
    ),
    (r"larger than max-filesize|longer than", ErrorClass.TOO_LONG),
    (
        r"http error (404|410)|unavailable|(is not|isn.t) available|no longer|removed|terminated|"
        r"deleted|not exist|copyright|closed their",
        ErrorClass.GONE,
    ),
)
NOT_WORDS = re.compile(  # ids and addresses may say anything; so may the plea to report a bug
    r"(?<=\]) \S+:|(?<=\w)://\S+|; please report this issue.*?( -u\b|$)"
)


class SourceError(Exception):
    """A fetch that failed, with its class and the seconds that the server asks to wait."""

    def __init__(
        self, error_class: ErrorClass, message: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.retry_after_s = retry_after_s


def class_of(message: str) -> ErrorClass:
    """The class of a message; `extractor`, which may pass, when no pattern fits."""
    low = NOT_WORDS.sub(" ", message.lower())
    return next((kind for words, kind in CLASSES if re.search(words, low)), ErrorClass.EXTRACTOR)
