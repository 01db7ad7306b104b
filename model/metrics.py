"""The scores of captions, each with its implementation and signature."""

import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from crawler.errors import UserError

NOVELTY_ORDER = 4  # words of the n-grams that are looked for in the training texts
WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Score:
    """A value and what computed it: published scores of one name come from unlike programs."""

    value: float
    unit: str  # "0..100", "0..1", "words"
    implementation: str


def score_captions(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], training: Sequence[str]
) -> dict[str, Score]:
    """Every score of one hypothesis a clip against all texts of that clip.

    `references[i]` holds one or more texts of clip i: clips may have different numbers of them.
    `training` holds the texts of the whole training split, for copies and novelty. UserError
    without a clip.
    """
    if not hypotheses:
        raise UserError("no captions to score: give at least one clip")
    assert len(hypotheses) == len(references), "one list of references a hypothesis"
    assert all(references), "every clip has at least one reference"
    return {
        **{f"bleu{order}": bleu(hypotheses, references, order) for order in (1, 2, 3, 4)},
        "chrf": chrf(hypotheses, references),
        "rouge_l": rouge_l(hypotheses, references),
        "distinct1": distinct(hypotheses, 1),
        "distinct2": distinct(hypotheses, 2),
        "vocabulary": vocabulary(hypotheses),
        "mean_words": mean_words(hypotheses),
        "copy_rate": copy_rate(hypotheses, training),
        "novelty": novelty(hypotheses, training),
    }


def values(scores: Mapping[str, Score]) -> dict[str, float]:
    """The bare numbers."""
    return {name: score.value for name, score in scores.items()}


def mean_values(draws: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every score over several draws of a random control."""
    return {name: sum(draw[name] for draw in draws) / len(draws) for name in draws[0]}


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], order: int) -> Score:
    """Corpus BLEU up to n-grams of `order` words."""
    metric = BLEU(max_ngram_order=order)
    value = metric.corpus_score(list(hypotheses), reference_streams(references)).score
    return Score(value, "0..100", f"sacrebleu BLEU-{order} {metric.get_signature()}")


def chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """Corpus F-score of character n-grams, the best reference of each clip."""
    metric = CHRF()
    value = metric.corpus_score(list(hypotheses), reference_streams(references)).score
    return Score(value, "0..100", f"sacrebleu chrF {metric.get_signature()}")


def reference_streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """References by clip as sacrebleu's streams: the k-th text of every clip, None without one."""
    longest = max(map(len, references))
    return [
        [texts[stream] if stream < len(texts) else None for texts in references]
        for stream in range(longest)
    ]


def rouge_l(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    """Mean over clips of the F1 of the longest common subsequence with the best reference."""
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    best = [
        scorer.score_multi(list(texts), hypothesis)["rougeL"].fmeasure
        for hypothesis, texts in zip(hypotheses, references, strict=True)
    ]
    version = importlib.metadata.version("rouge-score")
    tool = f"rouge-score {version} rougeL F1, a-z and 0-9 only, no stemmer, best reference, mean"
    return Score(100.0 * sum(best) / len(best), "0..100", tool)


def distinct(hypotheses: Sequence[str], order: int) -> Score:
    """Share of different n-grams among all n-grams of the hypotheses."""
    grams = [gram for text in hypotheses for gram in ngrams(text, order)]
    tool = f"earscribe: different {order}-grams / {order}-grams, lower case"
    return Score(len(set(grams)) / len(grams) if grams else 0.0, "0..1", tool)


def vocabulary(hypotheses: Sequence[str]) -> Score:
    """Number of different words and marks in the hypotheses."""
    used = {word for text in hypotheses for word in words(text)}
    return Score(float(len(used)), "words", "earscribe: different words and marks, lower case")


def mean_words(hypotheses: Sequence[str]) -> Score:
    """Mean length of a hypothesis."""
    total = sum(len(text.split()) for text in hypotheses)
    return Score(total / len(hypotheses), "words", "earscribe: split at white space")


def copy_rate(hypotheses: Sequence[str], training: Sequence[str]) -> Score:
    """Share of hypotheses that are, word for word, a training text."""
    known = {tuple(words(text)) for text in training}
    copies = sum(tuple(words(text)) in known for text in hypotheses)
    tool = "earscribe: equal to one of the training split's texts, lower case, any white space"
    return Score(copies / len(hypotheses), "0..1", tool)


def novelty(hypotheses: Sequence[str], training: Sequence[str]) -> Score:
    """Share of the hypotheses' different 4-grams that no training text has."""
    known = {gram for text in training for gram in ngrams(text, NOVELTY_ORDER)}
    used = {gram for text in hypotheses for gram in ngrams(text, NOVELTY_ORDER)}
    tool = f"earscribe: different {NOVELTY_ORDER}-grams in no training text, lower case"
    return Score(len(used - known) / len(used) if used else 0.0, "0..1", tool)


def words(text: str) -> list[str]:
    """Words and punctuation marks in lower case."""
    return WORD.findall(text.lower())


def ngrams(text: str, order: int) -> list[tuple[str, ...]]:
    """The n-grams of one text, none across texts."""
    found = words(text)
    return [tuple(found[start : start + order]) for start in range(len(found) - order + 1)]
