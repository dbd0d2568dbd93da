"""Linear students, which learn in seconds on one core: one that tags the pieces of a text, one that labels the whole.

None is ever served. They tell which answers of a teacher are doubtful, and what a choice of examples is worth.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, logsumexp
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier

from services import tagging as pieces
from training import closed, tagging
from training.tagging import Unaligned

Bag = list[str]
"""What a linear model sees of a piece, or of a text: its features by name."""
Logs = NDArray[np.float64]
"""Logarithms of probabilities, in nats."""

FEATURES: Final = 1 << 18
MOST_LABELS: Final = 200
"""Different answers, or values of a field, that still count as labels."""
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

    def logs(self, bags: Sequence[Bag]) -> Logs:
        """[bags, labels], in the order of `labels`. Probabilities themselves would be rounded to 0 and 1."""
        if len(self.labels) == 1:
            return np.zeros((len(bags), 1))
        scores = self._model.decision_function(self._hasher.transform(bags))
        each = np.stack([-scores, scores], -1) if scores.ndim == 1 else scores
        logs = log_expit(each)
        return np.asarray(logs - logsumexp(logs, axis=-1, keepdims=True), dtype=np.float64)

    def best(self, bags: Sequence[Bag]) -> list[str]:
        """The likeliest label of each."""
        return [self.labels[at] for at in self.logs(bags).argmax(-1).tolist()]


class Tagger:
    """Takes JSON values out of a text or chooses them, as the tagging student does; a model for each choice."""

    def __init__(self, seed: int = 0) -> None:
        self._seed, self._model = seed, Linear(seed)
        self._fields, self._choosers = list[pieces.Field](), dict[str, Linear]()

    def fit(self, texts: Sequence[str], answers: Sequence[str], weights: Sequence[float]) -> Self:
        """Learn from the answers that can be said in tags and choices; `weights` are the texts'."""
        self._fields = closed.fields(list(zip(texts, answers, strict=True)), MOST_LABELS)
        known = {field.name: field for field in self._fields}
        told = zip(texts, answers, weights, strict=True)
        kept = [(text, answer, weight, tags) for text, answer, weight in told if (tags := aligned(text, answer, known))]
        bags = [bag for text, *_ in kept for bag in of_pieces(text)]
        counts = [weight for _, _, weight, own in kept for _ in own]
        self._model.fit(bags, [tag for *_, own in kept for tag in own], counts)
        whole, counts = [of_text(text) for text, *_ in kept], [weight for _, _, weight, _ in kept]
        chosen = [tagging.chosen(answer, known) for _, answer, _, _ in kept]
        for field in pieces.choices(self._fields):
            values = [values[field.name] for values in chosen]
            self._choosers[field.name] = Linear(self._seed).fit(whole, values, counts)
        return self

    def answer(self, texts: Sequence[str]) -> list[str]:
        """Its answers."""
        bags = [of_pieces(text) for text in texts]
        tags = iter(self._model.best([bag for own in bags for bag in own]))
        whole = [of_text(text) for text in texts]
        chosen = {name: model.best(whole) for name, model in self._choosers.items()}
        return [
            pieces.answer(
                text,
                pieces.spans(text),
                [next(tags) for _ in own],
                self._fields,
                {name: values[at] for name, values in chosen.items()},
            )
            for at, (text, own) in enumerate(zip(texts, bags, strict=True))
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
