"""Byte-level BPE: no text is lost, whatever it holds."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import UserError
from model.tokenizer import BOS, EOS, MASK, PAD, SPECIALS, Tokenizer

TEXTS = [
    "The first violin opens alone, and the cello answers in the dark.",
    "The cello opens the slow movement; the first violin answers.",
    "A dance, light of foot: the violins chase, the viola answers.",
] * 4


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, 320)


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text_comes_back_as_it_was(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, 10_000)
    assert (ids[0], ids[-1]) == (BOS, EOS)
    assert all(len(SPECIALS) <= index < tokenizer.vocab_size for index in ids[1:-1])
    assert tokenizer.decode(ids) == text


def test_control_characters_are_not_spoken(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("The\tcello\r\nsings\x1b[31m\x00\x07\x9b alone", 100)
    assert tokenizer.decode(ids) == "The cello  sings[31m alone"


def test_specials_written_in_a_text_are_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    text = "no [MASK] and no [EOS] here [PAD]"
    tokenizer.save(tmp_path / "tokenizer.json")
    for each in (tokenizer, Tokenizer.load(tmp_path / "tokenizer.json")):
        ids = each.encode(text, 100)
        assert not {PAD, BOS, EOS, MASK} & set(ids[1:-1])
        assert each.decode(ids) == text


def test_frequent_words_become_one_token_and_unseen_ones_are_spelt(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("The cello answers", 100)) == 2 + 3
    assert len(tokenizer.encode("zzq", 100)) == 2 + 3


def test_a_long_text_is_cut_and_still_ends(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(" ".join(TEXTS), 12)
    assert len(ids) == 12
    assert (ids[0], ids[-1]) == (BOS, EOS)
    assert TEXTS[0].startswith(tokenizer.decode(ids))


def test_specials_and_ids_beyond_the_vocabulary_say_nothing(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("The viola", 100)
    assert tokenizer.decode([*ids, PAD, MASK, tokenizer.vocab_size, 99_999]) == "The viola"


def test_the_same_texts_in_any_order_give_the_same_tokenizer(tmp_path: Path) -> None:
    for name, texts in (("a", TEXTS), ("b", TEXTS[::-1]), ("c", TEXTS)):
        Tokenizer.train(iter(texts), 320).save(tmp_path / name)
    bodies = {(tmp_path / name).read_bytes() for name in "abc"}
    assert len(bodies) == 1


def test_vocabulary_stays_within_what_was_asked_for() -> None:
    assert Tokenizer.train(TEXTS, 270).vocab_size == 270
    assert Tokenizer.train(["one word"], 1000).vocab_size == 260
    with pytest.raises(UserError, match=r"vocab_size 200 is below 260"):
        Tokenizer.train(TEXTS, 200)


@pytest.mark.parametrize("body", [None, b"", b"{}", b"\xff\xfe", b'{"model": 1}'])
def test_what_is_no_tokenizer_is_named(tmp_path: Path, body: bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if body is not None:
        path.write_bytes(body)
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        Tokenizer.load(path)
