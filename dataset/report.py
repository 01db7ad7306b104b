"""One self-contained HTML page: counts, plots, splits, failures, samples to hear."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from crawler.errors import UserError
from crawler.files import sha256_file, write_atomic
from crawler.items import Work, read_works
from crawler.ledger import LEDGER_NAME, Ledger, State, folder_lock
from crawler.summary import Progress, Summary, silent
from dataset.decoding import AudioError, load_segment
from dataset.index import PAIRS_NAME, read_table
from dataset.pairs import SCHEMA_VERSION, stable_id
from dataset.parts import read_split, split_names
from dataset.plots import Band, bar_list, bars, data_uri, escape, histogram, opus, spectrogram

REPORT_NAME = "report.html"
REPORT_VERSION = 2  # raise when the same folder gives another page
SAMPLES = 24  # pairs shown at most
EXCERPT_S = 15.0  # of a sample's clip
EXCERPT_LETTERS = 400  # of its caption
STUDY_DURATION = Band(153, 855, "central 95 % of the 2022 study: 153 to 855 s")
STUDY_TOKENS = Band(14, 192, "central 95 % of the 2022 study: 14 to 192 wordpieces")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """Everything the page is made of."""

    rows: Sequence[Row]
    works: Sequence[Work] | None  # None = no works.jsonl, the index was imported
    pages: Mapping[str, int]  # state -> pages in the ledger
    splits: Sequence[Mapping[str, Any]]
    index_sha256: str
    style: str
    heard: Mapping[str, str | None]  # path of a sample's clip -> its sha256, None = missing

    @property
    def ok(self) -> list[Row]:
        return [row for row in self.rows if row["status"] == State.OK]

    @property
    def texts(self) -> dict[tuple[object, ...], Row]:
        """One row a text, whatever the number of recordings."""
        names = ("work_id", "note_source", "text_index", "caption")
        return {(*(row[name] for name in names), *row["movements"]): row for row in self.rows}

    @property
    def clips(self) -> dict[str, Row]:
        """One row a clip, whatever the number of texts."""
        return {row["clip_id"]: row for row in self.ok}

    @property
    def digest(self) -> str:
        """Changes when the page would."""
        works = stable_id(*(work.work_id for work in self.works or ()))
        index = (self.index_sha256, works, self.pages, self.splits)
        return stable_id(REPORT_VERSION, *index, self.style, self.heard)


def report(data: Path, progress: Progress = silent) -> Summary:
    """Write report.html, which needs no other file and no network; the same folder, same bytes.

    A page that is up to date is left alone. UserError when there is no index.
    """
    with folder_lock(data):
        facts = _gather(data)
        page = data / REPORT_NAME
        if page.is_dir():
            raise UserError(f"{page} is a folder: move it away, the report gets that name")
        stale = not page.is_file() or not _is_current(page.read_bytes(), facts.digest)
        if stale:
            body = _page(data, facts, progress).encode()
            write_atomic(page, body + _mark(facts.digest, body))
    return Summary(
        stage="report",
        total=len(facts.rows),
        counts=dict(sorted(Counter(row["status"] for row in facts.rows).items())),
        artifact=page,
        details={"samples": min(SAMPLES, len(facts.ok)), "bytes": page.stat().st_size},
        work_done=int(stale),
    )


def _gather(data: Path) -> _Facts:
    works_path, pages = data / "works.jsonl", Counter[str]()
    if (data / LEDGER_NAME).is_file():
        ledger = Ledger(data, read_only=True)
        try:
            for stage, state, _, count in ledger.counts():
                pages.update({state: count} if stage == "page" else {})
        finally:
            ledger.close()
    rows = read_table(data / PAIRS_NAME).to_pylist()
    shown = choose_samples((row for row in rows if row["status"] == State.OK), SAMPLES)
    clips = {str(row["audio"]["path"]) for row in shown}
    return _Facts(
        rows=rows,
        works=read_works(works_path) if works_path.is_file() else None,
        pages=pages,
        splits=[read_split(data, name) for name in split_names(data)],
        index_sha256=sha256_file(data / PAIRS_NAME),
        style=Path(__file__).with_name("report.css").read_text(encoding="utf-8"),
        heard={
            name: sha256_file(data / name) if (data / name).is_file() else None
            for name in sorted(clips)
        },
    )


def _mark(digest: str, body: bytes) -> bytes:
    """The page's last line: what it was made of, and the sha256 of all before."""
    return f"<!-- earscribe {digest} {hashlib.sha256(body).hexdigest()} -->\n".encode()


