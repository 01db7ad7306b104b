"""How alike the texts of a corpus are: sentence BLEU of all pairs, cached by the corpus's hash."""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from crawler.files import atomic_path

logger = logging.getLogger(__name__)

MAX_ORDER = 4
SIGNATURE = "sentence-bleu|tok:13a|case:mixed|smooth:exp|eff:yes|scale:1|v1"


def bleu_matrix(texts: Sequence[str], cache: Path | None = None) -> np.ndarray:
    """Sentence BLEU / 100 of every text against every text, float32 (n, n) in [0, 1].

    Row = hypothesis, column = reference: s(t_i, t_j) of anchor i and member j is entry [i, j].
    The values are those of sacrebleu.sentence_bleu(row, [column]), which smooths by `exp` at the
    effective order. `cache` is a folder that keeps the matrix of each corpus once made.
    """
    if cache is None:
        return compute_bleu(texts)
    path = cache / f"bleu-{corpus_hash(texts)}.npy"
    kept = kept_matrix(path, len(texts))
    if kept is not None:
        return kept
    logger.info("sentence BLEU of %d x %d texts -> %s", len(texts), len(texts), path)
    matrix = compute_bleu(texts)
    with atomic_path(path) as temporary:
        np.save(temporary, matrix, allow_pickle=False)
    return matrix


def kept_matrix(path: Path, size: int) -> np.ndarray | None:
    """The matrix (size, size) in a file; None when there is none or it cannot be one."""
    if not path.is_file():
        return None
    try:
        matrix = np.load(path, allow_pickle=False)
        if matrix.shape != (size, size) or matrix.dtype != np.float32:
            raise ValueError(f"{matrix.dtype} of shape {matrix.shape}")
        if not ((matrix >= 0) & (matrix <= 1)).all():  # NaN is neither
            raise ValueError("values outside 0..1")
    except (OSError, ValueError, EOFError, AttributeError) as error:  # AttributeError: an npz
        logger.warning("%s is damaged (%s): made anew", path, error)
        return None
    return matrix


def corpus_hash(texts: Sequence[str]) -> str:
    """Hexadecimal digest of the texts in their order and of the way they are compared."""
    digest = hashlib.sha256(SIGNATURE.encode())
    for text in texts:
        body = text.encode("utf-8")
        digest.update(len(body).to_bytes(8, "little") + body)
    return digest.hexdigest()[:32]


def compute_bleu(texts: Sequence[str]) -> np.ndarray:
    """Sentence BLEU / 100 of all pairs without a cache, float32 (n, n); see `bleu_matrix`."""
    tokenize = Tokenizer13a()
    tokenized = [tokenize(text.rstrip()).split() for text in texts]
    lengths = np.array([len(tokens) for tokens in tokenized], dtype=np.float64)  # (n,)
    shape = (len(texts), len(texts))
    log_precision, smoothing = np.zeros(shape), np.ones(shape)
    matched = np.zeros(shape, dtype=bool)
    for order in range(1, MAX_ORDER + 1):
        matches = match_counts(tokenized, order)
        totals = np.maximum(lengths - order + 1, 0)[:, None]  # (n, 1) of the hypothesis
        matched |= matches > 0
        smoothing[(matches == 0) & (totals > 0)] *= 2
        precision = np.where(matches > 0, matches, 1 / smoothing) / np.maximum(totals, 1)
        log_precision += np.where(totals > 0, np.log(precision), 0.0)
    orders = np.clip(lengths, 1, MAX_ORDER)[:, None]
    brevity = np.minimum(0.0, 1 - lengths[None, :] / np.maximum(lengths, 1)[:, None])
    return (
        np.where(matched, np.exp(log_precision / orders + brevity), 0.0)
        .clip(0, 1)
        .astype(np.float32)
    )


def match_counts(tokenized: Sequence[Sequence[str]], order: int) -> np.ndarray:
    """Clipped n-gram matches of all pairs, float64 (n, n): sum over n-grams of min(count, count).

    min(a, b) counts the k with k <= a and k <= b: each k-th occurrence of an n-gram is a feature
    that a text has or has not, and every pair of texts that have it has one match more.
    """
    having: defaultdict[tuple[tuple[str, ...], int], list[int]] = defaultdict(list)
    for row, tokens in enumerate(tokenized):
        seen: Counter[tuple[str, ...]] = Counter()
        for ngram in zip(*(tokens[k:] for k in range(order)), strict=False):
            seen[ngram] += 1
            having[ngram, seen[ngram]].append(row)
    matches = np.zeros((len(tokenized), len(tokenized)))
    for rows in having.values():
        if len(rows) == 1:  # most n-grams, and much faster so
            matches[rows[0], rows[0]] += 1
        else:
            matches[np.ix_(rows, rows)] += 1
    return matches
