"""A task: loaded from YAML, checked, and what follows from it for prompts, splits and money. Pure but for `load`."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

import xxhash
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import strata
from services.ramp import Ramp
from services.settings import problems
from services.validators import Validator

ROLE_NAMES: Final = {
    inference.ROLE_SYSTEM: "system",
    inference.ROLE_USER: "user",
    inference.ROLE_ASSISTANT: "assistant",
    inference.ROLE_TOOL: "tool",
}
TOKENS_PER_PRICE: Final = Decimal(1_000_000)
DEFAULT_DAYS: Final = 400
"""The TTL of the tables as they are created."""
CENT_FRACTION: Final = Decimal("0.00000001")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Prices(_Part):
    """Dollars per million tokens."""

    input_usd_per_million: Decimal = Field(ge=0)
    output_usd_per_million: Decimal = Field(ge=0)

    def cost(self, usage: inference.Usage) -> Decimal:
        """Dollars for one answer."""
        read = self.input_usd_per_million * usage.prompt_tokens
        written = self.output_usd_per_million * usage.completion_tokens
        return ((read + written) / TOKENS_PER_PRICE).quantize(CENT_FRACTION)


class Teacher(_Part):
    """The large model. Where it is and its key come from the gateway's environment."""

    model: str
    prices: Prices
    may_be_trained_on: bool
    """Whether its licence lets a model be trained on its answers; a run is refused where it does not."""
    stall_s: float | None = Field(None, gt=0)
    """After how long without a piece of a stream, the first one too, the student takes over where it serves. Without
    it the gateway learns it: 3 times the usual time to the first piece, and the usual longest gap, 1 s at least."""


class PromptRule(StrEnum):
    """What of a request the student sees."""

    LAST_USER_MESSAGE = "last_user_message"
    TRANSCRIPT = "transcript"


class Student(_Part):
    """The small model."""

    prompt: PromptRule = PromptRule.LAST_USER_MESSAGE
    max_tokens: int = Field(128, ge=1, le=8192)
    timeout_s: float = Field(5.0, gt=0)
    """How long the gateway waits for it before it asks the teacher."""
    stall_s: float | None = Field(None, gt=0)
    """The same as the teacher's, which then takes over."""
    prices: Prices
    training: str = "auto"
    """A training config: a name in training/configs or a path. `auto` fits several kinds of student, and one is chosen;
    a file of yours with a list `candidates` does, too."""
    overrides: dict[str, Any] = {}
    """Keys of that config to change."""
    training_usd_per_hour: Decimal | None = Field(None, ge=0)
    """Dollars that an hour of all machines that train costs. With it the report tells what training cost, and after how
    many days of the task's traffic that has paid for itself."""


class Limits(_Part):
    """What a request may be; above, INVALID_ARGUMENT names the field and the limit, but for the answer's length."""

    max_input_bytes: int = Field(32_768, ge=1)
    max_messages: int = Field(256, ge=1)
    max_completion_tokens: int = Field(1_024, ge=1)
    """Of an answer; a request's `max_tokens` above it is lowered to it, not refused."""


class SplitShares(_Part):
    """Which parts of the group keys are set aside; the rest may be trained on."""

    golden: float = Field(0.1, ge=0, lt=1)
    eval: float = Field(0.1, gt=0, lt=1)


class Strata(_Part):
    """Sorts of examples, of which none shall drown the others."""

    by: strata.Rule = "answer"
    """What names the sort: the answer's structure (the label, the keys of the JSON object, the length of the text), the
    request's tag `kind`, or nothing."""
    per_day: int = Field(0, ge=0)
    """About so many of each sort are kept a day by each worker of the sampler; 0 keeps all that `rate` does."""
    per_snapshot: int = Field(0, ge=0)
    """At most so many of each sort are in a snapshot's train, those from people aside; 0 takes all."""


class Novelty(_Part):
    """Which questions are unlike all before them, and so hard cases."""

    embedder: str = ""
    """What makes a vector of a text, as module:function: `services.sampler.minilm:embedder`, say, with the extra
    `novelty`; some milliseconds a question. Empty looks for nothing."""
    similarity: float = Field(0.7, gt=0, lt=1)
    """The cosine from which on a question counts as like another one."""


class Sampling(_Part):
    """What the sampler keeps, what a snapshot takes of it, and how much starts a run."""

    rate: float = Field(1.0, gt=0, le=1)
    hard_weight: float = Field(1.0, ge=1)
    """How many times as likely a hard case is kept where not all are, by stream and snapshot together: the student had
    answered otherwise, had failed the validators or had not been sure; or the question is novel."""
    novelty: Novelty = Novelty()
    weigh: Literal["traffic", "alike"] = "traffic"
    """What an example counts in training: 1 / the probability of its having been chosen, as in the traffic; or all
    alike, which leaves rare sorts and hard cases as frequent as they were sampled. What chooses the threshold always
    counts as in the traffic."""
    split: SplitShares = SplitShares()
    near_duplicate: float = Field(0.9, gt=0.5, le=1)
    """From which similarity on two questions with the same answer count as one; 1 leaves all but equal ones apart."""
    near_duplicates_in_stream: bool = False
    """Whether the sampler leaves near-duplicates out already. A snapshot does in any case, and sees those of all
    workers and days; this keeps topic and table small where many are asked, for 20 us of the sampler's 80 an event."""
    strata: Strata = Strata()
    run_at_candidates: int = Field(0, ge=0)
    """New training candidates that start a run by themselves; 0 never does."""


