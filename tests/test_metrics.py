"""Scores against values computed by hand and by the libraries' own sentence functions."""

import math
from collections import Counter

import pytest
import sacrebleu

from crawler.errors import UserError
from model.metrics import mean_values, reference_streams, score_captions, values

TRAINING = ["The cello sings.", "A fast dance for all four players."]


def test_bleu_takes_the_hypothesis_first() -> None:
    # 4 of the hypothesis's 4 words are right; the brevity penalty is exp(1 - 8 / 4). The other
    # way round 4 of 8 words would be right, without a penalty.
    short, long = "the viola begins alone", "the viola begins alone and the others answer"
    scores = values(score_captions([short], [[long]], TRAINING))
    assert scores["bleu1"] == pytest.approx(100 * math.exp(1 - 8 / 4))
    assert scores["bleu4"] == pytest.approx(100 * math.exp(1 - 8 / 4))
    swapped = values(score_captions([long], [[short]], TRAINING))
    assert swapped["bleu1"] == pytest.approx(50.0)


def grams(text: str, size: int) -> Counter[tuple[str, ...]]:
    words = text.split()
    return Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def brute_bleu(hypotheses: list[str], references: list[list[str]], order: int) -> float:
    """Clipped n-gram precisions by counting, exponential smoothing, closest reference length."""
    logs, smooth, hypothesis_length, reference_length = 0.0, 1.0, 0, 0
    for size in range(1, order + 1):
        right = total = 0
        for text, group in zip(hypotheses, references, strict=True):
            allowed: Counter[tuple[str, ...]] = Counter()
            for reference in group:
                allowed |= grams(reference, size)
            right += sum((grams(text, size) & allowed).values())
            total += sum(grams(text, size).values())
        if right == 0:
            smooth *= 2
        logs += math.log(right / total if right else 1 / (smooth * total))
    for text, group in zip(hypotheses, references, strict=True):
        length = len(text.split())
        hypothesis_length += length
        reference_length += min(
            (len(one.split()) for one in group), key=lambda size: (abs(size - length), size)
        )
    penalty = min(1.0, math.exp(1 - reference_length / hypothesis_length))
    return 100 * penalty * math.exp(logs / order)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bleu_with_a_variable_number_of_references_equals_brute_force(order: int) -> None:
    hypotheses = [
        "a slow song of the low strings",
        "the dance returns",
        "a quiet end of it all now",
    ]
    references = [
        ["a slow song for the low strings", "slow and low is the song of strings"],
        ["the wild dance returns again"],
        ["now it all comes to a quiet end", "a quiet end of it", "an end of it all"],
    ]
    score = score_captions(hypotheses, references, TRAINING)[f"bleu{order}"]
    assert score.value == pytest.approx(brute_bleu(hypotheses, references, order), abs=1e-9)
    assert "nrefs:var" in score.implementation
    assert f"version:{sacrebleu.__version__}" in score.implementation


def test_an_absent_reference_is_none_and_not_an_empty_text() -> None:
    assert reference_streams([["a", "b"], ["c"]]) == [["a", "c"], ["b", None]]


def test_chrf_of_one_clip_is_its_best_reference() -> None:
    hypothesis, texts = "the cello sings", ["the viola sings", "a loud dance"]
    best = max(sacrebleu.sentence_chrf(hypothesis, [text]).score for text in texts)
    scores = score_captions([hypothesis], [texts], TRAINING)
    assert scores["chrf"].value == pytest.approx(best)
    assert "chrF" in scores["chrf"].implementation


def test_rouge_l_by_hand() -> None:
    # clip 1: the longest common subsequence "the sings low" is 3 of 4 and of 5 words -> 2/3;
    # clip 2: its second reference is the caption itself -> 1
    scores = score_captions(
        ["the cello sings low", "all end"], [["the viola sings very low"], ["no", "all end"]], []
    )
    assert scores["rouge_l"].value == pytest.approx(100 * (2 * 3 / (4 + 5) + 1) / 2)


def test_diversity_and_length_by_hand() -> None:
    scores = values(score_captions(["A rose is", "a rose blooms now"], [["x"], ["y"]], []))
    assert scores["distinct1"] == pytest.approx(5 / 7)
    assert scores["distinct2"] == pytest.approx(4 / 5)
    assert scores["vocabulary"] == 5
    assert scores["mean_words"] == pytest.approx(3.5)


def test_copies_are_found_in_the_whole_training_set() -> None:
    hypotheses = ["the  cello sings.", "The cello sings", "something else"]
    scores = values(score_captions(hypotheses, [["x"]] * 3, TRAINING))
    assert scores["copy_rate"] == pytest.approx(1 / 3)


def test_novelty_counts_four_grams_without_a_source() -> None:
    # "a fast dance for" and "fast dance for all" are known, "dance for all time" is new
    scores = values(score_captions(["a fast dance for all time"], [["x"]], TRAINING))
    assert scores["novelty"] == pytest.approx(1 / 3)


def test_empty_captions_score_nothing() -> None:
    scores = values(score_captions(["", ""], [["a song"], ["a dance"]], TRAINING))
    assert scores["bleu4"] == scores["chrf"] == scores["rouge_l"] == scores["distinct1"] == 0.0


def test_no_clip_is_refused() -> None:
    with pytest.raises(UserError, match="at least one clip"):
        score_captions([], [], TRAINING)


def test_mean_over_draws() -> None:
    assert mean_values([{"a": 1.0, "b": 0.0}, {"a": 3.0, "b": 1.0}]) == {"a": 2.0, "b": 0.5}
