"""What the ledger knows of sources and clips, and the rows of the index that follow from it."""

import io
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json

from crawler.ledger import Brief, Entry, Ledger, State, damaged, in_chunks
from dataset.bounds import Refusal, Request, request_clip
from dataset.pairing import ALTERNATE, TABLE, is_free
from dataset.pairs import ErrorClass, Pair
from dataset.schema import PAIRS_SCHEMA
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
RESULT_SCHEMA = pa.schema(
    [(name, PAIRS_SCHEMA.field(name).type) for name in CLIP_COLUMNS] + [("file", pa.string())]
)
Text = tuple[Any, ...]  # what tells a text from another
TEXT = ("work_id", "note_source", "text_index", "movements")  # the columns it is made of


class Place(NamedTuple):
    """Where a pair says that its clip lies in its source: some columns of its row."""

    movements: list[int]
    movement_name: str | None
    start_s: float | None
    end_s: float | None
    bounds_source: str


class RowState(NamedTuple):
    """What the ledger makes of a pair, beside its clip: some columns of its row."""

    status: str
    stage: str
    error_class: str | None
    error_message: str | None
    filter_reason: str | None
    config_fingerprint: str | None
    audio_rights: str
    redistributable: bool
    start_s: float | None
    end_s: float | None
    bounds_source: str


STATE_SCHEMA = pa.schema(
    [PAIRS_SCHEMA.field(name) for name in (*RowState._fields, *CLIP_COLUMNS, "audio")]
)


class Asked(NamedTuple):
    """What a pair asks of the fetch stage: some columns of its row."""

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


Row = TypeVar("Row", Place, Asked)


def source_key(pair: Pair | Asked) -> str:
    """The name of a pair's source in the ledger."""
    return pair.youtube_id or pair.source_url


def turned_down(pair: Pair | Asked) -> bool:
    """Whether the pair stage filtered it."""
    return pair.status == State.FILTERED and pair.stage == "pair"


def turned_down_in(table: Any) -> Any:
    """`turned_down` of each row."""
    filtered: Any = pc.equal(table["status"], pa.scalar(State.FILTERED.value))
    return pc.and_(filtered, pc.equal(table["stage"], pa.scalar("pair")))


def rows_in(table: Any, kind: type[Row]) -> list[Row]:
    """Some columns of an index in its order, as tuples of a kind that names them."""
    columns = [
        lists_in(column) if pa.types.is_list(column.type) else column.to_pylist()
        for column in map(table.column, kind._fields)
    ]
    return list(map(kind._make, zip(*columns, strict=True)))


def lists_in(column: Any) -> list[list[Any]]:
    """A column of lists, none of which is null."""
    found = column.combine_chunks()
    values, ends = found.values.to_pylist(), found.offsets.to_pylist()
    return [values[begin:end] for begin, end in pairwise(ends)]


def content_key(key: str, source: Entry) -> str:
    """The name under which the clips of a file of this machine are kept: its bytes count too."""
    return f"{key} {source.result['sha256']}"


def source_keys(table: Any) -> list[str]:
    """`source_key` of each row."""
    ids = table["youtube_id"]
    named = pc.fill_null(pc.not_equal(ids, pa.scalar("")), False)
    keys = pc.if_else(named, ids, table["source_url"]).to_pylist()
    one = dict(zip(keys, keys, strict=True))  # of equal texts, which are many
    return [one[key] for key in keys]


def places_where(mask: Any) -> list[int]:
    """The places where a column of booleans is true."""
    places: list[int] = pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist()
    return places


