"""Pair: one text x one movement x one recording; its levels, error classes and id."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 3


class Level(StrEnum):
    """How much of a work a text speaks of."""

    MOVEMENT = "movement"
    PART = "part"
    WORK = "work"


class ErrorClass(StrEnum):
    """Why a source or a cut failed."""

    GONE = "gone"
    PRIVATE = "private"
    GEO = "geo"
    LOGIN = "login"
    NO_AUDIO = "no_audio"
    BAD_BOUNDS = "bad_bounds"
    NOT_MEDIA = "not_media"
    REFUSED = "refused"  # a host that is not public: tried again where that is allowed
    TOO_LONG = "too_long"
    RATE_LIMITED = "rate_limited"
    NETWORK = "network"
    SERVER_ERROR = "server_error"
    EXTRACTOR = "extractor"
    DISK_FULL = "disk_full"

    @property
    def transient(self) -> bool:
        """Worth another attempt on the next run."""
        return self in TRANSIENT


TRANSIENT = frozenset(
    {
        ErrorClass.RATE_LIMITED,
        ErrorClass.NETWORK,
        ErrorClass.SERVER_ERROR,
        ErrorClass.EXTRACTOR,
        ErrorClass.DISK_FULL,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One text x one movement (or part, or whole work) x one recording.

    Every column of pairs.parquet under its own name; COLUMNS below says what each means.
    None is null. A pair begins as `pending` and gets its audio columns when its clip is cut.
    """

    # identity
    pair_id: str
    work_id: str
    level: str
    movements: tuple[int, ...]
    recording_id: str
    clip_id: str | None = None
    # text
    caption: str
    caption_raw: str
    note_source: str
    text_index: int
    num_words: int
    num_tokens: int
    align_method: str
    align_score: float
    align_flags: tuple[str, ...] = ()
    text_group: str | None = None
    # music
    composer: str
    title: str
    opus: str | None = None
    key: str | None = None
    mode: str | None = None
    year: int | None = None
    instrumentation: str | None = None
    instruments: tuple[str, ...] = ()
    ensemble: str | None = None
    movement_name: str | None = None
    tempo_class: str | None = None
    performers: tuple[str, ...] = ()
    # cut
    source_url: str
    youtube_id: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    bounds_source: str
    actual_start_s: float | None = None
    actual_end_s: float | None = None
    # audio
    audio: Mapping[str, Any] | None = None
    sample_rate: int | None = None
    num_samples: int | None = None
    sha256: str | None = None
    pcm_md5: str | None = None
    codec: str | None = None
    loudness_lufs: float | None = None
    true_peak_dbtp: float | None = None
    silence_head_s: float | None = None
    silence_tail_s: float | None = None
    silence_ratio: float | None = None
    clipping_ratio: float | None = None
    dc_offset: float | None = None
    bandwidth_hz: float | None = None
    fingerprint: str | None = None
    duplicate_of: str | None = None
    # state
    status: str = "pending"
    stage: str = "pair"
    error_class: str | None = None
    error_message: str | None = None
    filter_reason: str | None = None
    # provenance and rights
    page_url: str
    page_sha256: str | None = None
    config_fingerprint: str | None = None
    schema_version: int = SCHEMA_VERSION
    text_rights: str
    audio_rights: str
    redistributable: bool = False


IN_JSON = json.JSONEncoder(ensure_ascii=False).encode


def stable_id(*parts: object) -> str:
    """16 hexadecimal digits that depend on the JSON form of `parts` alone."""
    return hashlib.sha256(IN_JSON(parts).encode()).hexdigest()[:16]


def pair_id(
    work_id: str, movements: tuple[int, ...], note_source: str, text_index: int, recording_id: str
) -> str:
    """Identity of a pair: neither bounds nor cleaning change it."""
    return stable_id(work_id, list(movements), note_source, text_index, recording_id)
