"""What a clip sounds like in a short text, and how alike two of them are.

After J. Haitsma and T. Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002: a word
of 32 bits says, for each pair of neighbouring bands, whether the difference of their energies has
grown. Theirs come every 11.6 ms from frames of 0.37 s, to find a few seconds of an unknown track;
here whole clips are compared, so fewer words of longer frames do, and they stand up better to
low bit rates.
"""

import base64
import binascii

import numpy as np
from numpy.typing import NDArray

from crawler.errors import UserError

VERSION = "hk1:"  # raise when the same samples give other words
WORD_S = 0.125  # from one word to the next
FRAME_S = 0.625
LAG = 3  # words: against which earlier frame a frame is held
NUM_BANDS = 33  # each a semitone wide
EDGES_HZ = np.geomspace(300.0, 2000.0, NUM_BANDS + 1)
LOWEST_RATE_HZ = 4000
ENOUGH_HZ = 8000  # sample rate to which a multiple of it is averaged: less to transform
BLOCK = 32  # frames transformed at a time: bounds the memory
GRAIN = 250  # samples: a multiple of it has small factors, which transform fast
SILENT_POWER = 10.0 ** (-75 / 10)  # in the bands, where a full-scale sine is at -3 dB
SILENT_SHARE = 1e-6  # of the loudest frame's power: 60 dB below
STEADY_SHARE = 0.005  # of the power that moves between two frames; in music 99.9 % have more
MIN_WORDS = 24  # fewer do not tell clips apart: 4 s of sound
EDGE_S = 5.0  # the sound of two clips alike begins and ends at most this far apart
MIN_SHARE = 0.75  # of the longer one's words are compared

Words = NDArray[np.uint32]  # (num_words,); 0 where there is nothing to compare


def fingerprint(samples: NDArray[np.number], sample_rate: int) -> str | None:
    """The words of a clip as text: VERSION and base64, 43 characters a second.

    `samples` are (num_samples,) or (num_samples, channels), integers of 16 bits or floats in -1..1,
    `sample_rate` in Hz. None for what has no fingerprint: less than 4 s of sound, silence, tones
    that do not change, samples that are no numbers. UserError for a rate below
    LOWEST_RATE_HZ.
    """
    if sample_rate < LOWEST_RATE_HZ:
        allowed = f"{LOWEST_RATE_HZ} Hz or more"
        raise UserError(f"sample_rate {sample_rate} is too low for a fingerprint: give {allowed}")
    with np.errstate(invalid="ignore", over="ignore"):  # words_of looks
        words = words_of(band_powers(samples, sample_rate))
    if np.count_nonzero(words) < MIN_WORDS:
        return None
    return VERSION + base64.b64encode(words.astype(">u4").tobytes()).decode()


def band_powers(samples: NDArray[np.number], sample_rate: int) -> NDArray[np.float32]:
    """Mean power of each frame in each band: (num_frames, NUM_BANDS)."""
    factor = max(1, sample_rate // ENOUGH_HZ)  # of the samples so many are averaged
    rate = sample_rate / factor
    length = GRAIN * round(FRAME_S * rate / GRAIN)
    count = max(0, int((len(samples) // factor - length) / (WORD_S * rate)) + 1)
    starts = np.round(np.arange(count) * WORD_S * rate).astype(int)
    window = np.hanning(length).astype(np.float32)
    bins = np.round(EDGES_HZ * length / rate).astype(int)
    scale = 2 / (length * float(np.square(window).sum()))  # Parseval: two sides, the window
    if samples.dtype.kind in "iu":
        scale /= 32768**2
    powers = np.zeros((count, NUM_BANDS), dtype=np.float32)
    for first in range(0, count, BLOCK):
        here = starts[first : first + BLOCK]
        stretch = samples[here[0] * factor : (here[-1] + length) * factor].astype(np.float32)
        mono = stretch.reshape(len(stretch) // factor, -1).mean(axis=1)
        frames = np.lib.stride_tricks.sliding_window_view(mono, length)[here - here[0]]
        spectra = np.fft.rfft(frames * window, axis=1)[:, : bins[-1]]
        energies = np.square(spectra.real) + np.square(spectra.imag)
        powers[first : first + BLOCK] = np.add.reduceat(energies, bins[:-1], axis=1) * scale
    return powers


def words_of(powers: NDArray[np.float32]) -> Words:
    """The words of frames, LAG fewer than frames; 0 where they are silent or do not change."""
    now, before = powers[LAG:], powers[:-LAG]
    total = powers.sum(axis=1)
    if not len(now) or not np.isfinite(total).all():
        return np.zeros(0, dtype=np.uint32)
    change = now - before
    bits = change[:, :-1] > change[:, 1:]
    words = np.packbits(bits, axis=1).view(">u4")[:, 0].astype(np.uint32)
    heard = total > max(SILENT_POWER, SILENT_SHARE * float(total.max()))
    moved = np.abs(change).sum(axis=1) > STEADY_SHARE * (total[LAG:] + total[:-LAG])
    return np.where(heard[LAG:] & heard[:-LAG] & moved, words, np.uint32(0))


def read_words(text: str) -> Words:
    """The words of a fingerprint from the first to the last that is not 0.

    UserError for a text that no `fingerprint` of this version wrote.
    """
    try:
        if not text.startswith(VERSION):
            raise ValueError
        packed = base64.b64decode(text.removeprefix(VERSION), validate=True)
        words = np.frombuffer(packed, dtype=">u4").astype(np.uint32)
    except (ValueError, binascii.Error) as error:
        shown = text if len(text) <= 20 else text[:20] + "..."
        raise UserError(f"{shown!r} is no fingerprint that begins with {VERSION}") from error
    return np.trim_zeros(words)


def similarity(one: str, other: str) -> float:
    """Share of equal bits of two fingerprints, 0..1; about 0.5 for clips that are not related.

    Of all offsets at which both sounds begin and end within EDGE_S of each other, the best; words
    are compared where neither is 0, and must be MIN_SHARE of the longer clip's, else 0.
    """
    return compare(read_words(one), read_words(other))


def compare(one: Words, other: Words) -> float:
    """`similarity` of words as `read_words` gives them."""
    edge = round(EDGE_S / WORD_S)
    longer = len(one) - len(other)
    sounding = max(int(np.count_nonzero(one)), int(np.count_nonzero(other)))
    needed = max(MIN_SHARE * sounding, MIN_WORDS)
    best = 0.0
    for offset in range(max(-edge, longer - edge), min(edge, longer + edge) + 1):
        left, right = one[max(offset, 0) :], other[max(-offset, 0) :]
        shared = min(len(left), len(right))
        left, right = left[:shared], right[:shared]
        both = (left != 0) & (right != 0)
        compared = np.count_nonzero(both)
        if compared >= needed:
            unequal = int(np.bitwise_count(left ^ right)[both].sum())
            best = max(best, 1 - unequal / (32 * compared))
    return best
