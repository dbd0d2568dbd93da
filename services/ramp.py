"""How a student takes a task over step by step, as the task's YAML says: its key `ramp`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Guards(_Part):
    """What ends a climb whatever the answers are worth. Each must surely be broken, not by a few calls' bad luck."""

    failed: float = Field(0.02, gt=0, lt=1)
    """The part of the calls, at most, about which the student says nothing: errors, and answers that are too late."""
    invalid: float = Field(0.1, gt=0, lt=1)
    """The part of its answers, at most, that the validators refuse."""
    p95_ms: int | None = Field(None, ge=1)
    """Milliseconds in which 95 of 100 of its answers must be there. None asks for nothing."""
    p99_ms: int | None = Field(None, ge=1)
    """Milliseconds in which 99 of 100 must be there. None is the task's `latency_budget_ms`."""
    cost: float = Field(1.0, gt=0, le=2)
    """What a call may cost at most, in parts of what the teacher alone costs; a teacher who is asked behind counts."""
    complaints: float = Field(0.05, gt=0, lt=1)
    """By how much, at most, the part of the student's answers that callers correct or rate below 0 may be above the
    teacher's."""


class Ramp(_Part):
    """From unseen to all calls. With `ramp: {}` a promotion by a report begins with the student unseen."""

    stages: tuple[float, ...] = (0.01, 0.05, 0.25, 1.0)
    """The student's parts of the calls, one after the other."""
    shadow: float = Field(1.0, gt=0, le=1)
    """The part of the calls about which it is asked unseen before the first stage."""
    margin: float = Field(0.02, ge=0, lt=1)
    """By how much its part of wrong answers may be above the teacher's. At 0 only one that is surely better goes on;
    half the margin needs about four times as many pairs. With `proof: teacher` the error ceiling takes its place."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """The probability, at most, that a student worse than that gets a larger part, over all looks, kinds and stages."""
    least_pairs: int = Field(200, ge=1)
    """Pairs of answers at a stage, of each kind, before it may be left upwards."""
    least_s: float = Field(3600.0, ge=0)
    """Seconds at a stage before it may be left upwards: an hour, as some faults need time to show."""
    setbacks: int = Field(2, ge=0)
    """How often a kind may be set back and climb again; then it stays with the teacher until another student comes."""
    truth: Literal["drawn", "all"] = "drawn"
    """Whose word on an answer counts. `drawn`: golden examples, and feedback with the metric `audit` above 0, by people
    who judge answers that were drawn by lot. `all`: every feedback; as people mostly correct what they are shown, which
    is the teacher's while the student is unseen, this favours the student."""
    by_kind: bool = True
    """Whether each kind of request (its tag `kind`) climbs by itself."""
    least_share: float = Field(0.05, gt=0, le=0.5)
    """The part of the calls from which on a kind climbs by itself; the others do so together."""
    per_group: int = Field(1, ge=0)
    """Pairs of one group key that count, a day: those of one customer are alike, and prove less than they seem to. 0
    counts all, for tasks with few customers."""
    guards: Guards = Guards()

    @field_validator("stages")
    @classmethod
    def _ascend_to_all(cls, stages: tuple[float, ...]) -> tuple[float, ...]:
        if not stages or stages[0] <= 0 or stages[-1] != 1 or sorted(set(stages)) != list(stages):
            raise ValueError("must ascend from above 0 to 1, as [0.01, 0.05, 0.25, 1.0]")
        return stages
