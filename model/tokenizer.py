"""Byte-level BPE trained on the corpus: text <-> token ids, with four specials."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from crawler.errors import UserError
from crawler.files import write_atomic

SPECIALS = ("[PAD]", "[BOS]", "[EOS]", "[MASK]")
PAD, BOS, EOS, MASK = range(len(SPECIALS))
NUM_BYTES = 256


class Tokenizer:
    """Any Unicode text -> ids and back without loss: what no merge covers is spelt in bytes."""

    def __init__(self, bpe: tokenizers.Tokenizer) -> None:
        # "[MASK]" written in a caption is text, not the special.
        bpe.encode_special_tokens = True
        self._bpe = bpe

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Self:
        """Learn at most `vocab_size` tokens from `texts`: give the training captions only."""
        smallest = len(SPECIALS) + NUM_BYTES
        if vocab_size < smallest:
            raise UserError(
                f"model.vocab_size {vocab_size} is below {smallest}, specials and bytes"
            )
        bpe = tokenizers.Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            special_tokens=list(SPECIALS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return cls(bpe)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; UserError if there is no such file or it is no tokenizer."""
        try:
            return cls(tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UserError(f"cannot read the tokenizer {path}: {error.strerror}") from error
        except Exception as error:  # the library raises nothing narrower
            raise UserError(f"{path} is no tokenizer file: {error}") from error

    def save(self, path: Path) -> None:
        """Write the tokenizer as JSON, whole or not at all."""
        write_atomic(path, self._bpe.to_str(pretty=True).encode("utf-8"))

    @property
    def vocab_size(self) -> int:
        """Tokens in use, which a small corpus may keep below what was asked for."""
        return self._bpe.get_vocab_size()

    def encode(self, text: str, max_tokens: int) -> list[int]:
        """[BOS] ... [EOS], at most `max_tokens` ids with the two specials."""
        ids = self._bpe.encode(text, add_special_tokens=False).ids
        return [BOS, *ids[: max_tokens - 2], EOS]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`; specials and ids beyond the vocabulary say nothing.

        Control characters are dropped, those that part words (tab, new line) become blanks.
        """
        spoken = [index for index in ids if len(SPECIALS) <= index < self.vocab_size]
        return printable(self._bpe.decode(spoken, skip_special_tokens=False))


def printable(text: str) -> str:
    """`text` without control characters, with a blank for each that is white space."""
    controls = {c for c in text if unicodedata.category(c) == "Cc"}
    return text.translate({ord(c): " " if c.isspace() else None for c in controls})
