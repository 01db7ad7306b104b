"""What the ledger knows of sources and clips, and the rows of the index that follow from it."""

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import json

from crawler.ledger import Brief, Entry, Ledger, State, damaged, in_chunks
from dataset.bounds import Refusal, Request, request_clip
from dataset.pairing import ALTERNATE, TABLE, is_free
from dataset.schema import PAIRS_SCHEMA, ErrorClass, Pair
from dataset.sources import file_stamp

CHUNK = 20_000  # rows at a time: bounds the memory of an index of millions
CLIP_COLUMNS = tuple(
    "clip_id actual_start_s actual_end_s sample_rate codec loudness_lufs true_peak_dbtp "
    "num_samples sha256 pcm_md5 silence_head_s silence_tail_s silence_ratio clipping_ratio "
    "dc_offset bandwidth_hz fingerprint".split()
)
RESULTS = {  # stage -> what the ledger says of each finished item
    "source": frozenset(("file", "sha256", "duration_s", "chapters", "description")),
    "cut": frozenset((*CLIP_COLUMNS, "file")),
}
CLASSES = frozenset(ErrorClass)
BLANK: Mapping[str, Any] = {  # of a row before its source is there
    **dict.fromkeys(("error_class", "error_message", "filter_reason", "config_fingerprint")),
    "status": State.PENDING.value,
    "stage": "pair",
    **dict.fromkeys(("audio_rights", "redistributable", "start_s", "end_s", "bounds_source")),
}
RESULT_SCHEMA = pa.schema(
    [(name, PAIRS_SCHEMA.field(name).type) for name in CLIP_COLUMNS] + [("file", pa.string())]
)


Text = tuple[Any, ...]  # what tells a text from another


class Asked(NamedTuple):
    """What a pair asks of the fetch stage: some columns of its row."""

    pair_id: str
    work_id: str
    movements: list[int]
    recording_id: str
    note_source: str
    text_index: int
    align_method: str
    movement_name: str | None
    source_url: str
    youtube_id: str | None
    start_s: float | None
    end_s: float | None
    bounds_source: str
    status: str
    stage: str
    filter_reason: str | None
    text_rights: str
    audio_rights: str
    redistributable: bool

    @property
    def text(self) -> Text:
        """What the pairs of one text have in common, whatever their recordings."""
        return self.work_id, self.note_source, self.text_index, *self.movements


def source_key(pair: Pair | Asked) -> str:
    """The name of a pair's source in the ledger."""
    return pair.youtube_id or pair.source_url


def turned_down(pair: Pair | Asked) -> bool:
    """Whether the pair stage filtered it."""
    return pair.status == State.FILTERED and pair.stage == "pair"


def asked_in(table: pa.Table) -> list[Asked]:
    """What the pairs of an index ask, in its order."""
    columns = [shared(table.column(name)) for name in Asked._fields]
    return list(map(Asked._make, zip(*columns, strict=True)))


def shared(column: Any) -> list[Any]:
    """The values of an Arrow column; equal texts are one object."""
    if not pa.types.is_string(column.type):
        values: list[Any] = column.to_pylist()
        return values
    known: dict[Any, Any] = {}
    return [known.setdefault(one, one) for one in column.to_pylist()]


def content_key(key: str, source: Entry) -> str:
    """The name under which the clips of a file of this machine are kept: its bytes count too."""
    return f"{key} {source.result['sha256']}"