class Redaction(_Part):
    """What personal data is taken out of train and eval before a student learns from them. The golden set, which is
    never trained on, stays as it is."""

    kinds: tuple[Literal["email", "phone", "card", "iban"], ...] = ()
    patterns: dict[str, str] = {}
    """Further sorts by a regular expression: {"account": "ACC-[0-9]{8}"}."""
    phone_regions: tuple[str, ...] = ("US",)
    """Where numbers without a country's code are from: ISO 3166 codes."""
    recogniser: str = ""
    """A function that finds names, say, as module:function: it takes a text and yields pairs (sort, value)."""
    replace_by: Literal["surrogate", "mark"] = "surrogate"
    """Another value of the same shape, the same one throughout an example; or a mark, "[EMAIL]"."""

    @property
    def active(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self.kinds or self.patterns or self.recogniser)

    @field_validator("patterns")
    @classmethod
    def _can_be_read(cls, patterns: dict[str, str]) -> dict[str, str]:
        for name, pattern in patterns.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{name}: {error}") from error
        return patterns


class Retention(_Part):
    """For how many days ClickHouse keeps the task's rows, from when they were inserted."""

    exchanges_days: int = Field(DEFAULT_DAYS, ge=1, le=36_500)
    feedback_days: int = Field(DEFAULT_DAYS, ge=1, le=36_500)
    candidates_days: int = Field(DEFAULT_DAYS, ge=1, le=36_500)


class Hedging(_Part):
    """Asking the second backend while the first is still at it, where that one is slow. It costs what both ask for."""

    after_ms: int | None = Field(None, ge=1)
    """How long the first has said nothing by then. Without it, longer than 95 % of its calls of the last minute."""
    most: float = Field(0.05, gt=0, le=1)
    """Hedges of the last minute as a share of its calls: where all are slow, asking twice makes all slower."""


class Compare(_Part):
    """How many calls are asked of both, so that drift is noticed also where one alone answers."""

    share: float = Field(0.01, ge=0, le=1)
    """Of the calls of a task that a student serves, whoever answers them: the part about which the other one is asked
    afterwards, unseen. At 0.01 that costs a hundredth of what the teacher alone did; 0 asks nobody. Under the policy
    shadow the policy's own share counts."""


class Cascade(_Part):
    """What the answers of a cascade may err, and with which confidence that must be known."""

    risk: float = Field(gt=0, lt=1)
    """The part of the answers that may be wrong, at most: 0.04."""
    confidence: float = Field(0.95, ge=0.5, lt=1)
    """How sure that must be each time the threshold is set."""
    of: Literal["all", "kept"] = "all"
    """Of which answers: of all that callers get, the teacher's among them, or of those that the student gives."""


class Cache(_Part):
    """Answers that are given again to who asks exactly the same, from the gateway's memory: each process has its own.

    Whoever asks in the same words meanwhile waits for the one answer, too. Only whole answers are kept, and none of
    them outlives the promotion under which it was given.
    """

    ttl_s: float = Field(gt=0, le=86_400)
    """An erasure does not reach into the gateway's memory, so a day is the most."""
    max_bytes: int = Field(64 * 1024**2, ge=1024)
    """Of all answers that are kept, with a kilobyte for each; what was not asked for longest goes first."""
    per_group: bool = True
    """Whether each API key and group_key has answers of its own. Where all may share them, how fast an answer comes
    tells that somebody has asked the same before."""
    sampled: bool = False
    """Whether also answers to requests that ask for a temperature above 0 are kept, which else are drawn anew."""


