"""How a student takes a task over, from unseen to all calls, and back: the decisions; pure.

Each kind of request climbs by itself. At each stage it begins to count anew, so nothing that was so earlier carries it
on. It goes up one stage when it is sure that its answers are no worse than allowed, back one when it is sure that they
are worse, and back unseen when they are much worse; else it stays. "Sure" is an anytime-valid evidence of 1 / level.

How often it errs. A student that is worse than allowed goes up at all, over all kinds, stages and looks, with a
probability of at most `alpha`. The kinds share it evenly. The stages need not: a student that is worse throughout a
stage leaves it upwards with at most that probability, and what does not leave it comes to no further one. Only setbacks
give further tries, so the first try has 4/5 of it, the next 4/5 of what is left, and so on. Apart from it, with that
probability for each stage, a kind that is not worse is set back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Final

from protos import events_pb2 as events
from services.controller.confidence import Sample
from services.controller.promotions import TEACHER_ONLY
from services.ramp import Ramp

FIRST_TRY: Final = 0.8
"""Of what is left of alpha, each try's part: a further setback is rare, and the first try shall not be slow for it."""
MUCH: Final = 0.05
"""Worse by so much more than allowed, a kind goes back unseen at once: five answers in a hundred."""


class Move(Enum):
    """What becomes of a climb."""

    HOLD = "stays"
    ADVANCE = "goes up"
    FINISH = "has all"
    ROLL_BACK = "goes back"


@dataclass(frozen=True)
class Claim:
    """That the mean of a sample is at most `bound`, and how to tell of it."""

    told: str
    sample: Sample
    bound: float
    unit: str = "%"
    hard: bool = False  # of a guard: where it is broken the teacher alone answers

    def holds(self, level: float) -> bool:
        """Whether it surely holds."""
        return self.sample.log_below(self.bound) >= -math.log(level)

    def broken(self, level: float, by: float = 0.0) -> bool:
        """Whether it surely does not, at the end at least; `by`: not by so much."""
        bound = self.bound + by
        return bound < self.sample.high and self.sample.log_above_lately(bound) >= -math.log(level)

    def figures(self, level: float) -> str:
        """Mean and confidence sequence, beside what is allowed."""
        if not self.sample.n:
            return f"{self.told}: nothing yet"
        middle, low, high = (f"{100 * x:.1f}" for x in self._ends(level))
        return f"{self.told} {middle} {self.unit} [{low}, {high}] of {self.sample.n:,}, {100 * self.bound:.3g} allowed"

    def _ends(self, level: float) -> tuple[float, float, float]:
        return self.sample.mean + 0.0, self.sample.lower(level) + 0.0, self.sample.upper(level) + 0.0


@dataclass(frozen=True)
class Climb:
    """How far a kind of request has come, and what was seen of it there."""

    kind: str  # "" are all others
    share: float  # the student's part now; 0: unseen
    since: datetime
    setbacks: int  # of this student, so far
    proof: Claim  # must hold to go on
    limits: tuple[Claim, ...] = ()  # must not be broken, as little as the proof
    crowded: bool = False  # there were more pairs than are read, so these are not all since then


@dataclass(frozen=True)
class Decision:
    """What to do, by which policy to serve from now on (None: as before), and why."""

    move: Move
    policy: events.Policy | None
    reason: str


def decide(
    ramp: Ramp, final: events.Policy, climbs: Sequence[Climb], guards: Sequence[Claim], now: datetime
) -> Decision:
    """What comes next. `final`: what the report supports, at the end of the climb."""
    broken = [guard for guard in guards if guard.broken(ramp.alpha / len(guards))]
    if broken:
        return _guarded(ramp, final, climbs, broken, ramp.alpha / len(guards))
    level = ramp.alpha / len(climbs)
    moves = [(climb, _move(ramp, climb, level, now)) for climb in climbs]
    back = any(move is Move.ROLL_BACK for move, _ in (made for _, made in moves))
    # One thing at a time: while one kind goes back no other goes up.
    moves = [
        (climb, (Move.HOLD, why) if back and move is Move.ADVANCE else (move, why)) for climb, (move, why) in moves
    ]
    moved = [_moved(ramp, climb, move, level) for climb, (move, _) in moves]
    reason = "; ".join(
        _told(before, after, why) for before, after, (_, (_, why)) in zip(climbs, moved, moves, strict=True)
    )
    return _decision(ramp, final, climbs, moved, reason)


def policy(ramp: Ramp, final: events.Policy, climbs: Sequence[Climb]) -> events.Policy:
    """By which the kinds are served at their shares. Kinds that nobody climbs for go with the slowest."""
    shares = {climb.kind: climb.share for climb in climbs}
    if all(share == 1 for share in shares.values()):
        return final
    if not any(shares.values()):
        return events.Policy(kind=events.POLICY_KIND_SHADOW, share=ramp.shadow, min_confidence=final.min_confidence)
    others = shares.pop("", min(shares.values(), default=0.0))
    return events.Policy(
        kind=events.POLICY_KIND_SHARE, share=others, min_confidence=final.min_confidence, share_of_kind=shares
    )


