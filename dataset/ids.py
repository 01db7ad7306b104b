"""A corpus as ids and facts alone: written for others, imported by them, compared with a build."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.errors import SchemaVersionError, UserError
from crawler.files import write_atomic
from crawler.ledger import State, folder_lock
from crawler.summary import Progress, Summary, silent
from crawler.urls import same_site, slug
from dataset.contents import Contents
from dataset.index import PAIRS_NAME, read_foreign, read_table, write_table
from dataset.pairs import pair_id
from dataset.places import IN_PROTOCOL, near
from dataset.schema import PAIRS_SCHEMA

IDS_VERSION = 1
IDS_NAME = "ids.parquet"  # in a data folder: the release that its build is compared with
SEEDS_NAME = "seeds.txt"  # in a data folder: the pages to crawl
TABLE_PAGE = "table:"  # before the name of the table that a row is from
MD5 = re.compile(r"[0-9a-f]{32}")
LENGTH_TOLERANCE_S = 0.5  # of a clip, between two fetches of one recording
FACTS = (
    *("pair_id", "work_id", "level", "movements", "recording_id", "note_source", "text_index"),
    *("page_url", "source_url", "youtube_id", "start_s", "end_s", "bounds_source"),
    *("actual_start_s", "actual_end_s", "sample_rate", "num_samples", "pcm_md5"),
)
NAMES = ("composer", "title", "opus", "key", "movement_name")  # null in older releases
IDS_SCHEMA = pa.schema(
    [
        *(PAIRS_SCHEMA.field(name) for name in FACTS),
        *(PAIRS_SCHEMA.field(name).with_nullable(True) for name in NAMES),
        pa.field(
            "caption_sha256",
            pa.string(),
            nullable=False,
            metadata={"unit": "", "meaning": "sha256 of the caption's UTF-8 bytes"},
        ),
    ],
    metadata={"earscribe_ids": str(IDS_VERSION)},
)
Row = Mapping[str, Any]


def is_file_name(target: Path | str) -> bool:
    """Whether a release is named as one file, not as the folder of one."""
    return Path(target).suffix.lower() in (".parquet", ".jsonl")


def export_ids(data: Path, file: Path | str, progress: Progress = silent) -> Summary:
    """Write the ok pairs of the index as facts and hashes to one file, .parquet or .jsonl.

    No prose, no sound and no path of this machine is in it: pairs of local files are left out.
    """
    if IN_PROTOCOL in str(file):
        raise UserError(f"{file} is not on this machine: give a folder's address, or a file here")
    file = Path(file)
    _check_form(file)
    _refuse_foreign(file)
    facts, counts = _gather(data)
    if file.suffix.lower() == ".parquet":
        _write_facts(facts, file)
    else:
        lines = [{"earscribe_ids": IDS_VERSION, "pairs": len(facts)}, *facts]
        write_atomic(file, "".join(json.dumps(line) + "\n" for line in lines).encode())
    total = sum(counts.values())
    progress(total, total)
    return Summary(stage="export", total=total, counts=counts, artifact=file, work_done=len(facts))


def _refuse_foreign(file: Path) -> None:
    """UserError when the file is there and no release: it would be written over."""
    if not file.exists():
        return
    try:
        read_ids(file)
    except UserError as error:
        raise UserError(f"{file} is there and is no release of ids: give a new file") from error


def ids_contents(data: Path) -> Contents:
    """The ok pairs of the index as facts and hashes, for a folder."""
    facts, counts = _gather(data)
    return Contents(
        form="ids",
        made_from=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
        source="facts whose JSON form",
        schema=IDS_SCHEMA,
        parts={"pairs": facts},
        patterns={"pairs": [IDS_NAME]},
        files={IDS_NAME: partial(_write_facts, facts)},
        counts=counts,
    )


def _gather(data: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The facts of the ok pairs, and how many pairs ended how; UserError when there are none."""
    rows = read_table(data / PAIRS_NAME).to_pylist()
    ends = [_end(row) for row in rows]
    facts = [_facts(row) for row, end in zip(rows, ends, strict=True) if end == "ok"]
    counts = {end: ends.count(end) for end in sorted(set(ends))}
    if not facts:
        told = ", ".join(f"{count} {end}" for end, count in counts.items())
        raise UserError(f"{data} has no ok pair of a recording on the web ({told})")
    return facts, counts


