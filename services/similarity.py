"""Near-duplicates: texts that are nearly the same, found by MinHash and locality-sensitive hashing. The one importer
of rensa, which takes 10 us for a text of 60 characters where datasketch takes 220.

Two texts are as similar as the sets of their shingles (five characters each, case and white space aside): the size of
what is common by the size of both together. MinHash estimates that with a standard error of sqrt(s(1-s)/128), which
is 0.027 at a similarity of 0.9.

Two questions that are nearly the same and have different answers are no duplicates: the student must learn to tell
them apart ("12 Main St", "13 Main St"). So an example is known by its question and its answer.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rensa import RMinHash, RMinHashLSH

PERMUTATIONS: Final = 128
BANDS: Final = 16
SHINGLE: Final = 5
"""Characters. Words would make a near-duplicate of nothing in texts of ten words."""
SEED: Final = 1
METHOD: Final = f"MinHash of {SHINGLE}-character shingles, {PERMUTATIONS} permutations in {BANDS} bands"


def normalised(text: str) -> str:
    """A text as it is compared: case and white space do not make it another one."""
    return " ".join(text.casefold().split())


def found_share(similarity: float) -> float:
    """The share of pairs of that similarity that the bands bring together, and so are compared at all."""
    return float(1 - (1 - similarity ** (PERMUTATIONS // BANDS)) ** BANDS)


@dataclass(frozen=True, slots=True)
class Sketch:
    """What an example is compared by."""

    question: RMinHash
    answer: int

    def similarity(self, other: "Sketch") -> float:
        """How similar the questions are, if the answers are the same; else 0."""
        return float(self.question.jaccard(other.question)) if self.answer == other.answer else 0.0


def sketch(question: str, answer: str) -> Sketch:
    """512 bytes and some."""
    plain = normalised(question)
    made = RMinHash(num_perm=PERMUTATIONS, seed=SEED)
    made.update([plain[start : start + SHINGLE] for start in range(max(1, len(plain) - SHINGLE + 1))])
    return Sketch(made, hash(normalised(answer)))


class Neighbours:
    """The examples taken so far, at most `most` of them, 2 KB each: the oldest is forgotten first."""

    def __init__(self, similarity: float, most: int) -> None:
        self._similarity, self._most = similarity, most
        self._index = RMinHashLSH(threshold=similarity, num_perm=PERMUTATIONS, num_bands=BANDS)
        self._known: OrderedDict[int, tuple[str, Sketch]] = OrderedDict()
        self._next = 0

    def __len__(self) -> int:
        return len(self._known)

    def near(self, seen: Sketch) -> Iterator[str]:
        """The names of those that are as similar as was asked for, or more."""
        for key in self._index.query(seen.question):
            name, known = self._known[key]
            if seen.similarity(known) >= self._similarity:
                yield name

    def add(self, name: str, seen: Sketch) -> None:
        """Take an example in."""
        self._index.insert(self._next, seen.question)
        self._known[self._next] = (name, seen)
        self._next += 1
        if len(self._known) > self._most:
            oldest, _ = self._known.popitem(last=False)
            self._index.remove(oldest)
