"""A small data folder: pairs in every state over real clips of tones."""

import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crawler.files import sha256_file
from crawler.items import Movement, Note, Part, Person, Recording, Work, write_works
from dataset.index import PAIRS_NAME, write_pairs
from dataset.pairs import Pair, pair_id, stable_id

RATE_HZ = 16_000
# composer, year, slug, mode, movements, recordings
WORKS = (
    ("Ana Alba", 1787, "alba-quartet-1", "major", 2, 1),
    ("Ana Alba", 1790, "alba-quartet-2", "minor", 2, 1),
    ("Ben Brook", 1805, "brook-trio", "major", 3, 1),
    ("Cleo Cray", None, "cray-quintet", "minor", 1, 2),
    ("Dan O'Dell", 1848, "odell-quartet", "minor", 2, 1),
    ("Eva Ettin", 1851, "ettin-duo", "major", 3, 1),
    ("Finn Falk", 1893, "falk-quartet", None, 4, 1),
)
AUDIO_COLUMNS = (
    *("clip_id", "audio", "sample_rate", "num_samples", "sha256", "pcm_md5", "codec"),
    *("actual_start_s", "actual_end_s", "config_fingerprint"),
)
TEMPI = (("Allegro", "fast"), ("Adagio", "slow"), ("Menuetto", "moderate"), ("Finale", None))


@pytest.fixture
def small_corpus(built_corpus: Path, tmp_path: Path) -> Path:
    """A data folder with works.jsonl, clips and an index: 27 pairs, 20 of them ok."""
    return Path(shutil.copytree(built_corpus, tmp_path / "corpus"))


@pytest.fixture(scope="session")
def built_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original of `small_corpus`, made once; not to be changed."""
    data = tmp_path_factory.mktemp("built") / "corpus"
    pairs = [pair for row in WORKS for pair in _pairs_of(data, *row)]
    write_works(data / "works.jsonl", [_work(*row) for row in WORKS])
    write_pairs(data / PAIRS_NAME, [*pairs, *_unfinished(pairs)])
    return data


def _work(
    composer: str, year: int | None, slug: str, mode: str | None, count: int, takes: int
) -> Work:
    parts = [
        tuple(
            Part(video_id=f"{slug}{take}{n}", youtube_id=None, url=_url(slug, take), movement=n)
            for n in range(1, count + 1)
        )
        for take in range(takes)
    ]
    return Work(
        work_id=slug,
        page_url=f"https://example.org/chamber-music/{slug}/",
        composer=Person(name=composer, birth_year=None if year is None else year - 30),
        title=slug.replace("-", " ").title(),
        key=None if mode is None else f"D {mode}",
        movements=tuple(Movement(number=n, name=TEMPI[n - 1][0]) for n in range(1, count + 1)),
        recordings=tuple(
            Recording(recording_id=take[0].video_id, performers=("Test Tones",), parts=take)
            for take in parts
        ),
        notes=(Note(source="Test Notes", text=f"A note on {slug}.", credit="CC0 1.0"),),
    )


def _url(slug: str, take: int) -> str:
    return f"https://example.org/watch?v={slug}-{take}"


def _pairs_of(
    data: Path, composer: str, year: int | None, slug: str, mode: str | None, count: int, takes: int
) -> list[Pair]:
    pairs = []
    for take in range(takes):
        for number in range(1, count + 1):
            clip = _clip(data, f"{slug}/{take}/{number}")
            for index in range(2 if slug == "alba-quartet-1" else 1):  # two texts share a clip
                pairs.append(_pair(composer, year, slug, mode, number, take, index, clip))
    return pairs


def _clip(data: Path, seed: str) -> dict[str, object]:
    """Write one tone as FLAC and return the audio columns that describe it."""
    number = int(stable_id(seed), 16)
    length = RATE_HZ + number % RATE_HZ  # 1 to 2 seconds
    times = np.arange(length) / RATE_HZ
    pcm = (8_000 * np.sin(2 * np.pi * (200 + number % 1500) * times)).astype("<i2")
    clip_id = stable_id("clip", seed)
    path = data / "clips" / clip_id[:2] / f"{clip_id}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, pcm, RATE_HZ, subtype="PCM_16")
    return {
        "clip_id": clip_id,
        "audio": {"bytes": None, "path": str(path.relative_to(data))},
        "sample_rate": RATE_HZ,
        "num_samples": length,
        "sha256": sha256_file(path),
        "pcm_md5": hashlib.md5(pcm.tobytes()).hexdigest(),
        "codec": "flac",
        "actual_start_s": 3.0,
        "actual_end_s": 3.0 + length / RATE_HZ,
        "config_fingerprint": "0123456789abcdef",
    }


def _pair(
    composer: str,
    year: int | None,
    slug: str,
    mode: str | None,
    number: int,
    take: int,
    index: int,
    clip: dict[str, object],
) -> Pair:
    name, tempo = TEMPI[number - 1]
    recording_id = f"{slug}{take}1"
    caption = f"The {name} of {slug} sounds one steady tone; this is remark {index + 1}."
    return Pair(
        pair_id=pair_id(slug, (number,), "Test Notes", index, recording_id),
        work_id=slug,
        level="movement",
        movements=(number,),
        recording_id=recording_id,
        caption=caption,
        caption_raw=caption + " ",
        note_source="Test Notes",
        text_index=index,
        num_words=len(caption.split()),
        num_tokens=len(caption.split()) + 2 + len(slug) % 5,
        align_method="ordinal",
        align_score=round(0.5 + (number % 4) / 8, 3),
        composer=composer,
        title=slug.replace("-", " ").title(),
        mode=mode,
        key=None if mode is None else f"D {mode}",
        year=year,
        movement_name=name,
        tempo_class=tempo,
        performers=("Test Tones",),
        source_url=_url(slug, take),
        bounds_source="page",
        start_s=3.0,
        status="ok",
        stage="cut",
        page_url=f"https://example.org/chamber-music/{slug}/",
        text_rights="CC0 1.0",
        audio_rights="CC0 1.0",
        redistributable=True,
        **clip,  # type: ignore[arg-type]
    )


def _unfinished(pairs: list[Pair]) -> list[Pair]:
    """Further texts of the same music that ended otherwise than well."""
    ends = (
        {"status": "failed", "stage": "source", "error_class": "gone", "error_message": "HTTP 404"},
        {"status": "failed", "stage": "source", "error_class": "gone", "error_message": "HTTP 410"},
        {"status": "failed", "stage": "source", "error_class": "network", "error_message": "reset"},
        {"status": "filtered", "stage": "pair", "filter_reason": "movements_in_two_files"},
        {"status": "filtered", "stage": "cut", "filter_reason": "too_short"},
        {"status": "pending", "stage": "pair"},
        {"status": "pending", "stage": "pair"},
    )
    empty = dict.fromkeys(AUDIO_COLUMNS)
    return [
        dataclasses.replace(
            pair,
            **{**empty, **end},  # type: ignore[arg-type]
            text_index=7 + n,
            pair_id=pair_id(
                pair.work_id, pair.movements, pair.note_source, 7 + n, pair.recording_id
            ),
        )
        for n, (pair, end) in enumerate(zip(pairs, ends, strict=False))
    ]
