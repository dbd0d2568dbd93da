"""What an encoder learns to say: a tag for each word, or one label for the text.

Either way each token is scored. A label's score is the mean over the text's tokens: encoders of sentences are trained
to be averaged.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

from services import tagging as pieces
from services.encoder import Encoded
from services.tagging import Labels
from training import closed, tagging
from training.config import Config
from training.contract import AnswerKind
from training.data import Row
from training.kind import Examples
from training.tagging import Unaligned

NOT_LEARNT: Final = -100  # a place where no loss is taken
UNSEEN: Final = "a label that the training split has not"


class Head(Protocol):
    """What to learn."""

    labels: Labels
    asks: int  # tokens behind the text that ask for what does not stand in it

    def target(self, row: Row, encoded: Encoded) -> list[int]:
        """The label's number for each token, or one for the text. Raises Unaligned with the reason if there is none."""

    def objection(self, answer_kind: AnswerKind, examples: Examples) -> str:
        """Why the task can't be done, from some of its examples; '' if it can."""


class Tags:
    """A tag for each word: takes JSON values out of the text, and chooses those that are of a closed set."""

    def __init__(self, config: Config, table: Sequence[Row]) -> None:
        self._least_aligned = config.least_aligned
        fields = tuple(closed.fields([(row["prompt"], row["completion"]) for row in table], config.most_labels))
        self._fields = {field.name: field for field in fields}
        self.labels = Labels(names=pieces.labels(fields), fields=fields)
        self.asks = len(pieces.choices(fields))
        self._numbers = {name: number for number, name in enumerate(self.labels.names)}

    def target(self, row: Row, encoded: Encoded) -> list[int]:
        target = [NOT_LEARNT] * len(encoded.ids)
        tags = tagging.align(row["prompt"], row["completion"], self._fields)
        for first, tag in zip(encoded.firsts, tags, strict=True):
            if first is not None:
                target[first] = self._numbers[tag]
        for place, (name, value) in zip(
            encoded.asking, tagging.chosen(row["completion"], self._fields).items(), strict=True
        ):
            target[place] = self._numbers[self._fields[name].label(value)]
        return target

    def objection(self, answer_kind: AnswerKind, examples: Examples) -> str:
        if answer_kind != "json":
            return f"it takes JSON values out of the input, and the task's answers are of kind {answer_kind}"
        total = len(examples.kept) + sum(examples.left_out.values())
        share = len(examples.kept) / max(1, total)
        if share < self._least_aligned or not examples.kept:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in examples.left_out.items())
            return f"only {share:.0%} of the answers can be taken out of their inputs, or chosen ({reasons})"
        return ""


class Classes:
    """One label for the text, of those in the training split."""

    asks = 0

    def __init__(self, config: Config, table: Sequence[Row]) -> None:
        self._most_labels = config.most_labels
        counts = Counter(row["completion"].strip() for row in table)
        self.labels = Labels(names=tuple(sorted(counts)))
        self._numbers = {name: number for number, name in enumerate(self.labels.names)}

    def target(self, row: Row, encoded: Encoded) -> list[int]:  # noqa: ARG002 - whatever the text's tokens are
        number = self._numbers.get(row["completion"].strip())
        if number is None:
            raise Unaligned(UNSEEN)
        return [number]

    def objection(self, answer_kind: AnswerKind, examples: Examples) -> str:
        if answer_kind != "label":
            return f"it names a label, and the task's answers are of kind {answer_kind}"
        if (count := len(self.labels.names)) > self._most_labels:
            return f"{count} different labels are no closed set; at most {self._most_labels} are (most_labels)"
        return "" if examples.kept else "no training example can be read"