def _write_facts(facts: Sequence[Row], path: Path) -> None:
    write_table(path, pa.Table.from_pylist(list(map(dict, facts)), schema=IDS_SCHEMA))


def _end(row: Row) -> str:
    if row["status"] != State.OK:
        return f"left out: {row['status']}"
    local = any(url.startswith("file:") for url in row["source_url"].split())
    return "left out: local_file" if local else "ok"


def _facts(row: Row) -> dict[str, Any]:
    digest = hashlib.sha256(row["caption"].encode()).hexdigest()
    return {name: row[name] for name in (*FACTS, *NAMES)} | {"caption_sha256": digest}


def import_ids(data: Path, source: Path | str, progress: Progress = silent) -> Summary:
    """Keep a release in the data folder as what its build is compared with.

    `source` is its folder or its file, here or at any fsspec address. Writes ids.parquet, and
    seeds.txt with its pages for `earscribe crawl --seeds` if it has any; a table that rows are
    from is needed under its name. UserError when the file is no release or one of its ids is not
    the hash of its facts.
    """
    with near(source, IDS_NAME) as file:
        return _import_file(data, file, progress)


def _import_file(data: Path, file: Path, progress: Progress) -> Summary:
    rows = read_ids(file)
    seen: set[str] = set()
    for done, row in enumerate(rows, start=1):
        parts = (row["work_id"], tuple(row["movements"]), row["note_source"], row["text_index"])
        if row["pair_id"] != pair_id(*parts, row["recording_id"]) or row["pair_id"] in seen:
            raise UserError(
                f"{file} is altered: {row['pair_id']!r} in row {done} is not the id of its facts, "
                "or stands there twice"
            )
        seen.add(row["pair_id"])
        progress(done, len(rows))
    places = {row["page_url"] for row in rows}
    tables = sorted(p.removeprefix(TABLE_PAGE) for p in places if p.startswith(TABLE_PAGE))
    pages = sorted(page for page in places if page.startswith("http"))
    with folder_lock(data):
        write_table(data / IDS_NAME, pa.Table.from_pylist(rows, schema=IDS_SCHEMA))
        if pages:
            write_atomic(data / SEEDS_NAME, "".join(f"{page}\n" for page in pages).encode())
        else:
            (data / SEEDS_NAME).unlink(missing_ok=True)
    return Summary(
        stage="import",
        total=len(rows),
        counts={"ok": len(rows)},
        artifact=data / IDS_NAME,
        details={
            "works": len({row["work_id"] for row in rows}),
            "pages": len(pages),
            "recordings": len({row["youtube_id"] or row["source_url"] for row in rows}),
            **({"next": f"earscribe crawl --seeds {data / SEEDS_NAME}"} if pages else {}),
            **({"tables needed under these names": ", ".join(tables)} if tables else {}),
        },
        work_done=len(rows),
    )


def _check_form(file: Path) -> None:
    if file.suffix.lower() not in (".parquet", ".jsonl"):
        raise UserError(f"{file} is of unknown form {file.suffix!r}: give .parquet or .jsonl")