def _is_current(page: bytes, digest: str) -> bool:
    body = page[: page.rfind(b"<!-- earscribe ")]
    return page == body + _mark(digest, body)


def _page(data: Path, facts: _Facts, progress: Progress) -> str:
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    sections = (
        _totals(facts),
        _section("From page to split", _funnel(facts)),
        _section("How every pair ended", _states(facts.rows)),
        _section("Length", _lengths(facts)),
        _section("What it holds", _contents(facts)),
        _section("Splits", _splits(facts.splits)),
        _section("Listen and read", _samples(data, facts.ok, progress)),
        _section("Failures", _failures(facts.rows)),
        _section("How to rebuild it", _rebuild(facts)),
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>Earscribe corpus report</title>\n<style>\n{facts.style}</style>\n</head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], total: bool = False) -> str:
    """A table; numbers to the right; with `total` the last row is set off as the sum."""
    lines = [list(row) for row in rows]
    numeric = [all(_is_number(line[n]) for line in lines) for n in range(len(head))]
    marks = [' class="number"' if number else "" for number in numeric]
    titles = "".join(f"<th{m}>{escape(h)}</th>" for m, h in zip(marks, head, strict=True))
    body = ""
    for position, line in enumerate(lines):
        shown = [f"{cell:,}" if isinstance(cell, int) else escape(cell) for cell in line]
        cells = "".join(f"<td{m}>{c}</td>" for m, c in zip(marks, shown, strict=True))
        last = total and position == len(lines) - 1
        body += f"<tr{' class=sum' if last else ''}>{cells}</tr>\n"
    table = f"<table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"
    return f'<div class="scroll">{table}</div>'


def _is_number(cell: object) -> bool:
    return isinstance(cell, int) or str(cell).endswith(" %")


# ---------------------------------------------------------------- what the corpus holds


def _totals(facts: _Facts) -> str:
    ok = facts.ok
    seconds = sum(row["num_samples"] / row["sample_rate"] for row in facts.clips.values())
    words = sum({(row["work_id"], row["caption"]): row["num_words"] for row in ok}.values())
    long = seconds >= 3600
    totals = {
        "pairs of text and music": f"{len(ok):,}",
        "works": f"{len({row['work_id'] for row in ok}):,}",
        "composers": f"{len({row['composer'] for row in ok} - {''}):,}",
        "clips": f"{len(facts.clips):,}",
        "hours of clips" if long else "minutes of clips": (
            f"{seconds / 3600:,.1f}" if long else f"{seconds / 60:,.1f}"
        ),
        "words": f"{words:,}",
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in totals.items())
    return (
        '<header>\n<p class="eyebrow">Earscribe</p>\n<h1>Chamber music and what is said of it</h1>'
        f'\n<dl class="totals">{items}</dl>\n</header>'
    )


def _funnel(facts: _Facts) -> str:
    sources: dict[str, int] = {}
    if facts.pages:
        sources["pages asked for"] = sum(facts.pages.values())
        sources["pages read"] = facts.pages.get(State.OK, 0)
    if facts.works is not None:
        sources["works"] = len(facts.works)
        sources["works with prose"] = sum(bool(work.notes) for work in facts.works)
    pairs = {
        "texts": len(facts.texts),
        "pairs (a text with a recording)": len(facts.rows),
        "pairs with music": len(facts.ok),
    }
    for record in facts.splits:
        rows = sum(part["rows"] for part in record["parts"].values())
        pairs[f"pairs in split {record['definition']['name']}"] = rows
    figures = [bar_list(steps) for steps in (sources, pairs) if steps]
    return f'<div class="grid">\n{"".join(f"<figure>{bars}</figure>" for bars in figures)}\n</div>'


