"""Which recording of a work is taken, and where a movement lies in it."""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crawler.errors import UserError
from crawler.items import Part, Recording, Work
from dataset.doubts import (
    CHECKS,
    MENDS,
    OF_ALL,
    OF_TIMES,
    SAME_LABEL,
    begin_s,
    last_s,
    movement_numbers,
    numbers_of,
    odd_ids,
    part_number,
    pieces_missing,
)
from dataset.overrides import OVERRIDE, OVERRIDES_NAME, Correction

BETWEEN = "other_music_between"  # reason of rows
SHARED_VIDEO = "shared_video"
OF_RECORDING = frozenset({*MENDS, *CHECKS, SHARED_VIDEO})  # flags

Movements = Collection[int]  # numbers from 1; 0 = the complete work


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a text's music lies in a recording; a refusal says why nowhere."""

    url: str
    youtube_id: str | None
    start_s: float | None = None
    end_s: float | None = None
    bounds_source: str = "unknown"
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Take:
    """A recording with its mistakes mended, and what speaks against its music."""

    recording: Recording
    flags: Mapping[str, Movements] = field(default_factory=dict)  # flag -> of which movements
    chosen: bool = True  # else it is an alternate

    @property
    def refusal(self) -> str | None:
        """Why no music of it can be taken."""
        return SAME_LABEL if SAME_LABEL in self.flags else None

    def against(self, movements: Sequence[int]) -> tuple[str, ...]:
        """The flags of these movements, or of the file that holds them all; () = the work."""
        held = numbers_of(self.recording.parts)
        asked = set(movements) if held.issuperset(movements) else {0}
        if not movements:
            asked = held
        return tuple(sorted(flag for flag, of in self.flags.items() if asked.intersection(of)))


def takes(work: Work, policy: str, shared: Collection[tuple[str, str]] = ()) -> list[Take]:
    """Every recording of a work in the order of its page; those not chosen are alternates.

    `policy` is a name of POLICIES, `shared` what `shared_videos` found. A recording that is named
    twice counts once.
    """
    once = {recording.recording_id: recording for recording in reversed(work.recordings)}
    found = [take(work, recording, shared) for recording in reversed(once.values())]
    usable = tuple(one.recording for one in found if one.refusal is None)
    chosen = choose(dataclasses.replace(work, recordings=usable), policy)
    return [
        dataclasses.replace(one, chosen=one.refusal is not None or one.recording in chosen)
        for one in found
    ]


def take(work: Work, recording: Recording, shared: Collection[tuple[str, str]] = ()) -> Take:
    """A recording mended, with the flags of what was mended and of what cannot be."""
    flags = {"odd_id": odd_ids(recording)}
    for flag, mend in MENDS.items():
        before, recording = recording.parts, mend(work, recording)
        changed = [new for old, new in zip(before, recording.parts, strict=True) if old != new]
        every = flag in OF_ALL and changed
        flags[flag] = numbers_of(recording.parts if every else changed) | flags.get(flag, set())
    flags |= {flag: check(work, recording) for flag, check in CHECKS.items()}
    flags[SHARED_VIDEO] = numbers_of(
        part for part in recording.parts if (work.work_id, part.video_id) in shared
    )
    return Take(recording, {flag: frozenset(of) for flag, of in flags.items() if of})


def movement_names(work: Work) -> list[str]:
    """Names of movements 1..n; from the recordings when the page has no list."""
    names = {part.movement: part.name for r in work.recordings for part in r.parts if part.movement}
    names.update({movement.number: movement.name for movement in work.movements})
    return [names.get(number, "") for number in range(1, max(names, default=0) + 1)]


# ---------------------------------------------------------------- which is taken


def choose(work: Work, policy: str) -> tuple[Recording, ...]:
    """The recordings of a work that a policy of POLICIES takes; () when there is none."""
    return POLICIES[policy](work) if work.recordings else ()


def first_complete(work: Work) -> tuple[Recording, ...]:
    """The first on the page that has the most movements: all of them, if any has."""
    return (max(work.recordings, key=lambda recording: reach(work, recording)),)


def first_bounded(work: Work) -> tuple[Recording, ...]:
    """The first complete one whose movements all have known bounds, else the first complete."""
    complete = max(reach(work, recording) for recording in work.recordings)
    known = [one for one in work.recordings if reach(work, one, bounded=True) == complete]
    return (known[0],) if known else first_complete(work)


def reach(work: Work, recording: Recording, *, bounded: bool = False) -> int:
    """How many of the work's movements can be taken from a recording."""
    numbers = movement_numbers(work)
    asked: list[tuple[int, ...]] = [(number,) for number in numbers] or [()]
    found = [stretch(movements, work, recording) for movements in asked]
    return sum(
        one.refusal is None and not (bounded and one.bounds_source == "unknown") for one in found
    )


POLICIES: Mapping[str, Callable[[Work], tuple[Recording, ...]]] = {
    "first_complete": first_complete,
    "first_bounded": first_bounded,
    "first": lambda work: work.recordings[:1],
    "all": lambda work: work.recordings,
}


