"""Linear students, which learn in seconds on one core: one that tags the pieces of a text, one that labels the whole.

None is ever served. They tell which answers of a teacher are doubtful, and what a choice of examples is worth.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier

from services import tagging as pieces
from training import tagging
from training.tagging import Unaligned

Bag = list[str]
"""What a linear model sees of a piece, or of a text: its features by name."""
Probabilities = NDArray[np.float64]

FEATURES: Final = 1 << 18
PASSES: Final = 12
LEARNS: Final = 1e-5
AROUND: Final = (-2, -1, 1, 2)
LETTERS_TOGETHER: Final = (3, 4)
EDGE: Final = 3  # so many pieces from either end are told apart by their place


class Linear:
    """Logistic regression on hashed features, a model for each label."""

    def __init__(self, seed: int = 0, regularisation: float = LEARNS) -> None:
        self._hasher = FeatureHasher(FEATURES, input_type="string")
        self._model = SGDClassifier(
            loss="log_loss", alpha=regularisation, max_iter=PASSES, tol=None, average=True, random_state=seed
        )
        self.labels: list[str] = []

    def fit(self, bags: Sequence[Bag], labels: Sequence[str], weights: Sequence[float] | None = None) -> Self:
        """Learn; of a single label nothing is to be learnt."""
        self.labels = sorted(set(labels))
        if len(self.labels) > 1:
            self._model.fit(self._hasher.transform(bags), labels, sample_weight=weights)
        return self

    def probabilities(self, bags: Sequence[Bag]) -> Probabilities:
        """[bags, labels], in the order of `labels`."""
        if len(self.labels) == 1:
            return np.ones((len(bags), 1))
        return np.asarray(self._model.predict_proba(self._hasher.transform(bags)), dtype=np.float64)


class Tagger:
    """Takes JSON values out of a text, as the tagging student does."""

    def __init__(self, seed: int = 0) -> None:
        self._model, self._fields = Linear(seed), list[pieces.Field]()

    def fit(self, texts: Sequence[str], answers: Sequence[str], weights: Sequence[float]) -> Self:
        """Learn from the answers that can be taken out of their texts; `weights` are the texts'."""
        self._fields = tagging.fields(answers)
        known = {field.name: field for field in self._fields}
        bags, tags, counts = list[Bag](), list[str](), list[float]()
        for text, answer, weight in zip(texts, answers, weights, strict=True):
            if found := aligned(text, answer, known):
                bags += of_pieces(text)
                tags += found
                counts += [weight] * len(found)
        self._model.fit(bags, tags, counts)
        return self

    def answer(self, texts: Sequence[str]) -> list[str]:
        """Its answers."""
        bags = [of_pieces(text) for text in texts]
        best = self._model.probabilities([bag for text in bags for bag in text]).argmax(-1).tolist()
        tags = iter(self._model.labels[label] for label in best)
        own = [[next(tags) for _ in bag] for bag in bags]
        return [
            pieces.answer(text, pieces.spans(text), tagged, self._fields)
            for text, tagged in zip(texts, own, strict=True)
        ]


def aligned(text: str, answer: str, known: dict[str, pieces.Field]) -> list[str]:
    """The tags of a text's pieces; none where the answer can't be said in tags."""
    try:
        return tagging.align(text, answer, known)
    except Unaligned:
        return []


def of_pieces(text: str) -> list[Bag]:
    """The features of each piece of a text: its own form, its neighbours', where it stands."""
    words = [text[start:end] for start, end in pieces.spans(text)]
    return [_of_piece(words, place) for place in range(len(words))]


def of_text(text: str) -> Bag:
    """The features of a whole text: its words, pairs of words, and letters that stand together."""
    plain = " ".join(text.casefold().split())
    words = plain.split()
    pairs = [f"{one} {other}" for one, other in pairwise(words)]
    letters = [plain[at : at + size] for size in LETTERS_TOGETHER for at in range(max(1, len(plain) - size + 1))]
    return [f"w {word}" for word in (*words, *pairs)] + [f"l {some}" for some in letters] + ["any"]


def _of_piece(words: Sequence[str], place: int) -> Bag:
    own = words[place].casefold()
    found = [f"{at:+d} {_form(words, place + at)}" for at in AROUND]
    found += [f"is {_numberless(own)}", f"like {_shape(words[place])}", f"starts {own[:3]}", f"ends {own[-3:]}"]
    found += [f"pair {_form(words, place + at)} {_numberless(own)}" for at in (-1, 1)]
    found += [f"from start {min(place, EDGE)}", f"from end {min(len(words) - 1 - place, EDGE)}"]
    return found


def _form(words: Sequence[str], place: int) -> str:
    """A neighbour: a word as it is, a number by its length."""
    return _numberless(words[place].casefold()) if 0 <= place < len(words) else "nothing"


def _numberless(word: str) -> str:
    return re.sub(r"\d", "9", word)


def _shape(word: str) -> str:
    return re.sub(r"(a)a+|(A)A+", r"\1\2+", re.sub(r"[^\W\d_A-Z]", "a", re.sub(r"[A-Z]", "A", _numberless(word))))