def read_ids(file: Path) -> list[dict[str, Any]]:
    """The rows of a release; UserError when it is none, SchemaVersionError for another version."""
    _check_form(file)
    if not file.is_file():
        raise UserError(f"no release at {file}")
    found: object
    if file.suffix.lower() == ".parquet":
        rows = read_foreign(file)
        found = (pq.read_schema(file).metadata or {}).get(b"earscribe_ids", b"none").decode()
    else:
        found, rows = _json_rows(file)
    if str(found) != str(IDS_VERSION):
        raise SchemaVersionError(
            f"{file} has ids version {found}, this program reads {IDS_VERSION}: give a file "
            "that `earscribe export ids` wrote"
        )
    try:
        table = pa.Table.from_pylist(rows, schema=IDS_SCHEMA)
        table.validate(full=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{file} is damaged: {error}") from error
    needed = [field.name for field in IDS_SCHEMA if not field.nullable]
    needed += ["sample_rate", "num_samples", "pcm_md5"]
    lacking = [name for name in needed if table.column(name).null_count]
    if lacking or not rows:
        raise UserError(f"{file} is damaged: it lacks {', '.join(lacking) or 'rows'}")
    kept: list[dict[str, Any]] = table.to_pylist()
    site = next((row["page_url"] for row in kept if row["page_url"].startswith("http")), "")
    for number, row in enumerate(kept, start=1):
        if why := _harm(row, site):
            raise UserError(f"{file} is damaged: in row {number} {why}")
    return kept


def _harm(row: Row, site: str) -> str | None:
    """What is wrong with a row's values; all its pages are of the site of one address."""
    for name in ("sample_rate", "num_samples"):
        if row[name] <= 0:
            return f"{name} {row[name]} is not above 0"
    if not MD5.fullmatch(row["pcm_md5"]):
        return f"pcm_md5 {row['pcm_md5']!r} is no MD5 sum"
    page = row["page_url"]
    if not page.isprintable() or not page.startswith(("http", "/", TABLE_PAGE)):
        return f"page_url {page!r} is no address"
    if page.startswith(TABLE_PAGE):
        return None
    try:
        right = slug(page) == row["work_id"]
    except UserError:
        right = False
    if not right:
        return f"page_url {page!r} is not the page of {row['work_id']!r}"
    foreign = page.startswith("http") and not same_site(page, site)
    return f"page_url {page!r} is on another site than {site!r}" if foreign else None


def _json_rows(file: Path) -> tuple[object, list[dict[str, Any]]]:
    """The version and the rows of a JSONL release."""
    try:
        lines = [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]
        version = lines[0]["earscribe_ids"]
        if len(lines) - 1 != lines[0]["pairs"]:
            raise ValueError(f"{len(lines) - 1} rows instead of {lines[0]['pairs']}")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{file} is no whole release of ids: {error}") from error
    return version, lines[1:]


def compare_ids(data: Path) -> list[dict[str, str]]:
    """What differs between the imported release and the build: a row a difference, [] for none.

    Keys: pair_id, work_id, difference, released, built. A difference is `missing` (no such pair
    was built), a status with its reason (`failed: gone`), `other_text`, `other_length` or
    `other_clip` (the same length, other samples). Pairs beyond the release are no difference.
    """
    if not (data / IDS_NAME).is_file():
        raise UserError(f"no release in {data}: run `earscribe import ids FILE` first")
    released = {row["pair_id"]: row for row in read_ids(data / IDS_NAME)}
    built = {row["pair_id"]: row for row in read_table(data / PAIRS_NAME).to_pylist()}
    return [
        {
            "pair_id": key,
            "work_id": row["work_id"],
            "difference": kind,
            "released": was,
            "built": now,
        }
        for key, row in sorted(released.items())
        for kind, was, now in _differences(row, built.get(key))
    ]


def _differences(row: Row, built: Row | None) -> Iterator[tuple[str, str, str]]:
    if built is None:
        yield "missing", "ok", ""
        return
    now = _facts(built)
    if row["caption_sha256"] != now["caption_sha256"]:
        yield "other_text", row["caption_sha256"][:12], now["caption_sha256"][:12]
    if built["status"] != State.OK:
        why = built["error_class"] or built["filter_reason"]
        yield f"{built['status']}: {why}" if why else built["status"], "ok", built["status"]
        return
    before_s, now_s = _length_s(row), _length_s(built)
    if abs(before_s - now_s) > LENGTH_TOLERANCE_S:
        yield "other_length", f"{before_s:.2f} s", f"{now_s:.2f} s"
    elif row["pcm_md5"] != built["pcm_md5"]:
        yield "other_clip", row["pcm_md5"][:12], built["pcm_md5"][:12]


def _length_s(row: Row) -> float:
    return float(row["num_samples"] / row["sample_rate"])
