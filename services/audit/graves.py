"""One record that could not be handled, and the letters that were written of it; pure.

Every service that reads a topic buries for itself what it can't handle, so that no one of them waits for another: the
sink and the sampler write two letters of one poison record. Who mends it has one thing to look at and to send back.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from services.audit.letters import Letter, Spot


@dataclass(frozen=True)
class Grave:
    """A record, by its letters: at least one, the oldest first."""

    letters: Sequence[Letter]
    sent_back: bool
    """Any letter's being sent back is enough: the record is on its topic again, for all who read that."""

    @property
    def letter(self) -> Letter:
        """The one that stands for all and is sent back: the oldest with its bytes, or the oldest."""
        return min(self.letters, key=lambda one: one.left)

    @property
    def spots(self) -> list[Spot]:
        """Where the letters lie."""
        return [one.spot for one in self.letters]

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Why it is here, and which services say so; letters of older versions do not tell theirs."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for one in self.letters:
            found[one.reason] += [one.by] if one.by and one.by not in found[one.reason] else []
        return found


def graves(letters: Iterable[Letter], sent_back: Set[Spot]) -> list[Grave]:
    """The records of some letters, in the order of each one's first."""
    found: defaultdict[object, list[Letter]] = defaultdict(list)
    for letter in letters:
        found[_record(letter)].append(letter)
    return [Grave(own, any(one.spot in sent_back for one in own)) for own in found.values()]


def _record(letter: Letter) -> object:
    """What is the same for all letters of one record: its place alone is not, in a topic that was made anew."""
    if letter.offset < 0 or letter.partition < 0:
        return letter.spot
    return letter.topic, letter.origin, letter.size_bytes, letter.digest