def _states(rows: Sequence[Row]) -> str:
    counts = Counter(
        (row["status"], row["stage"], row["error_class"] or row["filter_reason"] or "")
        for row in rows
    )
    lines: list[Sequence[object]] = [
        (*key, count, f"{100 * count / len(rows):.1f} %") for key, count in sorted(counts.items())
    ]
    lines.append(("all", "", "", len(rows), "100.0 %"))
    return _table(("state", "last stage", "reason", "pairs", "share"), lines, total=True)


def _lengths(facts: _Facts) -> str:
    durations = [row["num_samples"] / row["sample_rate"] for row in facts.clips.values()]
    tokens = [row["num_tokens"] for row in facts.texts.values()]
    scores = [row["align_score"] for row in facts.texts.values()]
    figures = (
        histogram("Length of the clips", durations, "s", STUDY_DURATION),
        histogram("Length of the texts", tokens, "tokens", STUDY_TOKENS),
        histogram("How sure the text is of its movement", scores, ""),
    )
    return f'<div class="grid">\n{"".join(figures)}\n</div>'


def _contents(facts: _Facts) -> str:
    rows = facts.ok or facts.rows

    def counted(name: str) -> dict[str, int]:
        return dict(Counter(str(row[name] or "not said") for row in rows))

    figures = (
        bars("Composers", counted("composer")),
        bars("Keys", counted("key")),
        bars("Modes", counted("mode")),
        bars("Tempo of the movement", counted("tempo_class")),
        bars("Ensembles", counted("ensemble")),
        bars("Sources of the texts", counted("note_source")),
    )
    return f'<div class="grid">\n{"".join(figures)}\n</div>'


def _splits(records: Sequence[Mapping[str, Any]]) -> str:
    if not records:
        return '<p class="quiet">No split yet: run <code>earscribe split</code>.</p>'
    return "\n".join(map(_split, records))


def _split(record: Mapping[str, Any]) -> str:
    made, leaks = record["definition"], record["leaks"]
    where = f", where {made['where']}" if made["where"] else ""
    asked = " : ".join(f"{fraction:g}" for fraction in made["fractions"])
    title = f"{made['name']}: {asked}, grouped by {made['group']}, seed {made['seed']}{where}"
    parts = [
        (name, part["rows"], f"{100 * part['share']:.1f} %", part["works"], part["composers"])
        for name, part in record["parts"].items()
    ]
    shared = [
        (part, *(f"{100 * kind['share']:.1f} %" for kind in kinds.values()))
        for part, kinds in leaks.items()
    ]
    kinds = tuple(next(iter(leaks.values())))
    return (
        f"<p>{escape(title)}</p>\n"
        + _table(("part", "pairs", "share", "works", "composers"), parts)
        + '\n<p class="quiet">Share of each evaluation part whose composer, work, source, clip or '
        "caption also stands in train, counted in the written files:</p>\n"
        + _table(("part", *kinds), shared)
    )


# ---------------------------------------------------------------- samples


def _samples(data: Path, ok: Sequence[Row], progress: Progress) -> str:
    chosen = choose_samples(ok, SAMPLES)
    if not chosen:
        return '<p class="quiet">No pair has music yet: run <code>earscribe fetch</code>.</p>'
    cards = []
    for done, row in enumerate(chosen, start=1):
        cards.append(_sample(data, row))
        progress(done, len(chosen))
    shown = f"{len(chosen)} of {len(ok):,} pairs, the first {EXCERPT_S:.0f} s of each clip."
    return f'<p class="quiet">{shown}</p>\n<div class="grid">\n{"".join(cards)}\n</div>'


def choose_samples(rows: Iterable[Row], number: int) -> list[Row]:
    """At most `number` rows in an order that does not change: every work once before any twice."""
    works: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: stable_id(row["pair_id"])):
        works.setdefault(row["work_id"], []).append(row)
    rounds = zip_longest(*(works[name] for name in sorted(works)))
    return [row for turn in rounds for row in turn if row is not None][:number]


