"""Works with recordings of every kind for the kills of fetch, and their slow replica."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from crawler.items import Movement, Note, Part, Person, Recording, Work, write_works
from dataset.pairing import PairConfig, pair
from demo.faults import Answer
from demo.site import Corpus, Replica

SAMPLE_RATE = 44_100
LENGTH_S = 24  # of a recording: long enough to be met while it is sent, checked and cut
PIECES, PAUSE_S = 10, 0.05  # in which a body is sent
KINDS = ("off", "mv1", "mv2", "all", "pt1", "pt2")  # of a work's videos
MISSING = "mv2"  # of the last work: nothing is there
TEXT = "The first movement is bold and long. The finale is quick and short."
NAMES = ("Allegro", "Presto")


def video_id(work: int, kind: str) -> str:
    """Eleven characters."""
    return f"kill{work:03}-{kind}"


class SlowCorpus(Corpus):
    """A corpus whose media come in pieces, so that a kill can meet their transfer."""

    def answer(self, target: str, address: str) -> Answer:
        """The answer, slow for a recording that is there."""
        found = super().answer(target, address)
        if not target.startswith("/media/") or found.status != 200:
            return found
        return replace(found, pieces=in_pieces, pause_s=PAUSE_S)


def in_pieces(body: bytes) -> Iterator[bytes]:
    """A body in equal parts."""
    step = len(body) // PIECES + 1
    return (body[at : at + step] for at in range(0, len(body), step))


def make_site(folder: Path, works: int) -> Corpus:
    """Write the recordings of so many works: noise with a tone of its own in each."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    at = np.arange(LENGTH_S * SAMPLE_RATE) / SAMPLE_RATE
    media: dict[str, dict[str, Any]] = {}
    for number in range(works * len(KINDS)):
        video = video_id(number // len(KINDS), KINDS[number % len(KINDS)])
        tone = 0.3 * np.sin(2 * np.pi * (200 + 20 * number) * at)
        sf.write(folder / f"{video}.flac", tone + chance.normal(0, 0.002, at.shape), SAMPLE_RATE)
        chapters = [
            {"title": f"{n}. {name}", "start_s": start, "end_s": start + LENGTH_S / 2}
            for n, name, start in zip((1, 2), NAMES, (0.0, LENGTH_S / 2), strict=True)
        ]
        media[video] = {
            "file": f"{video}.flac", "title": video, "description": "",
            "chapters": chapters if video.endswith("all") else [],
        }  # fmt: skip
    (folder / f"{video_id(works - 1, MISSING)}.flac").unlink()
    return SlowCorpus([], media=media, folder=folder)


def prepare(data: Path, replica: Replica, works: int) -> None:
    """Write the works and pair each of their recordings."""
    write_works(data / "works.jsonl", [work(number, replica.address) for number in range(works)])
    pair(data, PairConfig(recordings="all"))


def work(number: int, address: str) -> Work:
    """Two movements and their recordings: with offsets, a file each, a whole, one of two files."""

    def part(kind: str, movement: int, start: float | None, end: float | None, name: str) -> Part:
        video = video_id(number, kind)
        return Part(
            video_id=f"{video}{movement}", youtube_id=video, url=f"{address}/watch?v={video}",
            movement=movement, start_s=start, end_s=end, name=name,
        )  # fmt: skip

    half_s = LENGTH_S / 2
    recordings = [
        [part("off", 1, 0.0, half_s, NAMES[0]), part("off", 2, half_s, None, NAMES[1])],
        [part("mv1", 1, None, None, NAMES[0]), part("mv2", 2, None, None, NAMES[1])],
        [part("all", 0, None, None, "")],
        [part(f"pt{n}", 1, None, None, f"{NAMES[0]} (part {n} of 2)") for n in (1, 2)],
    ]
    return Work(
        work_id=f"Kill-Trio-{number}", page_url=f"/chamber-music/Kill-Trio-{number}/",
        composer=Person(name="A Person"), title=f"Trio No. {number}",
        movements=tuple(Movement(number=n, name=name) for n, name in enumerate(NAMES, 1)),
        recordings=tuple(
            Recording(recording_id=parts[0].video_id, performers=(f"Trio {n}",), parts=tuple(parts))
            for n, parts in enumerate(recordings)
        ),
        notes=(Note(source="Ours", text=TEXT),),
    )  # fmt: skip