class Known:
    """What the ledger knows of the sources and clips that the pairs of an index ask for.

    A pair is its place in the index; a pair whose recording was not chosen (an alternate) takes
    part once the recordings of its text that do are gone for good.
    """

    def __init__(
        self,
        ledger: Ledger,
        table: pa.Table,
        mark: str,
        limits_s: tuple[float, float],
        audio_rights: str | None,
    ) -> None:
        self.ledger, self.mark, self.limits_s = ledger, mark, limits_s
        self.audio_rights = audio_rights
        self.table: Any = table.select(Asked._fields).combine_chunks()
        self.keys = source_keys(self.table)  # of each pair
        self.sources = self.briefs("source")
        self.groups: dict[str, list[int]] = defaultdict(list)  # source -> pairs that take part
        self.alternates: dict[Text, list[int]] = defaultdict(list)  # pairs that may
        self.rivals: dict[Text, list[str]] = defaultdict(list)  # sources of texts that have some
        out = turned_down_in(self.table)
        self.out = set(places_where(out))  # pairs that take no part
        spare = places_where(
            pc.and_(out, pc.equal(self.table["filter_reason"], pa.scalar(ALTERNATE)))
        )
        for place in places_where(pc.invert(out)):
            self.groups[self.keys[place]].append(place)
        if spare:
            self.know_alternates(spare)
        self.local = {key for key in self.groups if key.startswith("file:") and self.is_local(key)}
        self.forget_changed()
        gone = [key for key in self.groups if self.gone(key)]
        while gone:
            gone = [key for key in self.replace(gone.pop()) if self.gone(key)] + gone

    # --- pairs

    def pairs(self, places: Sequence[int]) -> list[Asked]:
        """What some pairs ask."""
        return rows_in(self.table.take(pa.array(places, pa.int64())), Asked)

    def url(self, key: str) -> str:
        """The address, or addresses, of a source."""
        url: str = self.table["source_url"][self.groups[key][0]].as_py()
        return url

    def key_of(self, address: str) -> str:
        """The name in the ledger of the source of an address."""
        return self.addresses.get(address, address)

    @cached_property
    def addresses(self) -> Mapping[str, str]:
        """The names in the ledger of the sources, by their addresses."""
        return dict(zip(self.table["source_url"].to_pylist(), self.keys, strict=True))

    def is_local(self, key: str) -> bool:
        """Whether a file of this machine is named by a person's tables alone."""
        return all(pair.align_method == TABLE for pair in self.pairs(self.groups[key]))

    # --- sources and clips

    def briefs(self, stage: str, items: Iterable[str] | None = None) -> dict[str, Brief]:
        """What the ledger knows in brief; UserError for a class of failure that there is not."""
        found = self.ledger.briefs(stage, items)
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

    def forget_changed(self) -> None:
        """Drop what is known of files of this machine that have changed since."""
        for entry in self.ledger.some("source", self.local & self.sources.keys()):
            stamp = file_stamp(entry.item)
            if stamp is not None and stamp != entry.result.get("stamp"):
                del self.sources[entry.item]

    def asked_of(self, keys: Iterable[str]) -> dict[str, dict[str, Request]]:
        """The clips that are asked of finished sources: key -> item -> request."""
        return {
            key: {one.item: one for one in answers if isinstance(one, Request)}
            for key, answers in self.answers(keys).items()
        }

    def unbound(self, keys: Iterable[str]) -> set[str]:
        """The finished sources in which a pair finds no bounds."""
        return {
            key
            for key, answers in self.answers(keys).items()
            if any(isinstance(one, Refusal) and one.state is State.FAILED for one in answers)
        }

    def answers(self, keys: Iterable[str]) -> dict[str, list[Request | Refusal]]:
        """What the pairs of finished sources get."""
        sources = list(self.entries_of("source", keys))
        places = [self.groups[source.item] for source in sources]
        columns = self.table.select(Place._fields)
        chosen = columns.take(pa.array(chain.from_iterable(places), pa.int64()))
        pairs = iter(rows_in(chosen, Place))
        return {
            source.item: [self.request(pair, source) for pair in islice(pairs, len(group))]
            for source, group in zip(sources, places, strict=True)
        }

    def request(self, pair: Place | Asked, source: Entry) -> Request | Refusal:
        """The clip that a pair asks of a source, or why it cannot have one."""
        local = source.item in self.local
        key = content_key(source.item, source) if local else source.item
        return request_clip(pair, key, source.result, self.limits_s, self.mark)

    # --- alternates

    def know_alternates(self, spare: Sequence[int]) -> None:
        """Take note of the pairs that may take part, and of those that they may replace."""
        columns = (self.table[name].to_pylist() for name in TEXT)
        texts = [
            (work, note, index, *movements)
            for work, note, index, movements in zip(*columns, strict=True)
        ]
        for place in spare:
            self.alternates[texts[place]].append(place)
        for key, places in self.groups.items():
            for place in places:
                if texts[place] in self.alternates:
                    self.rivals[texts[place]].append(key)

    def gone(self, key: str) -> bool:
        """Whether a source cannot be had, now or later; one that is refused was not asked for."""
        known = self.sources.get(key)
        if known is None or known.state is not State.FAILED:
            return False
        return known.error_class != ErrorClass.REFUSED and not self.may_pass(known)

    def may_pass(self, failed: Brief) -> bool:
        """Whether what failed may go well another time."""
        return ErrorClass(failed.error_class or "").transient

    def without_clips(self, key: str) -> list[Asked]:
        """The pairs of a failed source, but for those whose clips were cut before it failed."""
        pairs = self.pairs(self.groups[key])
        source = self.source(key)
        if source is None or not was_had(source):
            return pairs
        asked = [self.request(pair, source) for pair in pairs]
        items = [one.item if isinstance(one, Request) else "" for one in asked]
        clips = self.briefs("cut", items)
        done = {item for item, brief in clips.items() if brief.state is State.OK}
        return [pair for pair, item in zip(pairs, items, strict=True) if item not in done]

    def replace(self, key: str) -> list[str]:
        """Let an alternate of each text of a gone source take part; returns their sources."""
        begun: dict[str, None] = {}
        for text in {pair.text: None for pair in self.without_clips(key)}:
            waiting = self.alternates.get(text)
            if waiting and all(map(self.gone, self.rivals[text])):
                # Texts of one work turn to the same recording.
                recordings = [pair.recording_id for pair in self.pairs(waiting)]
                other = waiting.pop(recordings.index(min(recordings)))
                self.out.remove(other)
                self.groups[self.keys[other]].append(other)
                self.rivals[text].append(self.keys[other])
                begun[self.keys[other]] = None
        return list(begun)

    # --- rows

    def rebuilt(self) -> pa.Table:
        """The columns of the index that say every row's state, as the ledger has it now."""
        chunks = [self.states(places) for places in in_chunks(range(len(self.table)), CHUNK)]
        return pa.concat_tables(chunks or [STATE_SCHEMA.empty_table()])

    def states(self, places: Sequence[int]) -> pa.Table:
        """The state columns of some rows that follow each other."""
        pairs = rows_in(self.table.slice(places[0], len(places)), Asked)
        keys = [self.keys[place] for place in places]
        known = self.entries_of("source", set(keys) & self.sources.keys())
        sources = {entry.item: entry for entry in known}
        ready = {key: source for key, source in sources.items() if was_had(source)}
        waits = [place in self.out for place in places]
        answers = [
            self.request(pair, ready[key]) if key in ready and not wait else None
            for pair, key, wait in zip(pairs, keys, waits, strict=True)
        ]
        items = [one.item if isinstance(one, Request) else "" for one in answers]
        clips = self.ledger.results("cut", set(items) - {""})
        others = (item for item, (state, _) in clips.items() if state is not State.OK)
        undone = {entry.item: entry for entry in self.entries_of("cut", others)}
        done = {item: text for item, (state, text) in clips.items() if state is State.OK}
        rows = [
            self.state(pair, wait, sources.get(key), answer, undone, done)
            for pair, wait, key, answer in zip(pairs, waits, keys, answers, strict=True)
        ]
        told = dict(zip(RowState._fields, zip(*rows, strict=True), strict=True))
        return pa.table(told | self.clip_columns(items, done), schema=STATE_SCHEMA)

    def clip_columns(self, items: Sequence[str], texts: Mapping[str, str]) -> dict[str, Any]:
        """The columns of the rows' clips; null for one that has no result among `texts`."""
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

    def state(
        self,
        pair: Asked,
        waits: bool,
        source: Entry | None,
        answer: Request | Refusal | None,
        undone: Mapping[str, Entry],
        done: Container[str],
    ) -> RowState:
        """The state of a row; `undone` and `done` are of clips."""
        status, stage = State.PENDING.value, "pair"
        error_class = error_message = reason = mark = None
        rights, redistributable = pair.audio_rights, pair.redistributable
        start_s, end_s, bounds_source = pair.start_s, pair.end_s, pair.bounds_source
        if waits:
            status, reason = pair.status, pair.filter_reason
        elif source is not None and source.state is not State.PENDING:
            told = source.result.get("audio_rights")  # when it was fetched
            rights = source.result.get("licence") or self.audio_rights or told or "unknown"
            redistributable = free(pair.text_rights) and free(rights)
            stage, mark = "cut", self.mark
            cut = isinstance(answer, Request) and answer.item in done
            if source.state is State.FAILED and not cut:  # a clip that was cut before stays
                status, stage, mark = State.FAILED.value, "source", None
                error_class, error_message = source.error_class, source.message
            elif isinstance(answer, Refusal):
                status = answer.state.value
                if answer.state is State.FAILED:
                    error_class, error_message = answer.reason, answer.message
                else:
                    reason = answer.reason
            elif answer is not None:
                start_s, end_s, bounds_source = answer.start_s, answer.end_s, answer.bounds_source
                if answer.item in undone:
                    clip = undone[answer.item]
                    status, error_class = clip.state.value, clip.error_class
                    error_message = clip.message
                elif answer.item in done:
                    status = State.OK.value
        return RowState(
            status, stage, error_class, error_message, reason, mark, rights, redistributable,
            start_s, end_s, bounds_source,
        )  # fmt: skip


def parsed(texts: Iterable[str]) -> pa.Table | None:
    """JSON objects of the ledger as columns, a row each; None when one is no such object."""
    options = json.ParseOptions(explicit_schema=RESULT_SCHEMA, unexpected_field_behavior="ignore")
    body = io.BytesIO("\n".join(texts).encode())
    try:
        return json.read_json(body, json.ReadOptions(use_threads=False), options)
    except pa.ArrowException:
        return None


free = lru_cache(maxsize=10_000)(is_free)


def was_had(source: Entry) -> bool:
    """Whether a source is there, or was before it failed: its bounds and clips are known."""
    return source.state is not State.PENDING and RESULTS["source"] <= source.result.keys()


def check(entry: Entry, ledger: Ledger) -> None:
    """UserError for an entry that lacks what the rows are made of."""
    if entry.state is not State.FAILED and not RESULTS[entry.stage] <= entry.result.keys():
        lacking = sorted(RESULTS[entry.stage].difference(entry.result))
        raise damaged(ledger.path, entry.stage, entry.item, f"it lacks {', '.join(lacking)}")