class Task(_Part):
    """A named kind of request. One YAML file of these fields defines it; unknown keys are an error."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    description: str = ""
    instructions: str = ""
    """Sent to the teacher as the system message where a request has none. Never sent to the student."""
    answer: Literal["json", "label", "text"]
    teacher: Teacher
    student: Student
    error_ceiling: float = Field(gt=0, lt=1)
    """The part of the answers that may be wrong."""
    proof: Literal["people", "teacher"] = "people"
    """Whose answers may promote a student. Without a golden set it is measured against the teacher's own answers to
    requests set aside; `teacher` lets that be enough."""
    latency_budget_ms: int = Field(10_000, ge=1)
    """Where a caller sets no deadline."""
    hedging: Hedging | None = None
    """Off unless it is given; `hedging: {}` takes the defaults."""
    limits: Limits = Limits()
    validators: tuple[Validator, ...] = ()
    sampling: Sampling = Sampling()
    cache: Cache | None = None
    """Nothing is kept without it."""
    coalesce: bool = False
    """Whether calls that ask exactly the same at the same time share one answer, also where none is kept."""
    redaction: Redaction = Redaction()
    compare: Compare = Compare()
    cascade: Cascade | None = None
    """Without it the threshold is the one that the report proves."""
    retention: Retention = Retention()
    ramp: Ramp | None = None
    """Without it a student whose report supports it has all calls at once."""

    @property
    def answers_vary(self) -> bool:
        """Whether two good answers to one question hardly ever are the same, so that another one tells nothing."""
        return self.answer == "text"

    @model_validator(mode="after")
    def _shares_leave_something_to_train_on(self) -> "Task":
        if self.sampling.split.golden + self.sampling.split.eval >= 1:
            raise ValueError("sampling.split: golden + eval must be below 1, or nothing is left to train on")
        return self

    @model_validator(mode="after")
    def _a_cascades_answers_can_be_judged(self) -> "Task":
        if self.cascade and self.answers_vary:
            raise ValueError("cascade: needs answers that can be compared with the right one: json or label, not text")
        return self

    @model_validator(mode="after")
    def _a_ramp_can_compare_answers(self) -> "Task":
        if self.ramp and self.answers_vary:
            raise ValueError(
                "ramp: needs answers that can be compared, so `answer` must be json or label: leave it out"
            )
        return self


def load(directory: Path, named_by: str = "TASKS_DIR") -> dict[str, Task]:
    """Every task defined by a `*.yaml` in `directory`, by name. Raises ValueError naming the file and the key.

    `named_by`: the setting or flag that names the folder.
    """
    if not directory.is_dir():
        raise ValueError(f"no tasks: there is no folder {directory}; set {named_by}")
    tasks = [_load_one(path) for path in sorted(directory.glob("*.yaml"))]
    if not tasks:
        raise ValueError(f"no tasks: {directory} holds no *.yaml file; set {named_by}")
    return {task.name: task for task in tasks}


def _load_one(path: Path) -> Task:
    try:
        task = Task.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ValueError(f"{path}: {problems(error)}") from error
    except (UnicodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error
    if task.name != path.stem:
        raise ValueError(f"{path}: name is {task.name!r}; it must be the file's, {path.stem!r}")
    return task


def question(request: inference.Request) -> str:
    """The last user message's text, '' where there is none."""
    return next((m.content for m in reversed(request.messages) if m.role == inference.ROLE_USER), "")


def stratum(task: Task, kind: str, answer: str) -> str:
    """Which sort of example that is, by the task's rule."""
    return strata.stratum(task.sampling.strata.by, task.answer, kind, answer)


def student_prompt(task: Task, request: inference.Request) -> str:
    """The exact text that the student reads, in training as in serving. Ends with a line feed, before the answer."""
    if task.student.prompt is PromptRule.LAST_USER_MESSAGE:
        return f"{question(request).strip()}\n"
    tools = [f"tool {tool.name}: {tool.parameters}" for tool in request.tools]
    turns = [f"{ROLE_NAMES[m.role]}: {answer_text(m)}" for m in request.messages if m.role in ROLE_NAMES]
    return "\n".join([*tools, *turns, "assistant:"]) + "\n"


def answer_text(message: inference.Message) -> str:
    """A message's content, or its tool calls as one JSON text."""
    if not message.tool_calls:
        return message.content
    calls = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
    return json.dumps({"tool_calls": calls}, ensure_ascii=False, separators=(",", ":"))


def meaning(answer: str) -> object:
    """What an answer is compared by: JSON by its value, another text without outer space."""
    try:
        value: object = json.loads(answer)
    except (ValueError, RecursionError):
        return answer.strip()
    return value


def split(shares: SplitShares, group_key: str) -> events.Split:
    """Which side of the wall a group stands on. The same for ever: a stable hash, before any selection."""
    place = fraction(group_key, salt="split")
    if place < shares.golden:
        return events.SPLIT_GOLDEN
    return events.SPLIT_EVAL if place < shares.golden + shares.eval else events.SPLIT_TRAIN


def fraction(key: str, salt: str) -> float:
    """A number from 0 to below 1 that depends on the key and the salt alone; other salts give independent ones."""
    return xxhash.xxh3_64_intdigest(f"{salt}\x00{key}".encode()) / 2**64


def by_name(tasks: Mapping[str, Task], name: str) -> Task:
    """The task of that name. Raises KeyError with the names that exist."""
    if name not in tasks:
        raise KeyError(f"task {name!r} is not defined; defined are {', '.join(sorted(tasks))}")
    return tasks[name]
