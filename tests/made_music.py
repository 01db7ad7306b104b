"""Music made up for the tests: four voices of random notes, played at any rate and tempo."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000
SCALE = (0, 2, 4, 5, 7, 9, 11)
Score = list[tuple[float, float, float]]  # (start in s, length in s, Hz) of each note


def score(seed: int, length_s: float = 20.0) -> Score:
    """Notes of C major."""
    rng = np.random.default_rng(seed)
    notes: Score = []
    for octave in (3, 4, 4, 5):
        now = 0.0
        while now < length_s - 0.2:
            length = min(float(rng.choice((0.25, 0.5, 0.75))), length_s - now)
            semitones = 12 * (octave - 4) + rng.choice(SCALE) - 9
            notes.append((now, length, float(440 * 2 ** (semitones / 12))))
            now += length
    return notes


def played(
    notes: Score, rate: int = RATE_HZ, tempo: float = 1.0, partials: Sequence[float] = (1, 0.6, 0.3)
) -> NDArray[np.float32]:
    """Samples of a score, at most 0.7; `partials` are the instrument's."""
    end_s = max(start + length for start, length, _ in notes) / tempo
    samples = np.zeros(round(end_s * rate) + 1)
    for start, length, hz in notes:
        first, count = round(start / tempo * rate), int(length / tempo * rate)
        times = np.arange(count) / rate
        tone = sum(
            level * np.sin(2 * np.pi * hz * number * times)
            for number, level in enumerate(partials, start=1)
        )
        samples[first : first + count] += tone * np.exp(-3 * times)
    return (0.7 * samples / np.abs(samples).max()).astype(np.float32)


def silence(length_s: float) -> NDArray[np.float32]:
    """No sound at RATE_HZ."""
    return np.zeros(round(length_s * RATE_HZ), dtype=np.float32)
