"""Near-duplicates: texts that are nearly the same, found by MinHash and locality-sensitive hashing. The one importer
of rensa, which takes 10 us for a text of 60 characters where datasketch takes 220.

Two texts are as similar as the sets of their shingles (five characters each, case and white space aside): the size of
what is common by the size of both together. MinHash estimates that with a standard error of sqrt(s(1-s)/128), which
is 0.027 at a similarity of 0.9.

Two questions that are nearly the same and have different answers are no duplicates: the student must learn to tell
them apart ("12 Main St", "13 Main St"). So an example is known by its question and by what its answer means: JSON by
its value, whatever the order of its keys.

Between the sides of the wall that holds for labels and JSON alone: long questions made from one template differ in a
word or two, and that another answer is right says that those matter; without the answer one golden question would take
the whole template out of training. Two texts that answer one question hardly ever are the same, so a different one
says nothing: there the question alone decides, and a task of long templates and free texts sets `near_duplicate: 1`.
"""

import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rensa import RMinHash, RMinHashLSH

SHINGLE: Final = 5
"""Characters. Words would make a near-duplicate of nothing in texts of ten words."""
SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Precision:
    """How long a sketch is, and in how many bands it is looked for: eight permutations each."""

    permutations: int

    @property
    def bands(self) -> int:
        """How many there are."""
        return self.permutations // BAND

    def found_share(self, similarity: float) -> float:
        """The share of pairs of that similarity that the bands bring together, and so are compared at all."""
        return float(1 - (1 - similarity**BAND) ** self.bands)

    def told(self) -> str:
        """For people."""
        return f"MinHash of {SHINGLE}-character shingles, {self.permutations} permutations in {self.bands} bands"


BAND: Final = 8
SURE: Final = Precision(128)
"""For a snapshot: of pairs as similar as 0.9 it finds 99.99 %, at 20 us and 2 KB an example."""
QUICK: Final = Precision(64)
"""For the stream: 99 %, at half of that."""


def normalised(text: str) -> str:
    """A text as it is compared: case and white space do not make it another one."""
    return " ".join(text.casefold().split())


@dataclass(frozen=True, slots=True)
class Sketch:
    """What an example is compared by."""

    question: RMinHash
    answer: int

    def similarity(self, other: "Sketch", *, any_answer: bool = False) -> float:
        """How similar the questions are, if the answers are the same or `any_answer` will do; else 0."""
        same = any_answer or self.answer == other.answer
        return float(self.question.jaccard(other.question)) if same else 0.0


def sketch(question: str, answer: str, precision: Precision = SURE) -> Sketch:
    """Four bytes a permutation and some."""
    plain = normalised(question)
    made = RMinHash(num_perm=precision.permutations, seed=SEED)
    made.update([plain[start : start + SHINGLE] for start in range(max(1, len(plain) - SHINGLE + 1))])
    return Sketch(made, hash(normalised(_by_value(answer))))


def _by_value(answer: str) -> str:
    try:
        return json.dumps(json.loads(answer), sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        return answer


class Neighbours:
    """The examples taken so far, at most `most` of them: the oldest is forgotten first."""

    def __init__(self, similarity: float, most: int, precision: Precision = SURE) -> None:
        self._similarity, self._most = similarity, most
        self._index = RMinHashLSH(threshold=similarity, num_perm=precision.permutations, num_bands=precision.bands)
        self._known: OrderedDict[int, tuple[str, Sketch]] = OrderedDict()
        self._next = 0

    def __len__(self) -> int:
        return len(self._known)

    def near(self, seen: Sketch, *, any_answer: bool = False) -> Iterator[str]:
        """The names of those that are as similar as was asked for, or more; `any_answer`: whatever their answers."""
        for key in self._index.query(seen.question):
            name, known = self._known[key]
            if seen.similarity(known, any_answer=any_answer) >= self._similarity:
                yield name

    def add(self, name: str, seen: Sketch) -> None:
        """Take an example in."""
        self._index.insert(self._next, seen.question)
        self._known[self._next] = (name, seen)
        self._next += 1
        if len(self._known) > self._most:
            oldest, _ = self._known.popitem(last=False)
            self._index.remove(oldest)
