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
PIECE = 65_536  # samples taken in at a time, and
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
    bands = Bands(sample_rate)
    for first in range(0, len(samples), PIECE):
        bands.push(samples[first : first + PIECE])
    return bands.fingerprint()


class Bands:
    """The mean power of each frame in each band, of samples that come in blocks."""

    def __init__(self, sample_rate: int) -> None:
        if sample_rate < LOWEST_RATE_HZ:
            allowed = f"{LOWEST_RATE_HZ} Hz or more"
            raise UserError(
                f"sample_rate {sample_rate} is too low for a fingerprint: give {allowed}"
            )
        self.factor = max(1, sample_rate // ENOUGH_HZ)  # of the samples so many are averaged
        self.rate = sample_rate / self.factor
        self.length = GRAIN * round(FRAME_S * self.rate / GRAIN)
        self.window = np.hanning(self.length).astype(np.float32)
        self.bins = np.round(EDGES_HZ * self.length / self.rate).astype(int)
        # Parseval: two sides, the window
        self.scale = 2 / (self.length * float(np.square(self.window).sum()))
        self.left: NDArray[np.number] = np.zeros((0, 1))  # samples that are still to be averaged
        self.mono = np.zeros(0, dtype=np.float32)  # averaged, of the next frames
        self.begin = 0  # where `mono` begins
        self.count = 0  # frames
        self.blocks: list[NDArray[np.float32]] = []  # (num_frames, NUM_BANDS) each

    def push(self, samples: NDArray[np.number]) -> None:
        """Take in samples, as `fingerprint` does; all blocks are of one kind."""
        block = samples[:, np.newaxis] if samples.ndim == 1 else samples
        if len(self.left):
            block = np.concatenate([self.left, block])
        whole = len(block) // self.factor
        self.left = block[whole * self.factor :]
        scale = 1 / 32768 if samples.dtype.kind in "iu" else 1.0
        with np.errstate(invalid="ignore", over="ignore"):  # `words_of` looks
            fresh = block[: whole * self.factor].astype(np.float32)
            fresh = fresh.reshape(whole, self.factor * block.shape[1])
            self.mono = np.concatenate([self.mono, fresh.mean(axis=1) * np.float32(scale)])
            self.transform()

    def transform(self) -> None:
        """The powers of all frames that are complete."""
        end = self.begin + len(self.mono)
        last = int((end - self.length) / (WORD_S * self.rate)) if end >= self.length else -1
        starts = np.round(np.arange(self.count, last + 2) * WORD_S * self.rate).astype(int)
        for first in range(0, len(starts) - 1, BLOCK):
            here = starts[first : min(first + BLOCK, len(starts) - 1)] - self.begin
            stretch = self.mono[here[0] : here[-1] + self.length]
            frames = np.lib.stride_tricks.sliding_window_view(stretch, self.length)[here - here[0]]
            spectra = np.fft.rfft(frames * self.window, axis=1)[:, : self.bins[-1]]
            energies = np.square(spectra.real) + np.square(spectra.imag)
            powers = np.add.reduceat(energies, self.bins[:-1], axis=1) * self.scale
            self.blocks.append(powers.astype(np.float32))
        done = min(int(starts[-1]) - self.begin, len(self.mono)) if len(starts) else 0
        self.mono, self.begin = self.mono[done:], self.begin + done
        self.count = max(self.count, last + 1)

    def powers(self) -> NDArray[np.float32]:
        """Of all frames so far: (num_frames, NUM_BANDS)."""
        return np.concatenate([np.zeros((0, NUM_BANDS), dtype=np.float32), *self.blocks])

    def fingerprint(self) -> str | None:
        """The words as text; None when there is nothing to tell the sound by."""
        with np.errstate(invalid="ignore", over="ignore"):
            words = words_of(self.powers())
        if np.count_nonzero(words) < MIN_WORDS:
            return None
        return VERSION + base64.b64encode(words.astype(">u4").tobytes()).decode()


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
