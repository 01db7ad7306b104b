"""What is odd about a recording: what is mended in it, and what is only flagged."""

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from crawler.anomalies import LONG_S
from crawler.items import Part, Recording, Work
from dataset.tags import name_terms

ID_LENGTH = 11  # characters of a YouTube id
ROUNDING_S = 2.0  # a printed duration may differ so far from end - start
OVERLAP_S = 5.0  # a part may reach so far into the next: people set times by hand
TYPICAL_RATIO = 2.0  # neither a tempo nor a repeat left out doubles or halves a movement
NEAR_RATIO = 1.25  # two recordings of the same music: most differ by less
ORDER_SLACK = 0.05  # how much better, in log-seconds a row, another order of the rows may fit

PART = re.compile(
    r"\b(?:part|pt\.?) ?(?P<number>\d{1,2})(?: ?(?:of|/) ?(?P<of>\d{1,2}))?\b", re.IGNORECASE
)
MINUTES = re.compile(r"(\d{1,3}) ?min")

SAME_LABEL = "same_label"  # a flag, and the reason of its rows


def numbers_of(parts: Iterable[Part]) -> set[int]:
    """The movements that some parts are of."""
    return {part.movement for part in parts if part.movement is not None}


def movement_numbers(work: Work) -> list[int]:
    """The numbers of the page's list, else those that any recording has."""
    listed = {movement.number for movement in work.movements}
    heard = numbers_of(part for recording in work.recordings for part in recording.parts) - {0}
    return sorted(listed or heard)


def part_number(part: Part) -> int | None:
    """The number in "Allegro (part 2 of 5)"."""
    match = PART.search(part.name)
    return int(match["number"]) if match else None


def begin_s(part: Part) -> float:
    """Where a part begins in its file, as far as is known."""
    return part.start_s or 0.0


def last_s(part: Part) -> float:
    """Where a part ends in its file, inf for its end."""
    return math.inf if part.end_s is None else part.end_s


def words_of(part: Part) -> set[str]:
    """The words of a part's name that can tell its movement from another."""
    return set(name_terms(PART.sub("", part.name)))


def length_s(part: Part) -> float | None:
    """Seconds of a part by its bounds, else as printed; None when neither tells."""
    return part.duration_s if part.end_s is None else part.end_s - begin_s(part)


# ---------------------------------------------------------------- what can be mended


def identified(work: Work, recording: Recording) -> Recording:
    """YouTube ids that are too long cut to their length, in the address too."""
    return with_parts(recording, [short_id(part) for part in recording.parts])


def short_id(part: Part) -> Part:
    """A part whose YouTube id has no more characters than it may have."""
    key = part.youtube_id
    if key is None or len(key) <= ID_LENGTH:
        return part
    short = key[:ID_LENGTH]
    return dataclasses.replace(part, youtube_id=short, url=part.url.replace(key, short))


def whole_parts(work: Work, recording: Recording) -> Recording:
    """Parts of no movement, "(part 1 of 5)" by name, are parts of the complete work."""
    return with_parts(
        recording,
        [
            dataclasses.replace(part, movement=0)
            if part.movement is None and part_number(part) is not None
            else part
            for part in recording.parts
        ],
    )


def numbered(work: Work, recording: Recording) -> Recording:
    """Rows of one label counted anew, where their durations agree with the page's times."""
    times = [movement.typical_s for movement in work.movements]
    lengths = [length_s(part) for part in recording.parts]
    if not is_mislabelled(work, recording) or not agree(lengths, times):
        return recording
    told = zip(recording.parts, work.movements, strict=True)
    return with_parts(
        recording,
        [dataclasses.replace(part, movement=one.number, name=one.name) for part, one in told],
    )


def is_mislabelled(work: Work, recording: Recording) -> bool:
    """Whether every row has the same numeral and name, though the work has several movements.

    Rows without names may as well be parts of a movement, unless there is one a movement.
    """
    labels = {(part.movement, part.name) for part in recording.parts}
    if len(recording.parts) < 2 or len(labels) > 1 or len(work.movements) < 2:
        return False
    [(number, name)] = labels
    named = bool(name) and not PART.search(name)
    as_many = not name and len(recording.parts) == len(work.movements)
    return bool(number) and (named or as_many)


def agree(lengths_s: Sequence[float | None], times_s: Sequence[float | None]) -> bool:
    """Whether lengths are near the times in this order, and in no other order much nearer.

    Of all orders the sorted one has the least sum of distances.
    """
    lengths = [math.log(one) for one in lengths_s if one and one > 0]
    times = [math.log(one) for one in times_s if one and one > 0]
    if not len(lengths) == len(lengths_s) == len(times) == len(times_s):
        return False
    apart = [abs(a - b) for a, b in zip(lengths, times, strict=True)]
    best = [abs(a - b) for a, b in zip(sorted(lengths), sorted(times), strict=True)]
    in_this_order = sum(apart) - sum(best) <= ORDER_SLACK * len(apart)
    return in_this_order and max(apart) <= math.log(TYPICAL_RATIO)


