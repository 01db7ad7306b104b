"""All-pairs sentence BLEU against sacrebleu, pair by pair."""

import math
from pathlib import Path

import numpy as np
import pytest
import sacrebleu

from model.similarity import bleu_matrix, corpus_hash


def random_texts(seed: int, count: int) -> list[str]:
    """Sentences over few words, so that n-grams repeat and meet."""
    rng = np.random.default_rng(seed)
    words = ["the", "cello", "sings", "and", "violin", "Violin,", "don't", "3.5", "a-b", "&amp;"]
    lengths = rng.integers(1, 25, count)
    return [" ".join(rng.choice(words, length)) + "." for length in lengths]


def test_every_entry_is_sacrebleu_of_row_against_column() -> None:
    texts = [
        *random_texts(0, 40),
        "",
        " ",
        "one",
        "two words",
        "the the the the the",
        "the the",
        "the cello sings and sings, the cello",
        "a line\nbroken- \n twice ",
    ]
    made = bleu_matrix(texts)
    expected = [[sacrebleu.sentence_bleu(h, [r]).score / 100 for r in texts] for h in texts]
    assert made.dtype == np.float32
    assert made.shape == (len(texts), len(texts))
    np.testing.assert_allclose(made, expected, atol=1e-6, rtol=0)
    assert made.min() >= 0
    assert made.max() <= 1


def test_row_is_the_hypothesis() -> None:
    short, long = "a b c d", "a b c d e f g h"
    made = bleu_matrix([short, long])
    assert made[0, 0] == 1
    # all n-grams of the short one are right, but it is half as long as its reference
    assert made[0, 1] == pytest.approx(math.exp(1 - 8 / 4))
    # 4 of 8 words, 3 of 7, 2 of 6 and 1 of 5 longer n-grams are right
    assert made[1, 0] == pytest.approx((4 / 8 * 3 / 7 * 2 / 6 * 1 / 5) ** 0.25)


def test_a_corpus_is_computed_once_and_read_back(tmp_path: Path) -> None:
    texts = random_texts(1, 8)
    made = bleu_matrix(texts, tmp_path)
    (path,) = tmp_path.iterdir()
    np.testing.assert_array_equal(bleu_matrix(texts, tmp_path), made)
    np.save(path, made / 2)
    np.testing.assert_array_equal(bleu_matrix(texts, tmp_path), made / 2)


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    texts = random_texts(1, 8)
    made = bleu_matrix(texts, tmp_path)
    (path,) = tmp_path.iterdir()
    body = path.read_bytes()
    bad = (made[:7], made.astype(float), made + 1, made - 1, np.full_like(made, np.nan))
    for matrix in bad:
        np.save(path, matrix)
        np.testing.assert_array_equal(bleu_matrix(texts, tmp_path), made)
        assert path.read_bytes() == body
    np.savez(path.with_suffix(".npz"), made)
    for damage in (b"", b"no matrix", body[:100], path.with_suffix(".npz").read_bytes()):
        path.write_bytes(damage)
        np.testing.assert_array_equal(bleu_matrix(texts, tmp_path), made)
        assert path.read_bytes() == body


def test_another_corpus_or_order_is_another_matrix(tmp_path: Path) -> None:
    texts = random_texts(2, 5)
    swapped = [texts[1], texts[0], *texts[2:]]
    assert not np.array_equal(bleu_matrix(texts, tmp_path), bleu_matrix(swapped, tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    assert corpus_hash(["ab", "c"]) != corpus_hash(["a", "bc"])
