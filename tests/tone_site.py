"""Tones behind a loopback site: recordings of every kind, paired and ready to be fetched."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from crawler.files import TEMPORARY_PREFIX
from crawler.items import Movement, Note, Part, Person, Recording, Work, write_works
from dataset.budget import BudgetConfig
from dataset.fetch import FetchConfig
from dataset.index import load_pairs
from dataset.pairing import PairConfig, pair
from dataset.pairs import Pair
from dataset.partial import KNOWN, PART
from demo.site import Replica, serve

CONFIG = FetchConfig(
    allow_loopback=True,
    workers=1,
    min_clip_s=0.5,
    timeout_s=3.0,
    attempts=1,
    backoff_s=0.01,
    min_free_mb=0,
    budget=BudgetConfig(per_hour=100_000),
)
ALL = PairConfig(recordings="all")
NAMES = ("Allegro", "Presto")
TEXT = "The first movement is bold and long. The finale is quick and short."
PIECES = "pieceOfIt01", "pieceOfIt02"
OFFSETS, FIRST, SECOND, WHOLE = "-offsets001", "_perfile001", "_perfile002", "wholework_1"


def tone_hz(movement: int) -> int:
    return 300 * movement


def tones(path: Path, movements: tuple[int, ...]) -> None:
    """Two seconds of each movement's own tone, with a second of silence between them."""
    at = np.arange(2 * 48_000) / 48_000
    gap = np.zeros(48_000)
    pieces = [
        piece for m in movements for piece in (0.5 * np.sin(2 * np.pi * tone_hz(m) * at), gap)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.concatenate(pieces[:-1]), 48_000, format="OGG", subtype="OPUS")


def part(address: str, movement: int, video: str, start: float | None, end: float | None) -> Part:
    return Part(
        video_id=f"{video}{movement}", youtube_id=video, url=f"{address}/watch?v={video}",
        movement=movement, start_s=start, end_s=end,
    )  # fmt: skip


def works(address: str) -> list[Work]:
    offsets = [(1, 0.0, 2.0), (2, 3.0, None)]
    recordings = (
        [part(address, m, OFFSETS, start, end) for m, start, end in offsets],
        [part(address, m, v, None, None) for m, v in ((1, FIRST), (2, SECOND))],
        [part(address, 0, WHOLE, None, None)],
    )
    return [
        Work(
            work_id="A-Person-Trio", page_url="/chamber-music/A-Person-Trio/",
            composer=Person(name="A Person"), title="Trio",
            movements=tuple(Movement(number=n, name=name) for n, name in enumerate(NAMES, 1)),
            recordings=tuple(
                Recording(recording_id=parts[0].video_id, parts=tuple(parts))
                for parts in recordings
            ),
            notes=(Note(source="Ours", text=TEXT), Note(source="Others", text=TEXT)),
        )
    ]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    listed = "0:00 I. Allegro\n0:03 II. Presto"
    content = {
        OFFSETS: ((1, 2), ""), WHOLE: ((1, 2), listed),
        FIRST: ((1,), ""), SECOND: ((2,), ""), PIECES[0]: ((1,), ""), PIECES[1]: ((2,), ""),
    }  # fmt: skip
    media = {}
    for video, (movements, description) in content.items():
        tones(folder / f"{video}.ogg", movements)
        media[video] = {
            "file": f"{video}.ogg", "title": video, "chapters": [], "description": description,
        }  # fmt: skip
    (folder / "media.json").write_text(json.dumps(media))
    (folder / "articles.json").write_text("[]")
    write_works(folder / "works.jsonl", [])
    return folder


@pytest.fixture
def replica(corpus: Path) -> Iterator[Replica]:
    with serve(corpus) as running:
        yield running


def paired(folder: Path, replica: Replica) -> Path:
    write_works(folder / "works.jsonl", works(replica.address))
    pair(folder, ALL)
    return folder


@pytest.fixture
def data(tmp_path: Path, replica: Replica) -> Path:
    return paired(tmp_path / "data", replica)


def rows(data: Path) -> list[Pair]:
    return load_pairs(data / "pairs.parquet")


def strongest_hz(path: Path) -> float:
    samples, rate = sf.read(path)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


def leftovers(data: Path) -> list[Path]:
    """Temporary files but for parts of transfers, which the next run goes on with."""
    found = data.rglob(TEMPORARY_PREFIX + "*")
    return [path for path in found if not path.name.endswith((PART, KNOWN))]
