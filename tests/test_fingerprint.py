"""A fingerprint stays with a sound, whatever carries it, and tells it from any other."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from crawler.errors import UserError
from dataset import fingerprint as module
from dataset.duplicates import ALIKE
from dataset.fingerprint import MIN_WORDS, VERSION, Bands, fingerprint, read_words, similarity
from tests.made_music import RATE_HZ, played, score, silence

SAMPLES = played(score(1))


def mark(samples: NDArray[np.number], rate: int = RATE_HZ) -> str:
    text = fingerprint(samples, rate)
    assert text is not None
    return text


MARK = mark(SAMPLES)


def test_it_is_a_line_of_text_of_43_characters_a_second() -> None:
    assert MARK.startswith(VERSION) and MARK.isascii() and MARK.isprintable()
    assert 40 < len(MARK) / 20 < 44


def test_the_words_are_those_of_the_paper_s_formula() -> None:
    rate, length, hop = 8_000, 5_000, 1_000  # of every two samples the mean
    mono = (SAMPLES[0 : 2 * (len(SAMPLES) // 2) : 2] + SAMPLES[1::2]) / 2
    energy = []
    for start in range(0, len(mono) - length + 1, hop):
        spectrum = np.abs(np.fft.rfft(mono[start : start + length] * np.hanning(length))) ** 2
        borders = [round(300 * (2000 / 300) ** (m / 33) * length / rate) for m in range(34)]
        energy.append([spectrum[low:high].sum() for low, high in pairwise(borders)])
    expected = []
    for n in range(3, len(energy)):
        now, then = energy[n], energy[n - 3]
        grown = [now[m] - now[m + 1] > then[m] - then[m + 1] for m in range(32)]
        expected.append(int("".join("1" if bit else "0" for bit in grown), 2))
    words = read_words(MARK)
    assert len(words) == len(expected)
    unequal = np.bitwise_count(words ^ np.array(expected, dtype=np.uint32)).sum()
    assert unequal <= 0.001 * 32 * len(words)  # what 32-bit floats round otherwise


def test_the_size_of_the_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    assert mark(SAMPLES) == MARK


def test_integers_of_16_bits_are_heard_as_floats_are() -> None:
    assert similarity(MARK, mark((SAMPLES * 32767).astype(np.int16))) > 0.99


def test_two_channels_are_heard_as_their_mean() -> None:
    assert similarity(MARK, mark(np.stack((1.5 * SAMPLES, 0.5 * SAMPLES), axis=1))) > 0.99


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000])
def test_any_sample_rate_gives_nearly_the_same(rate: int) -> None:
    assert similarity(MARK, mark(played(score(1), rate), rate)) > 0.9


@pytest.mark.parametrize("gain", [0.01, 0.5, 1.4])
def test_a_gain_changes_nothing(gain: float) -> None:
    assert similarity(MARK, mark(SAMPLES * np.float32(gain))) > 0.99


@pytest.mark.parametrize("shift_s", [0.03, 0.0625, 0.4, 1.0, 4.0])
def test_a_clip_may_begin_elsewhere(shift_s: float) -> None:
    shifted = mark(SAMPLES[round(shift_s * RATE_HZ) :])
    assert similarity(MARK, shifted) == similarity(shifted, MARK) > ALIKE


def test_silence_around_the_sound_does_not_count() -> None:
    padded = mark(np.concatenate((silence(12), SAMPLES, silence(9))))
    assert similarity(MARK, padded) > 0.95


def test_silence_within_is_compared_with_nothing() -> None:
    one, other = (np.concatenate((played(score(n, 9)), silence(20))) for n in (2, 3))
    ending = SAMPLES[: 3 * RATE_HZ]
    marks = [mark(np.concatenate((samples, ending))) for samples in (one, other)]
    assert similarity(*marks) < 0.7


def test_other_music_has_every_other_bit_in_common() -> None:
    found = [similarity(MARK, mark(played(score(seed)))) for seed in range(10, 20)]
    assert min(found) > 0.4 and max(found) < 0.6


def test_what_begins_or_ends_further_off_is_not_compared() -> None:
    assert similarity(MARK, mark(SAMPLES[: 14 * RATE_HZ])) == 0.0
    assert similarity(MARK, mark(SAMPLES[6 * RATE_HZ :])) == 0.0


NOISE = np.random.default_rng(0).integers(-1, 2, 10 * RATE_HZ).astype(np.int16)
TIMES = np.arange(10 * RATE_HZ) / RATE_HZ


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, dtype=np.int16),
        np.zeros((0, 2), dtype=np.float32),
        np.ones(1, dtype=np.float32),
        SAMPLES[: RATE_HZ // 2],
        SAMPLES[: 3 * RATE_HZ],
        silence(10),
        NOISE,
        np.full(10 * RATE_HZ, 0.5),
        0.5 * np.sin(2 * np.pi * 440 * TIMES),
        (9_000 * (np.sin(TIMES * 2765) + np.sin(TIMES * 3483))).astype(np.int16),
        np.where(TIMES == 5, np.nan, np.sin(TIMES * 3000)),
        np.where(TIMES == 5, np.inf, np.sin(TIMES * 3000)),
    ],
    ids="none none-stereo sample half-second 3s silence dither constant tone chord nan inf".split(),
)  # fmt: skip
def test_what_has_no_fingerprint(samples: NDArray[np.number]) -> None:
    assert fingerprint(samples, RATE_HZ) is None


def test_the_shortest_fingerprint_is_of_4_seconds() -> None:
    words = read_words(mark(SAMPLES[: round(4.01 * RATE_HZ)]))
    assert MIN_WORDS <= len(words) <= MIN_WORDS + 2


def test_a_rate_that_is_too_low_is_refused() -> None:
    with pytest.raises(UserError, match="sample_rate 3999 .* 4000 Hz or more"):
        fingerprint(SAMPLES, 3_999)


@pytest.mark.parametrize("text", ["", "hk0:AAAA", VERSION + "AAA", VERSION + "AAA=", "x" * 99])
def test_another_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match=VERSION) as caught:
        similarity(MARK, text)
    assert len(str(caught.value)) < 100


def test_ten_minutes_take_little_memory() -> None:
    samples = np.resize((SAMPLES * 32767).astype(np.int16), 600 * RATE_HZ)
    tracemalloc.start()
    fingerprint(samples, RATE_HZ)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("sample_rate", [8000, 22_050, 44_100])
def test_a_clip_heard_in_blocks_has_the_words_of_the_whole(sample_rate: int) -> None:
    rng = np.random.default_rng(3)
    samples = (rng.normal(0, 3000, (9 * sample_rate, 2))).astype(np.int16)
    bands = Bands(sample_rate)
    for block in np.split(samples, [1, 2, 1000, 1003, 77_777]):
        bands.push(block)
    assert bands.fingerprint() == fingerprint(samples, sample_rate) is not None
