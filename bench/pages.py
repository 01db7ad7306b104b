"""How fast a dense page is read, beside its bare element tree: python -m bench.pages."""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from parsel import Selector

from crawler.pages import WorkPage

LIMITS = {"over_bare": 10.0, "parse_ms": 60.0}
KB = 1000
PLAYERS = "Example Quartet {n}, A. Guest (clarinet), B. Friend (double bass) (live)"
NAMES = ("Allegro energico", "Adagio. Religioso", "Scherzo. Presto", "Finale. Vivace")
ROMAN = ("I", "II", "III", "IV")
HEAD = """<!doctype html><html><head><title>A dense page</title></head><body>
<p>Ada Example</p><p>Ada Example (1806-1851)</p><p>Nationality: Spanish</p>
<p>Born: January 27, 1806, Bilbao Died: January 17, 1851, Paris (age 44)</p>
<h1>String Quartet No. 2 in d minor, Op. 7</h1><p>(for 2 violins, viola and cello)</p>"""
SENTENCE = "The second violin repeats what the viola has said, and the cello has the last word. "
TERM = (
    "<p><b>term {n}</b>, terms [I]\u2014what it says in few words. <a href='/t/{n}'>explore</a></p>"
)


def dense_page(size: int, markup: str) -> str:
    """A page of at least `size` bytes: a third playlist, a third prose, a third glossary."""
    scripted = markup == "script"
    rows = _until(size // (6 if scripted else 3), lambda n: _row(n, markup))
    rows = rows[: len(rows) - len(rows) % 4]
    notes = _until(size // 3, lambda n: f"<p>{SENTENCE * 4}</p>" if n else "<h3>From Us</h3>")
    terms = _until(size // 3, lambda n: TERM.format(n=n))
    movements = [f"<p>8:43 {roman}. {name}</p>" for roman, name in zip(ROMAN, NAMES, strict=True)]
    counted = f"<p>{len(rows) // 4} recordings, {len(rows)} videos</p>"
    values = json.dumps([_values(n) for n in range(len(rows))])
    script = f"<script>var videos = {values};</script>" if scripted else ""
    lines = [HEAD, *movements, counted, *rows, script, *notes, "<h3>glossary</h3>", *terms]
    return "\n".join(lines)


def _until(size: int, make: Callable[[int], str]) -> list[str]:
    made: list[str] = []
    while size > 0:
        made.append(make(len(made)))
        size -= len(made[-1])
    return made


def _values(n: int) -> dict[str, Any]:
    following = _video(n + 1) if n % 4 < 3 else "0"
    return {"youtube_id": _video(n)[:11], "video_id": _video(n), "next_video": following,
            "movement_id": n % 4 + 1, "start": 0, "end": 0}  # fmt: skip


def _video(n: int) -> str:
    return f"_dense{n:05}{n % 4 + 1}"


def _row(n: int, markup: str) -> str:
    carried = " ".join(f"data-{name}='{value}'" for name, value in _values(n).items())
    call = ", ".join(repr(value) for value in _values(n).values())
    at = {"data": carried, "call": f'onclick="play({call})"', "script": ""}[markup]
    shown = ("8:43", PLAYERS.format(n=n // 4), f"{ROMAN[n % 4]}. {NAMES[n % 4]}")
    return f"<div {at}>" + "".join(f"<p>{text}</p>" for text in shown) + "</div>"


def measure(page: str, rounds: int) -> tuple[float, float]:
    """Median milliseconds of the bare tree and of the whole parse, taken in turns."""
    bare, parsed = [], []
    for _ in range(rounds):
        bare.append(_timed(lambda: Selector(text=page)))
        parsed.append(_timed(lambda: WorkPage(page, "Ada-Example").work()))
    return statistics.median(bare), statistics.median(parsed)


def _timed(run: Callable[[], object]) -> float:
    begun = time.process_time()
    run()
    return 1000 * (time.process_time() - begun)


def figures(size: int = 200 * KB, rounds: int = 15) -> dict[str, Any]:
    """What is reported, as plain values: a row a markup, and the worst of them."""
    rows = []
    for markup in ("data", "call", "script"):
        page = dense_page(size, markup)
        work = WorkPage(page, "Ada-Example").work()
        videos = sum(len(recording.parts) for recording in work.recordings)
        assert len(work.movements) == 4 and videos == 4 * len(work.recordings) > 100
        bare_ms, parse_ms = measure(page, rounds)
        rows.append(
            {
                "markup": markup,
                "kb": round(len(page.encode()) / KB),
                "videos": videos,
                "bare_ms": round(bare_ms, 2),
                "parse_ms": round(parse_ms, 2),
                "over_bare": round(parse_ms / bare_ms, 2),
            }
        )
    worst = {name: max(row[name] for row in rows) for name in LIMITS}
    return {"cores": os.cpu_count(), "machine": platform.platform(), "rows": rows, **worst}


def missed(result: Mapping[str, Any]) -> list[str]:
    """The limits that are passed."""
    return [name for name, limit in LIMITS.items() if result[name] > limit]


def main() -> int:
    """Measure, print, and end with 1 when a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="last line: the figures as JSON")
    given = parser.parse_args()
    result = figures()
    print(f"one dense page on {result['cores']} cores: milliseconds of processor time")
    print("".join(f"{name:>10}" for name in result["rows"][0]))
    for row in result["rows"]:
        print("".join(f"{value:>10}" for value in row.values()))
    for name, limit in LIMITS.items():
        verdict = "MISSED" if name in missed(result) else "held"
        print(f"{name:<10} {result[name]:>8}   limit {limit:>6}   {verdict}")
    if given.json:
        print(json.dumps(result))
    return 1 if missed(result) else 0


if __name__ == "__main__":
    sys.exit(main())