def closed(work: Work, recording: Recording) -> Recording:
    """Parts without a usable end before another movement in their file get one.

    It is the start of that, or the part's own printed duration if that ends earlier. A part that
    reaches far into the next movement has no usable end either; that of a complete work may.
    """
    return with_parts(recording, [with_end(part, recording.parts) for part in recording.parts])


def with_end(part: Part, parts: Sequence[Part]) -> Part:
    """A part that ends before the next movement of its file begins, if its own end is none."""
    beside = [other for other in parts if other.url == part.url and other.movement != 0]
    placed = part in beside and (part.start_s is not None or part == beside[0])
    starts = [other.start_s for other in beside if placed and other.movement != part.movement]
    later = [at for at in starts if at is not None and at > begin_s(part)]
    next_s = min(later, default=math.inf)
    if begin_s(part) < last_s(part) <= next_s + OVERLAP_S:
        return part
    printed_s = part.duration_s if part.duration_s and part.duration_s > 0 else math.inf
    end_s = min(begin_s(part) + printed_s, next_s)
    return dataclasses.replace(part, end_s=None if math.isinf(end_s) else end_s)


def with_parts(recording: Recording, parts: Sequence[Part]) -> Recording:
    """A recording with other parts; it keeps its identity."""
    return dataclasses.replace(recording, parts=tuple(parts))


# Flag -> what is mended; in this order, each part stays in its place.
MENDS: Mapping[str, Callable[[Work, Recording], Recording]] = {
    "odd_id": identified,
    "part_of_work": whole_parts,
    "renumbered": numbered,
    "end_inferred": closed,
}
OF_ALL = frozenset({"renumbered"})  # what makes every part doubtful, where it changes one
OF_TIMES = frozenset(  # flags of where a movement begins and ends
    (
        *("end_inferred", "long_movement", "unlike_typical", "duration_differs"),
        *("suspect_alignment", "out_of_order"),
    )
)


# ---------------------------------------------------------------- what speaks against it


def odd_ids(recording: Recording) -> set[int]:
    """Movements whose YouTube id is not of 11 characters, or was cut to them from more."""
    return numbers_of(
        part
        for part in recording.parts
        if part.youtube_id is not None
        and (len(part.youtube_id) != ID_LENGTH or has_more(part, part.youtube_id))
    )


def has_more(part: Part, key: str) -> bool:
    """Whether more than the movement stands behind the id in the site's key."""
    rest = part.video_id.removeprefix(key)
    return part.video_id.startswith(key) and rest not in ("", str(part.movement or 0))


def lengths(recording: Recording) -> dict[int, float]:
    """Movement -> seconds, where every part's are known."""
    parts: dict[int, list[float | None]] = defaultdict(list)
    for part in recording.parts:
        if part.movement is not None:
            parts[part.movement].append(length_s(part))
    known = {n: [one for one in found if one] for n, found in parts.items()}
    return {n: sum(known[n]) for n, found in parts.items() if len(known[n]) == len(found)}


def typical_times(work: Work) -> dict[int, int]:
    """Movement -> the time that the page prints beside it."""
    return {one.number: one.typical_s for one in work.movements if one.typical_s}


def ratio(one: float, other: float) -> float:
    """How many times the longer the shorter is, at least 1; inf for what has no length."""
    return max(one, other) / min(one, other) if min(one, other) > 0 else math.inf


def long_movements(work: Work, recording: Recording) -> set[int]:
    """Movements of 20 minutes and more, unless the page prints as much."""
    if len(movement_numbers(work)) < 2:
        return set()
    typical = typical_times(work)
    return {
        n for n, length in lengths(recording).items()
        if n and length >= LONG_S and ratio(length, typical.get(n, 0)) > NEAR_RATIO
    }  # fmt: skip


def unlike_typical(work: Work, recording: Recording) -> set[int]:
    """Movements more than twice or less than half as long as the page's time for them."""
    typical = typical_times(work)
    return {
        n for n, length in lengths(recording).items()
        if n in typical and ratio(length, typical[n]) > TYPICAL_RATIO
    }  # fmt: skip


def other_durations(work: Work, recording: Recording) -> set[int]:
    """Movements with a part whose printed duration is not end - start."""
    return numbers_of(
        part for part in recording.parts
        if part.duration_s and part.end_s is not None
        and abs(part.end_s - begin_s(part) - part.duration_s) > ROUNDING_S
    )  # fmt: skip


