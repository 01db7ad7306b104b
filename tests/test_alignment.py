"""The field over a note: against every path of small cases, and its weights as a file."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bench.fit_pairing import toml_of
from dataset.alignment import (
    BACK,
    CUE,
    MOVEMENT,
    MOVES,
    NAMED,
    NEVER,
    REMARK,
    WEIGHTS_PATH,
    Features,
    Weights,
    align,
    features,
    fitted,
    moves,
    read_weights,
    scores,
)

WORDS = ("next", "born", "song", "^the", "race")
NAMES = ("Allegro con brio", "Andante cantabile", "Menuetto", "Finale. Presto")


def made_weights(chance: np.random.Generator) -> Weights:
    return Weights(
        movement=chance.normal(size=len(MOVEMENT)),
        remark=chance.normal(size=len(REMARK)),
        moves=chance.normal(size=(len(MOVES), len(CUE))),
        named=chance.normal(size=(len(MOVES), len(NAMED))),
        end=chance.normal(size=2),
        words={word: (chance.normal(), chance.normal()) for word in WORDS},
    )


def made_features(chance: np.random.Generator, sentences: int, last: int) -> Features:
    return Features(
        movement=chance.normal(size=(sentences, last, len(MOVEMENT))) / 4,
        remark=chance.normal(size=(sentences, len(REMARK))) / 2,
        cues=chance.integers(0, 2, (sentences, len(CUE))).astype(float),
        named=chance.integers(0, 2, (sentences, last, len(NAMED))).astype(float),
        tokens=tuple(
            frozenset(w for w in WORDS if chance.random() < 0.5) for _ in range(sentences)
        ),
        mentions=((),) * sentences,
    )


def weighed(shown: Features, weights: Weights, path: tuple[int, ...]) -> float:
    """The log-weight of one way (0 = a remark), written out from the weights alone."""
    last, furthest, spoke, total = shown.movement.shape[1], 0, False, 0.0
    for u, number in enumerate(path):
        said = [weights.words[word] for word in shown.tokens[u]]
        onward = sum(one[0] for one in said)
        times = 1
        if number:
            step = number - furthest
            move = {0: "stay" if spoke else "resume", 1: "next" if spoke else "enter_next"}.get(
                step, "skip" if step > 1 else "back"
            )
            move = "enter_first" if step == 1 and not furthest else move
            times = min(max(step - 1, 1), 2)
            total += float(shown.movement[u, number - 1] @ weights.movement)
            total += float(shown.named[u, number - 1] @ weights.named[MOVES.index(move)])
        else:
            move = "leave" if spoke else "rest"
            total += float(shown.remark[u] @ weights.remark) + sum(one[1] for one in said)
        cost = float(shown.cues[u] @ weights.moves[MOVES.index(move)])
        cost += onward if move in ("enter_next", "next", "skip") else 0.0
        total += (BACK if move == "back" else cost) * times
        furthest, spoke = number or furthest, number > 0
    left = last - furthest
    return total + left * weights.end[0] + (left > 0) * weights.end[1]


@pytest.mark.parametrize(("last", "sentences"), [(1, 1), (1, 5), (2, 4), (3, 4), (3, 1), (5, 3)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_way_and_the_shares_are_those_of_every_path(
    last: int, sentences: int, seed: int
) -> None:
    chance = np.random.default_rng([seed, last, sentences])
    weights, shown = made_weights(chance), made_features(chance, sentences, last)
    paths = list(product(range(last + 1), repeat=sentences))
    logs = np.array([weighed(shown, weights, path) for path in paths])
    found = align(shown, weights)
    assert found.movements == paths[int(logs.argmax())]
    mass = np.exp(logs - logs.max())
    shares = np.zeros((sentences, last + 1))
    for path, one in zip(paths, mass / mass.sum(), strict=True):
        shares[range(sentences), path] += one
    assert found.shares == pytest.approx(shares, abs=1e-9)


def test_the_shares_of_a_sentence_sum_to_one() -> None:
    text = ["It is of 1820.", "The opening is bold.", "Then comes a song.", "The finale runs."]
    found = align(features(text, [True, True, False, False], NAMES), fitted())
    assert found.shares.shape == (4, 5)
    assert found.shares.sum(1) == pytest.approx(1.0)
    assert (found.shares >= 0).all()


def test_the_shares_of_a_long_note_stay_finite() -> None:
    text = ["The first movement is bold.", "It goes on."] * 400
    found = align(features(text, [False] * 800, NAMES), fitted())
    assert np.isfinite(found.shares).all()
    assert found.shares.sum(1) == pytest.approx(1.0)


def test_a_work_without_movements_has_remarks_alone() -> None:
    shown = features(["The finale is fast.", "It ends."], [True, False], ())
    found = align(shown, fitted())
    assert found.movements == (0, 0)
    assert found.shares.tolist() == [[1.0], [1.0]]


def test_every_state_can_be_gone_to_in_one_way() -> None:
    """A remark keeps the furthest movement in mind, so only one of them can follow a state."""
    for last in (0, 1, 4):
        kinds, _ = moves(last)
        assert ((kinds[:, : last + 1] >= 0).sum(1) == 1).all()
        assert (kinds[:, last + 1 :] >= 0).all()
        shown = made_features(np.random.default_rng(0), 2, last)
        _, into, _ = scores(shown, made_weights(np.random.default_rng(1)))
        assert ((into == NEVER) == (kinds < 0)).all()


def test_a_written_file_reads_back_as_it_was(tmp_path: Path) -> None:
    made = made_weights(np.random.default_rng(7))
    rounded = {
        name: np.round(getattr(made, name), 3)
        for name in ("movement", "remark", "moves", "named", "end")
    }
    rounded["moves"][MOVES.index("back")] = 0.0  # it is no fitted move
    words = {word: (round(a, 3), round(b, 3)) for word, (a, b) in made.words.items()}
    path = tmp_path / "weights.toml"
    path.write_text(toml_of(Weights(**rounded, words=words)), encoding="utf-8")
    read = read_weights(path)
    for name, values in rounded.items():
        assert getattr(read, name) == pytest.approx(values), name
    assert read.words == words


def test_the_file_of_the_program_is_as_the_fit_writes_it() -> None:
    assert toml_of(fitted()) == WEIGHTS_PATH.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[movement]", r"'ordnal' in \[movement\]: known are ordinal, "),
        ("[remark]", r"'ordnal' in \[remark\]: known are year, "),
        ("[moves.stay]", r"'ordnal' in \[moves.stay\]: known are bias, "),
        ("[named.stay]", r"'ordnal' in \[named.stay\]: known are any, "),
        ("[end]", r"'ordnal' in \[end\]: known are each, any"),
    ],
)
def test_a_name_that_no_feature_has_is_refused(tmp_path: Path, line: str, told: str) -> None:
    text = WEIGHTS_PATH.read_text(encoding="utf-8")
    assert line in text
    path = tmp_path / "weights.toml"
    path.write_text(text.replace(line, f'{line}\n"ordnal" = 1.0'), encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        read_weights(path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[moves.stay]", "[moves.stand]", r"'stand' in \[moves\]: known are rest, leave"),
        ("[named.back]", "[named.forth]", r"'forth' in \[named\]: known are rest, leave"),
        ("[words]", "[word]", r"has 'word': known are movement, remark"),
    ],
)
def test_a_section_of_another_name_is_refused(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    path = tmp_path / "weights.toml"
    text = WEIGHTS_PATH.read_text(encoding="utf-8")
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        read_weights(path)


def test_the_features_have_the_shapes_that_their_names_give() -> None:
    shown = features(["The finale runs.", "It ends."], [True, False], NAMES)
    assert shown.movement.shape == (2, 4, len(MOVEMENT))
    assert shown.remark.shape == (2, len(REMARK))
    assert shown.cues.shape == (2, len(CUE))
    assert shown.named.shape == (2, 4, len(NAMED))
    assert shown.movement[0, 3, MOVEMENT.index("finale")] == 1.0
    assert shown.remark[:, REMARK.index("first")].tolist() == [1.0, 0.0]
    assert "^the" in shown.tokens[0] and "the" in shown.tokens[0]
