"""Captions that hear nothing, and the audio swap: what any score must be compared with."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from crawler.errors import UserError
from dataset.pairs import Pair


def random_training_texts(training: Sequence[Pair], num_clips: int, seed: int) -> list[str]:
    """A training text drawn at random for each clip, with replacement."""
    draws = np.random.default_rng(seed).integers(len(training), size=num_clips)
    return [training[draw].caption for draw in draws]


def most_frequent_text(training: Sequence[Pair], num_clips: int) -> list[str]:
    """The training text that most pairs have, for every clip; of equals the first by alphabet."""
    counts = Counter(pair.caption for pair in training)
    commonest = min(counts, key=lambda text: (-counts[text], text))
    return [commonest] * num_clips


def same_movement_texts(
    training: Sequence[Pair], movements: Sequence[tuple[int, ...]], seed: int
) -> list[str]:
    """A random training text of the same movement number(s) for each clip.

    `movements[i]` are those of clip i. Where no training text has them, any training text.
    """
    by_movements: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for pair in training:
        by_movements[pair.movements].append(pair.caption)
    everything = [pair.caption for pair in training]
    generator = np.random.default_rng(seed)
    texts = (by_movements.get(key, everything) for key in movements)
    return [choices[generator.integers(len(choices))] for choices in texts]


def audio_swap(num_clips: int, seed: int) -> list[int]:
    """Whose audio each clip gets: a random permutation that leaves no clip its own.

    One cycle through all clips (Sattolo's algorithm). UserError for fewer than two clips.
    """
    if num_clips < 2:
        raise UserError(f"an audio swap of {num_clips} clip(s) is not possible: give two or more")
    generator = np.random.default_rng(seed)
    order = list(range(num_clips))
    for last in range(num_clips - 1, 0, -1):
        other = int(generator.integers(last))
        order[last], order[other] = order[other], order[last]
    return order