# ---------------------------------------------------------------- where a movement lies


def stretch(movements: Sequence[int], work: Work, recording: Recording) -> Stretch:
    """Where movements lie in a recording: one stretch of one source, or none; () = the work."""
    wanted = set(movements) or {0}
    parts = in_order(part for part in recording.parts if part.movement in wanted)
    whole = in_order(part for part in recording.parts if part.movement == 0)
    if not movements and not whole:
        wanted = set(movement_numbers(work))
        parts = in_order(part for part in recording.parts if part.movement in wanted)
    if parts and numbers_of(parts) == wanted:
        return of_parts(parts, recording)
    if len({part.url for part in whole}) == 1:
        if len(work.movements) == 1:
            return of_parts(whole, recording)
        return Stretch(whole[0].url, whole[0].youtube_id)
    reason = "work_in_several_files" if whole else "movement_not_recorded"
    first = (*parts, *whole, *recording.parts)[:1]
    url, key = (first[0].url, first[0].youtube_id) if first else ("", None)
    return Stretch(url, key, refusal=reason)


def in_order(parts: Iterable[Part]) -> list[Part]:
    """Parts by movement, by the number in their names, by their start."""
    return sorted(parts, key=lambda p: (p.movement or 0, part_number(p) or 0, p.start_s or 0.0))


def are_pieces(parts: Sequence[Part], recording: Recording) -> bool:
    """Whether parts are files of their own that make up one movement, numbered by name."""
    numbers = [part_number(part) for part in parts]
    urls = [part.url for part in recording.parts]
    return (
        len(parts) > 1
        and len({part.movement for part in parts}) == 1
        and numbers == list(range(1, len(parts) + 1))
        and not any(part.start_s or part.end_s or urls.count(part.url) > 1 for part in parts)
        and parts[0].movement not in pieces_missing(recording)
    )


def of_parts(parts: Sequence[Part], recording: Recording) -> Stretch:
    """From the earliest start to the latest end of some parts, if one source has them all.

    The pieces of a movement in several files are one source: its address is theirs, in their
    order, with a space between.
    """
    first = parts[0]
    if are_pieces(parts, recording):
        return Stretch(" ".join(part.url for part in parts), None, bounds_source="file")
    if len({part.url for part in parts}) > 1:
        several = len({part.movement for part in parts}) > 1
        reason = "movements_in_two_files" if several else "movement_in_several_files"
        if not first.movement:
            reason = "work_in_several_files"
        return Stretch(first.url, first.youtube_id, refusal=reason)
    others = [p for p in recording.parts if p.url == first.url and p not in parts]
    if all(part.start_s is None and part.end_s is None for part in parts):
        bounds = "unknown" if others else "file"
        return Stretch(first.url, first.youtube_id, bounds_source=bounds)
    if len(parts) > 1 and any(part.start_s is None and part.end_s is None for part in parts):
        return Stretch(first.url, first.youtube_id)
    low_s, high_s = min(map(begin_s, parts)), max(map(last_s, parts))
    if len(parts) > 1 and any(low_s <= begin_s(p) and last_s(p) <= high_s for p in others):
        return Stretch(first.url, first.youtube_id, refusal=BETWEEN)
    start_s = None if any(part.start_s is None for part in parts) else low_s
    end_s = None if math.isinf(high_s) else high_s
    return Stretch(first.url, first.youtube_id, start_s, end_s, "page")


# ---------------------------------------------------------------- what a person says of it


def moved(where: Stretch, said: Correction, *, whole: bool, chosen: bool = True) -> Stretch:
    """A stretch with the video and the bounds that a person gave.

    The page's bounds are those of its own video: those in another are looked for when it is
    fetched, unless the music is the whole of it. Music that lies on both sides of another is cut
    as a person says. UserError when a stretch ends before it begins; that of a recording which is
    not `chosen` stays as it is.
    """
    if said.video is not None:
        found = "file" if whole else "unknown"
        where = Stretch(said.video.url, said.video.youtube_id, bounds_source=found)
    if not said.bounds:
        return where
    start_s = said.bounds.get("start_s", where.start_s)
    end_s = said.bounds.get("end_s", where.end_s)
    if end_s is not None and end_s <= (start_s or 0.0):
        if not chosen:  # a line for all recordings hardly means it
            return where
        lines = ", ".join(map(str, said.lines))
        raise UserError(
            f"{OVERRIDES_NAME} line {lines}: from {start_s or 0.0:g} s to {end_s:g} s is no "
            "stretch: give a start_s below end_s"
        )
    cured = where.refusal == BETWEEN and len(said.bounds) == 2
    return dataclasses.replace(
        where,
        start_s=start_s,
        end_s=end_s,
        bounds_source=OVERRIDE,
        refusal=None if cured else where.refusal,
    )


def unanswered(flags: Collection[str], said: Correction) -> set[str]:
    """The flags that a person's video or bounds leave standing.

    Another video is not the page's, so nothing is odd about it; bounds by hand are meant so.
    """
    answered = OF_RECORDING if said.video is not None else OF_TIMES if said.bounds else ()
    return set(flags).difference(answered)