def exchanged_names(work: Work, recording: Recording) -> set[int]:
    """Movements whose names in the recording fit another movement better that is not there either.

    A name that merely looks like that of a movement in its place is no exchange.
    """
    listed = {one.number: set(name_terms(one.name)) for one in work.movements}
    better: dict[int, int] = {}
    for part in recording.parts:
        words = words_of(part)
        if words and part.movement in listed:
            fits = {n: len(words & own) / len(words | own) for n, own in listed.items()}
            best = max(fits, key=lambda n: fits[n])
            if fits[best] > fits[part.movement]:
                better[part.movement] = best
    in_place = numbers_of(recording.parts) - better.keys()
    return {number for number, best in better.items() if best not in in_place}


def of_another_work(work: Work, recording: Recording) -> set[int]:
    """All movements, if no word of their names is one of the page's names."""
    own = {word for part in recording.parts for word in words_of(part)}
    listed = {word for one in work.movements for word in name_terms(one.name)}
    return numbers_of(recording.parts) if own and listed and not own & listed else set()


def whole_work(work: Work, recording: Recording) -> set[int]:
    """Movement 1, if it is the one file of a recording and about as long as the work."""
    if [part.movement for part in recording.parts] != [1] or len(movement_numbers(work)) < 2:
        return set()
    length, typical = length_s(recording.parts[0]), typical_times(work).get(1)
    if length is None or (typical and ratio(length, typical) <= NEAR_RATIO):
        return set()
    as_work = ratio(length, work_length_s(work) or math.inf) <= NEAR_RATIO
    return {1} if as_work or length >= LONG_S else set()


def work_length_s(work: Work) -> float | None:
    """Seconds of "28 minutes (approximately)", else the sum of the movements' times."""
    match = MINUTES.search(work.facts.get("Duration", ""))
    times = typical_times(work)
    if match:
        return 60.0 * int(match[1])
    return float(sum(times.values())) if times and len(times) == len(work.movements) else None


def other_division(work: Work, recording: Recording) -> set[int]:
    """Movements beyond the last of the page's list: the recording counts otherwise."""
    last = max((one.number for one in work.movements), default=math.inf)
    return {number for number in numbers_of(recording.parts) if number > last}


def out_of_order(work: Work, recording: Recording) -> set[int]:
    """Movements of a file in which a later one begins before an earlier one."""
    timed = {part.url for part in recording.parts if part.start_s}
    return {
        number
        for one in recording.parts for other in recording.parts
        if one.url == other.url and one.url in timed
        and 0 < (one.movement or 0) < (other.movement or 0) and begin_s(other) <= begin_s(one)
        for number in numbers_of((one, other))
    }  # fmt: skip


def lacking_parts(work: Work, recording: Recording) -> set[int]:
    """Movements of which not every part is there."""
    return pieces_missing(recording)


def pieces_missing(recording: Recording) -> set[int]:
    """Movements of which not every part is there: "(part 1 of 5)" without the other four."""
    parts: dict[int | None, list[re.Match[str]]] = defaultdict(list)
    for part in recording.parts:
        if (match := PART.search(part.name)) and match["of"]:
            parts[part.movement].append(match)
    return {
        n for n, found in parts.items()
        if n is not None and len({match["number"] for match in found}) < int(found[0]["of"])
    }  # fmt: skip


def same_label(work: Work, recording: Recording) -> set[int]:
    """All movements, if every row still has the same label."""
    return numbers_of(recording.parts) if is_mislabelled(work, recording) else set()


# Flag -> the movements of a mended recording that it is true of.
CHECKS: Mapping[str, Callable[[Work, Recording], set[int]]] = {
    "long_movement": long_movements,
    "unlike_typical": unlike_typical,
    "duration_differs": other_durations,
    "exchanged_names": exchanged_names,
    "another_work": of_another_work,
    "suspect_alignment": whole_work,
    "counted_otherwise": other_division,
    "out_of_order": out_of_order,
    "parts_missing": lacking_parts,
    SAME_LABEL: same_label,
}


def shared_videos(works: Iterable[Work]) -> set[tuple[str, str]]:
    """(work_id, video_id) of stretches of a video that stand under another work too.

    Works that lie one after the other in one video do not share it.
    """
    places: dict[str, list[tuple[str, Part]]] = defaultdict(list)
    for work in works:
        for recording in work.recordings:
            for part in closed(work, identified(work, recording)).parts:
                places[part.youtube_id or part.url].append((work.work_id, part))
    return {
        (work_id, part.video_id)
        for found in places.values()
        for work_id, part in found
        if any(work_id != other_id and overlap(part, other) for other_id, other in found)
    }


def overlap(one: Part, other: Part) -> bool:
    """Whether two parts of one file have music in common, as far as is known."""
    return max(begin_s(one), begin_s(other)) < min(last_s(one), last_s(other))