def stage(ramp: Ramp, share: float) -> int:
    """How many stages were taken: 0 is unseen. A share between two, which a person may have set, is at the lower."""
    return sum(one <= share for one in ramp.stages)


def share_at(ramp: Ramp, number: int) -> float:
    """The student's part after so many stages."""
    return ramp.stages[number - 1] if number > 0 else 0.0


def level_of_try(level: float, setbacks: int) -> float:
    """What of `level` a further try may use; all tries together use it up."""
    return level * FIRST_TRY * (1 - FIRST_TRY) ** setbacks


def _move(ramp: Ramp, climb: Climb, level: float, now: datetime) -> tuple[Move, str]:
    """What becomes of one climb, and why."""
    claims = (climb.proof, *climb.limits)
    if worse := next((claim for claim in claims if claim.broken(level / len(claims))), None):
        told = f"surely too much: {worse.figures(level / len(claims))}"
        return (Move.ROLL_BACK if climb.share else Move.HOLD), told
    level = level_of_try(level, climb.setbacks)
    told = climb.proof.figures(level)
    if climb.share == 1:
        return Move.HOLD, told
    if wait := _waits_for(ramp, climb, level, now):
        return Move.HOLD, f"{wait}: {told}"
    return Move.ADVANCE, told


def _waits_for(ramp: Ramp, climb: Climb, level: float, now: datetime) -> str:
    """What a climb waits for that may go up; '' if for nothing."""
    if climb.setbacks > ramp.setbacks:
        return f"set back {climb.setbacks} times, so another student or a person must come"
    if (lacking := ramp.least_pairs - climb.proof.sample.n) > 0:
        return f"waits for {lacking:,} more pairs"
    if (wait_s := ramp.least_s - (now - climb.since).total_seconds()) > 0:
        return f"waits for {wait_s:,.0f} s more"
    if climb.crowded:
        return "so many pairs did not settle it, so a person must decide"
    return "" if climb.proof.holds(level) else "not sure yet"


def _moved(ramp: Ramp, climb: Climb, move: Move, level: float) -> Climb:
    """The climb after its move."""
    at = stage(ramp, climb.share)
    if move is Move.ADVANCE:
        return replace(climb, share=share_at(ramp, at + 1))
    if move is not Move.ROLL_BACK:
        return climb
    claims = (climb.proof, *climb.limits)
    much = any(claim.broken(level / len(claims), MUCH) for claim in claims)
    for_good = climb.setbacks >= ramp.setbacks
    return replace(climb, share=0.0 if much or for_good else share_at(ramp, at - 1))


def _guarded(
    ramp: Ramp, final: events.Policy, climbs: Sequence[Climb], broken: Sequence[Claim], level: float
) -> Decision:
    """Guards are of all kinds together, and so is what follows."""
    why = "; ".join(guard.figures(level) for guard in broken)
    if not any(climb.share for climb in climbs):
        return Decision(Move.HOLD, None, f"nothing goes up while a guard is broken: {why}")
    if any(guard.hard for guard in broken):
        return Decision(Move.ROLL_BACK, TEACHER_ONLY, f"back to the teacher alone, as a guard is broken: {why}")
    moved = [replace(climb, share=share_at(ramp, stage(ramp, climb.share) - 1)) for climb in climbs]
    told = "; ".join(_told(before, after, "") for before, after in zip(climbs, moved, strict=True))
    return Decision(Move.ROLL_BACK, policy(ramp, final, moved), f"{told}, as a guard is broken: {why}")


def _decision(
    ramp: Ramp, final: events.Policy, before: Sequence[Climb], after: Sequence[Climb], reason: str
) -> Decision:
    shares = [(one.share, other.share) for one, other in zip(before, after, strict=True)]
    if all(old == new for old, new in shares):
        return Decision(Move.HOLD, None, reason)
    if any(new < old for old, new in shares):
        return Decision(Move.ROLL_BACK, policy(ramp, final, after), reason)
    finished = all(new == 1 for _, new in shares)
    return Decision(Move.FINISH if finished else Move.ADVANCE, policy(ramp, final, after), reason)


def _told(before: Climb, after: Climb, why: str) -> str:
    name = f"kind {before.kind}: " if before.kind else ""
    move = f"{_part(before.share)} -> {_part(after.share)}" if before.share != after.share else _part(before.share)
    return f"{name}{move}{f', {why}' if why else ''}"


def _part(share: float) -> str:
    return f"{100 * share:g} %" if share else "unseen"
