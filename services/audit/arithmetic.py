"""What an audit concludes from what was seen; pure.

Of every source: answered = stored + in flight + dead letters + missing + written off. A sequence is missing if it had
been on Kafka, for all that its gateway said, at an earlier look, and is still not stored: so a look at a running system
needs another before it, as long ago as the sink may take. What is not yet acknowledged by Kafka is in flight, in its
gateway's spool, for as long as that gateway is heard of. What a person wrote off and is not stored is counted by
itself, for ever, lie it in the dead letters or nowhere; what of it turns up, or is replayed, counts as stored.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

SILENT_S: Final = 90.0
"""A gateway says at least every half minute how far it is: one that has not thrice is dead, or Kafka or the sink is."""
TOTAL: Final = "total"

Range = tuple[int, int]
"""First and last, both in it."""


class Course(StrEnum):
    """Whether there may be more of a source."""

    OPEN = "open"
    ENDED = "ended"
    SILENT = "silent"
    """It has not ended, nor has it been heard of for SILENT_S."""
    UNTOLD = "untold"
    """Nobody has said how far it is: its last sequence is the last that is stored."""


@dataclass(frozen=True)
class Look:
    """What was seen of a source at one moment. Sequences run from 1 to `answered`; `holes` are those not stored."""

    source: str
    answered: int
    acknowledged: int
    holes: Sequence[Range] = ()
    put_aside: int = 0
    course: Course = Course.OPEN
    oldest_s: float = 0.0
    """Age of the oldest that Kafka had not acknowledged; 0 if there was none."""
    written_off: Sequence[Range] = ()
    """What a person has said is lost, in any order, whatever became of it since."""
    heard_s: float = 0.0
    """How long ago it was heard of, if it goes on."""


@dataclass(frozen=True)
class Account:
    """A source's figures, or those of all of them. Each counts exchanges but for the age."""

    source: str
    answered: int = 0
    acknowledged: int = 0
    stored: int = 0
    in_flight: int = 0
    dead: int = 0
    """In the dead letters, and neither stored nor written off."""
    missing: int = 0
    put_aside: int = 0
    """Refused by Kafka for good, in the gateway's spool; they are missing, too."""
    oldest_s: float = 0.0
    course: Course = Course.OPEN
    dead_at: Sequence[Range] = ()
    missing_at: Sequence[Range] = ()
    written_off: int = 0
    written_off_at: Sequence[Range] = ()
    heard_s: float = 0.0


@dataclass(frozen=True)
class Audit:
    """The accounts of all sources, the worst first, and their sum."""

    sources: Sequence[Account]
    total: Account

    @property
    def silent(self) -> int:
        """How many sources have neither ended nor been heard of lately: what they last answered may be in a spool."""
        return sum(one.course is Course.SILENT for one in self.sources)

    @property
    def going_on(self) -> list[Account]:
        """The sources that may have answered more since they were last heard of."""
        return [one for one in self.sources if one.course is Course.OPEN]


def settled(looks: Iterable[Look]) -> dict[str, int]:
    """Of each source, up to where everything should be stored soon: the bounds for a later `audit`."""
    return {look.source: look.answered if look.course is Course.SILENT else look.acknowledged for look in looks}


def audit(looks: Iterable[Look], bounds: Mapping[str, int], dead: Mapping[str, Set[int]]) -> Audit:
    """The accounts. `bounds`: what was settled at an earlier look. `dead`: the sequences that are dead letters."""
    accounts = [_account(look, bounds.get(look.source, 0), dead.get(look.source, frozenset())) for look in looks]
    accounts.sort(key=lambda one: (-one.missing, -one.dead, -one.in_flight, one.source))
    return Audit(accounts, _sum(accounts))


def count(ranges: Iterable[Range]) -> int:
    """How many numbers are in the ranges."""
    return sum(last - first + 1 for first, last in ranges)


def ranges_of(numbers: Iterable[int]) -> list[Range]:
    """Ascending numbers as ranges."""
    ranges: list[Range] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    return ranges


def joined(ranges: Iterable[Range]) -> list[Range]:
    """Ranges in any order, ascending, those that touch or overlap made one."""
    whole: list[Range] = []
    for first, last in sorted(ranges):
        if whole and first <= whole[-1][1] + 1:
            whole[-1] = whole[-1][0], max(last, whole[-1][1])
        else:
            whole.append((first, last))
    return whole


def without(ranges: Iterable[Range], taken: Iterable[Range]) -> list[Range]:
    """What is left of ascending ranges when others, in any order, are taken out."""
    cuts = joined(taken)
    firsts, lasts = [first for first, _ in cuts], [last for _, last in cuts]
    return [
        piece
        for first, last in ranges
        for piece in _pieces((first, last), cuts[bisect_left(lasts, first) : bisect_right(firsts, last)])
    ]


def within(ranges: Sequence[Range], chosen: Iterable[Range]) -> list[Range]:
    """The part of ascending ranges that others, in any order, have too."""
    return without(ranges, without(ranges, chosen))


def up_to(ranges: Iterable[Range], bound: int) -> list[Range]:
    """The part of ascending ranges that is not above `bound`."""
    return [(first, min(last, bound)) for first, last in ranges if first <= bound]


def _pieces(one: Range, cuts: Iterable[Range]) -> Iterator[Range]:
    """What ascending cuts, each of which meets the range, leave of it."""
    start = one[0]
    for first, last in cuts:
        if start < first:
            yield start, first - 1
        start = last + 1
    if start <= one[1]:
        yield start, one[1]


def _account(look: Look, bound: int, dead: Set[int]) -> Account:
    written_off_at = within(look.holes, look.written_off)
    wanted = without(look.holes, written_off_at)
    dead_at = within(wanted, ranges_of(sorted(dead)))
    lacking = without(wanted, dead_at)
    missing_at = up_to(lacking, bound)
    stored = look.answered - count(look.holes)
    return Account(
        source=look.source,
        answered=look.answered,
        acknowledged=max(look.acknowledged, stored),  # What a gateway tells, once a second, is behind what it does.
        stored=stored,
        in_flight=count(lacking) - count(missing_at),
        dead=count(dead_at),
        missing=count(missing_at),
        put_aside=look.put_aside,
        oldest_s=look.oldest_s,
        course=look.course,
        dead_at=dead_at,
        missing_at=missing_at,
        written_off=count(written_off_at),
        written_off_at=written_off_at,
        heard_s=look.heard_s,
    )


def _sum(accounts: Sequence[Account]) -> Account:
    counts = {one.name: sum(getattr(a, one.name) for a in accounts) for one in fields(Account) if one.type is int}
    return Account(TOTAL, **counts, oldest_s=max((one.oldest_s for one in accounts), default=0.0))