class Known:
    """What the ledger knows of the sources and clips that pairs ask for.

    A pair whose recording was not chosen (an alternate) takes part once the recordings of its
    text that do are gone for good.
    """

    def __init__(
        self,
        ledger: Ledger,
        pairs: Sequence[Asked],
        mark: str,
        limits_s: tuple[float, float],
        audio_rights: str | None,
    ) -> None:
        self.ledger, self.mark, self.limits_s = ledger, mark, limits_s
        self.audio_rights = audio_rights
        self.sources, self.clips = (self.briefs(stage) for stage in RESULTS)
        self.groups: dict[str, list[Asked]] = defaultdict(list)
        self.keys = {pair.source_url: source_key(pair) for pair in pairs}  # of addresses
        self.texts: dict[Text, list[Asked]] = defaultdict(list)  # pairs that take part
        self.alternates: dict[Text, list[Asked]] = defaultdict(list)  # and that may
        self.replaced: set[str] = set()  # pair_ids of alternates that take part
        for pair in pairs:
            if pair.filter_reason == ALTERNATE and turned_down(pair):
                self.alternates[pair.text].append(pair)
        for pair in pairs:
            if not turned_down(pair):
                self.take(pair)
        self.local = {  # files of this machine, named by a person's tables alone
            key
            for key, group in self.groups.items()
            if key.startswith("file:") and all(pair.align_method == TABLE for pair in group)
        }
        self.forget_changed()
        gone = [key for key in self.groups if self.gone(key)]
        while gone:
            gone = [key for key in self.replace(gone.pop()) if self.gone(key)] + gone

    # --- sources and clips

    def briefs(self, stage: str) -> dict[str, Brief]:
        """What the ledger knows in brief; UserError for a class of failure that there is not."""
        found = self.ledger.briefs(stage)
        for item, brief in found.items():
            if brief.state is State.FAILED and brief.error_class not in CLASSES:
                why = f"unknown error class {brief.error_class!r}"
                raise damaged(self.ledger.path, stage, item, why)
        return found

    def source(self, key: str) -> Entry | None:
        """The ledger's entry of a source; None for one it does not know or that has changed."""
        return next(self.entries_of("source", [key]), None) if key in self.sources else None

    def entries_of(self, stage: str, items: Iterable[str]) -> Iterator[Entry]:
        """The ledger's entries of items; UserError for one that cannot be worked with."""
        for entry in self.ledger.some(stage, items):
            check(entry, self.ledger)
            yield entry

    def learn(self, entry: Entry) -> None:
        """Keep what was told to the ledger."""
        known = self.sources if entry.stage == "source" else self.clips
        known[entry.item] = Brief.of(entry)

    def forget_changed(self) -> None:
        """Drop what is known of files of this machine that have changed since."""
        for entry in self.ledger.some("source", self.local & self.sources.keys()):
            stamp = file_stamp(entry.item)
            if stamp is not None and stamp != entry.result.get("stamp"):
                del self.sources[entry.item]

    def request(self, pair: Asked, source: Entry) -> Request | Refusal:
        """The clip that a pair asks for, or why it cannot have one."""
        key = (
            content_key(source_key(pair), source)
            if source_key(pair) in self.local
            else source_key(pair)
        )
        return request_clip(pair, key, source.result, self.limits_s, self.mark)

    # --- alternates

    def gone(self, key: str) -> bool:
        """Whether a source cannot be had, now or later."""
        known = self.sources.get(key)
        return known is not None and known.state is State.FAILED and not self.may_pass(known)

    def may_pass(self, failed: Brief) -> bool:
        """Whether what failed may go well another time."""
        return ErrorClass(failed.error_class or "").transient

    def replace(self, key: str) -> list[str]:
        """Let an alternate of each text of a gone source take part; returns their sources."""
        begun: dict[str, None] = {}
        for text in {pair.text: None for pair in self.groups[key]}:
            waiting = self.alternates.get(text)
            if waiting and all(self.gone(source_key(pair)) for pair in self.texts[text]):
                # Texts of one work turn to the same recording.
                other = min(waiting, key=lambda one: one.recording_id)
                waiting.remove(other)
                self.replaced.add(other.pair_id)
                self.take(other)
                begun[source_key(other)] = None
        return list(begun)

    def take(self, pair: Asked) -> None:
        """Let a pair take part."""
        self.groups[source_key(pair)].append(pair)
        if self.alternates:
            self.texts[pair.text].append(pair)

    # --- rows

    def rebuilt(self, table: pa.Table, pairs: Sequence[Asked]) -> pa.Table:
        """The index with every row's state as the ledger has it now; `pairs` are its rows."""
        chunks = [self.states(chunk) for chunk in in_chunks(pairs, CHUNK)]
        names = list(chunks[0]) if chunks else []
        for name in names:
            field = PAIRS_SCHEMA.field(name)
            column = pa.chunked_array([chunk[name] for chunk in chunks], type=field.type)
            table = table.set_column(table.schema.get_field_index(name), field, column)
        return table

    def states(self, pairs: Sequence[Asked]) -> dict[str, Any]:
        """The state columns of some rows."""
        keys = {source_key(pair) for pair in pairs} & self.sources.keys()
        sources = {entry.item: entry for entry in self.entries_of("source", keys)}
        answers = [self.answer(pair, sources.get(source_key(pair))) for pair in pairs]
        items = [one.item if isinstance(one, Request) else "" for one in answers]
        failed = {item for item in items if self.state_of_clip(item) is State.FAILED}
        failures = {entry.item: entry for entry in self.entries_of("cut", failed)}
        rows = [
            self.state(pair, sources.get(source_key(pair)), answer, failures)
            for pair, answer in zip(pairs, answers, strict=True)
        ]
        told = {
            name: pa.array([row[name] for row in rows], PAIRS_SCHEMA.field(name).type)
            for name in BLANK
        }
        return told | self.clip_columns(items)

    def state_of_clip(self, item: str) -> State | None:
        """The state of a clip; None for one that the ledger does not know."""
        brief = self.clips.get(item)
        return brief.state if brief else None

    def clip_columns(self, items: Sequence[str]) -> dict[str, Any]:
        """The columns of the rows' clips, from their keys; null for one that is not finished."""
        wanted = {item: None for item in items if self.state_of_clip(item) is State.OK}
        texts = dict(self.ledger.results("cut", wanted))
        found = parsed(texts.values()) if texts else RESULT_SCHEMA.empty_table()
        if found is None or found.column("file").null_count:
            entries = list(self.entries_of("cut", texts))  # a damaged one raises
            raise AssertionError(f"none of {len(entries)} clips is damaged")
        places = {item: place for place, item in enumerate(texts)}
        rows = found.take(pa.array([places.get(item) for item in items], pa.int64()))
        files = rows.column("file").combine_chunks()
        nothing = pa.nulls(len(items), pa.binary())
        audio = pa.StructArray.from_arrays(
            [nothing, files], names=["bytes", "path"], mask=files.is_null()
        )
        return {name: rows.column(name) for name in CLIP_COLUMNS} | {"audio": audio}

    def answer(self, pair: Asked, source: Entry | None) -> Request | Refusal | None:
        """The clip that a pair asks for, why it gets none, or None before its source is there."""
        waits = turned_down(pair) and pair.pair_id not in self.replaced
        if waits or source is None or source.state is not State.OK:
            return None
        return self.request(pair, source)

    def state(
        self,
        pair: Asked,
        source: Entry | None,
        answer: Request | Refusal | None,
        failures: Mapping[str, Entry],
    ) -> dict[str, Any]:
        """The columns of BLANK of a row."""
        row = {
            **BLANK,
            "audio_rights": pair.audio_rights,
            "redistributable": pair.redistributable,
            "start_s": pair.start_s,
            "end_s": pair.end_s,
            "bounds_source": pair.bounds_source,
        }
        if turned_down(pair) and pair.pair_id not in self.replaced:
            return row | {"status": pair.status, "filter_reason": pair.filter_reason}
        if source is None or source.state is State.PENDING:
            return row
        told = source.result.get("audio_rights")  # when it was fetched
        rights = source.result.get("licence") or self.audio_rights or told or "unknown"
        row["stage"], row["audio_rights"] = "source", rights
        row["redistributable"] = free(pair.text_rights) and free(rights)
        if answer is None:
            return row | failure(source)
        row["stage"], row["config_fingerprint"] = "cut", self.mark
        if isinstance(answer, Refusal):
            if answer.state is State.FAILED:
                told = {"error_class": answer.reason, "error_message": answer.message}
                return row | told | {"status": "failed"}
            return row | {"status": "filtered", "filter_reason": answer.reason}
        row["start_s"], row["end_s"] = answer.start_s, answer.end_s
        row["bounds_source"] = answer.bounds_source
        known = self.state_of_clip(answer.item)
        if known is State.FAILED:
            return row | failure(failures[answer.item])
        if known is State.OK:
            row["status"] = State.OK.value
        return row


def parsed(texts: Iterable[str]) -> pa.Table | None:
    """JSON objects of the ledger as columns, a row each; None when one is no such object."""
    options = json.ParseOptions(explicit_schema=RESULT_SCHEMA, unexpected_field_behavior="ignore")
    body = io.BytesIO("\n".join(texts).encode())
    try:
        return json.read_json(body, json.ReadOptions(use_threads=False), options)
    except pa.ArrowException:
        return None


free = lru_cache(maxsize=10_000)(is_free)


def failure(entry: Entry) -> dict[str, Any]:
    """The state columns of a row whose source or clip failed."""
    told = {"error_class": entry.error_class, "error_message": entry.message}
    return told | {"status": State.FAILED.value}


def check(entry: Entry, ledger: Ledger) -> None:
    """UserError for an entry that lacks what the rows are made of."""
    if entry.state is not State.FAILED and not RESULTS[entry.stage] <= entry.result.keys():
        lacking = sorted(RESULTS[entry.stage].difference(entry.result))
        raise damaged(ledger.path, entry.stage, entry.item, f"it lacks {', '.join(lacking)}")