def _sample(data: Path, row: Row) -> str:
    movement = ", ".join(map(str, row["movements"]))
    opus_number = row["opus"] if row["opus"] and row["opus"] not in row["title"] else None
    title = f"{row['composer']}: {row['title']}" + (f", {opus_number}" if opus_number else "")
    which = f"Movement {movement}" if movement else "Whole work"
    name = f" – {row['movement_name']}" if row["movement_name"] else ""
    players = f"Played by {', '.join(row['performers'])}. " if row["performers"] else ""
    length_s = row["num_samples"] / row["sample_rate"]
    small = (
        f"{players}{length_s:.1f} s. Text: {row['note_source']}; rights: "
        f"{row['text_rights'].rstrip('.')}. Pair {row['pair_id']}."
    )
    return (
        f'<article class="sample">{_player(data, row, title)}'
        f"<blockquote>{_clamped(row['caption'])}</blockquote>"
        f"<p><b>{escape(title)}</b><br>{escape(which + name)}</p>"
        f'<p class="quiet">{escape(small)}</p></article>\n'
    )


def _clamped(caption: str) -> str:
    """A caption; what goes beyond EXCERPT_LETTERS is there on a click."""
    if len(caption) <= EXCERPT_LETTERS:
        return escape(caption)
    head = caption[:EXCERPT_LETTERS].rsplit(" ", 1)[0]
    rest = caption[len(head) :].lstrip()
    return f"{escape(head)} <details><summary>… more</summary>{escape(rest)}</details>"


def _player(data: Path, row: Row, title: str) -> str:
    """Spectrogram and player of a clip, or a line that says why there is none."""
    rate = row["sample_rate"]
    try:
        path = data / row["audio"]["path"]
        samples = load_segment(path, sample_rate=rate, duration_s=EXCERPT_S)
    except (AudioError, UserError) as error:
        return f'<p class="quiet missing">No sound: {escape(error)}</p>'
    image = data_uri("image/png", spectrogram(samples, rate))
    sound = data_uri("audio/ogg", opus(samples, rate))
    label = escape(f"Spectrogram of {title}")
    return (
        f'<img alt="{label}" src="{image}" width="480" height="96">'
        f'<audio controls preload="metadata" src="{sound}" aria-label="{escape(title)}"></audio>'
    )


# ---------------------------------------------------------------- failures and rebuilding


def _failures(rows: Sequence[Row]) -> str:
    counts = Counter(
        (row["error_class"] or "", row["source_url"], row["error_message"] or "")
        for row in rows
        if row["status"] == State.FAILED
    )
    if not counts:
        return '<p class="quiet">None.</p>'
    shown = [(*key, count) for key, count in sorted(counts.items())[:100]]
    rest = len(counts) - len(shown)
    more = f'<p class="quiet">and {rest:,} others, all of them in the index</p>' if rest else ""
    return _table(("class", "source", "what was said", "pairs"), shown) + more


REBUILD = (  # stage -> what it needs besides the folder
    ("crawl", " --seeds FILE --contact YOU"),
    *((stage, "") for stage in ("pair", "fetch", "validate")),
    ("split", " --config FILE"),
    ("report", ""),
)


def _rebuild(facts: _Facts) -> str:
    commands = "\n".join(f"earscribe {stage} --data DIR{more}" for stage, more in REBUILD)
    definitions = "\n".join(f"<pre>{_toml(r['definition'])}</pre>" for r in facts.splits)
    settings = ", ".join(sorted({row["config_fingerprint"] or "none" for row in facts.ok}))
    free = sum(row["redistributable"] for row in facts.ok)
    facts_table = _table(
        ("fact", "value"),
        [
            ("sha256 of the index", facts.index_sha256),
            ("schema version", str(SCHEMA_VERSION)),
            ("settings that shape the clips", settings or "none yet"),
            ("pairs that may be passed on", f"{free:,} of {len(facts.ok):,}"),
        ],
    )
    config = (
        f"<p>The file of <code>split --config</code> holds for each split:</p>\n{definitions}\n"
    )
    why = "" if free == len(facts.ok) else "Some of it may not be passed on; instead of a copy, "
    return (
        f"<p>{why}these commands make the corpus anew from its sources. Each of them can be "
        "stopped and given again; <code>--seeds</code> lists the pages to crawl, a line each, and "
        "<code>--contact</code> is your mail address.</p>\n"
        f"<pre>{commands}</pre>\n{config if definitions else ''}{facts_table}"
    )


def _toml(definition: Mapping[str, Any]) -> str:
    """A [split] table that gives this split again; JSON text and numbers are TOML too."""
    values = {name: value for name, value in definition.items() if value is not None}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return escape("\n".join(["[split]", *lines]))
