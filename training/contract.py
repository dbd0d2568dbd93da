"""What a caller of training needs to know: the dataset's shape, the job, the progress lines, the report.

Imports neither torch nor ray, so that the controller, which imports this module alone, carries neither.

A dataset directory holds `manifest.json`, `train.parquet`, `eval.parquet` and `golden.parquet`, and may hold
`preferences.parquet`, with the columns named below. An output directory ends with `model/` (merged weights in Hugging
Face layout, `training.yaml` beside them), `triton/` (the files of one Triton model version), `report.json`,
`report.html`, `eval.json` (what the student said to the eval split, judged), `golden.json` (which golden examples it
got wrong), `checkpoints/` and `train.jsonl` (one `Progress` a line). Where likely wrong answers were not to be kept,
there are `doubts-<what was wanted>.json` (what became of them) and `opinions.jsonl` (what a second teacher said).

A config with `candidates` fits several students. Each has a directory like this one, `candidates/<name>/`; the outer
one ends with the chosen one's `model/` and `triton/`, and a report that shows all of them.

Start a job with `python -m training.launch JOB.json`. It may be started again at any time: a second launcher waits
for the first, a finished job exits 0 at once, an interrupted one goes on from its last checkpoint. Before there is a
job, `python -m training.check` tells what is wrong with a config.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.validators import Validator
from training.manifest import Manifest

EXAMPLE_COLUMNS = {
    "id": "string",
    "prompt": "string",  # the exact text that the student sees
    "completion": "string",  # the answer to learn
    "question": "string",  # the caller's last message, which validators look at
    "kind": "string",  # a tag to score by; may be empty
    "weight": "double",  # 1 / probability of having been chosen
    "corrected": "bool",  # a person confirmed or wrote the completion
    "teacher_answer": "string",
}
"""Columns of train.parquet and eval.parquet, with their Arrow types."""

PREFERENCE_COLUMNS = {
    "id": "string",
    "prompt": "string",  # the exact text that the student sees
    "chosen": "string",  # the answer that a person prefers
    "rejected": "string",
    "why": "string",  # correction: a person wrote the better one; rating: they liked one and disliked the other
    "split": "string",  # train or eval
    "kind": "string",
}
"""Columns of preferences.parquet, which may hold no row, with their Arrow types."""

GOLDEN_COLUMNS = {
    "id": "string",
    "prompt": "string",
    "question": "string",
    "truth": "string",  # what a person decided
    "kind": "string",
    "group_key": "string",
    "teacher_answer": "string",
    "teacher_latency_us": "int64",
    "teacher_cost_usd": "string",  # a decimal text, exact
    "teacher_prompt_tokens": "int64",
    "teacher_completion_tokens": "int64",
}
"""Columns of golden.parquet, with their Arrow types."""

AnswerKind = Literal["json", "label", "text"]
Doubtful = Literal["keep", "leave_out", "down_weight", "relabel"]
"""What becomes of a teacher's answers that are likely wrong; see `settling`."""
Stage = Literal["load", "settle", "search", "train", "merge", "export", "evaluate", "report", "done"]


class Frozen(BaseModel):
    """A value that cannot be changed and refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Truth = Literal["people", "teacher"]
"""Whose answers count as right in golden.parquet."""


class Job(Frozen):
    """One fine-tuning to be done.

    `config` is a training configuration as in `training/configs/*.yaml`; its key `from` may name one of those files
    (or a path), over which the other keys are laid.
    """

    task: str
    dataset: Path
    output: Path
    config: dict[str, Any] = Field(default_factory=lambda: {"from": "smollm2-135m-cpu"})
    answer_kind: AnswerKind
    validators: list[Validator] = []
    student_input_usd_per_million: Decimal  # dollars per million prompt tokens
    student_output_usd_per_million: Decimal  # dollars per million answer tokens
    max_tokens: int = Field(gt=0)  # an answer is cut there
    error_ceiling: float = Field(gt=0, lt=1)  # the share of wrong answers that the task's owner accepts
    truth: Truth = "people"
    look: int = Field(1, ge=1)  # the how manieth decision on this golden set the report is for; see `proof`
    among: int = Field(1, ge=1)  # how many students that decision is among, as far as the golden set makes it
    description: str = ""  # of the task, for people
    instructions: str = ""  # what the teacher is told where a request has no instructions; a second teacher is, too
    teacher_proves: bool = False  # whether agreeing with the teacher may promote a student, where `truth` is its
    requests_per_day: float | None = Field(None, ge=0)  # the task's traffic; None: nobody knows
    training_usd_per_hour: Decimal | None = Field(None, ge=0)  # all machines that train together; None: nobody said


class Progress(Frozen):
    """One line of `train.jsonl`. Step figures are there in the stage `train`, `done` and `total` in `evaluate`."""

    stage: Stage
    at: float  # Unix seconds
    message: str = ""
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    tokens_per_s: float | None = None
    done: int | None = None
    total: int | None = None
    eta_s: float | None = None


class FieldScore(Frozen):
    """How one field of structured answers, or one label, fared. Bounds are 95 % intervals."""

    precision: float
    recall: float
    f1: float
    f1_low: float = 0.0
    f1_high: float = 1.0
    credit: float | None = None  # mean share of the field's words that are right, where truth or answer has it; 0 to 1


class Confused(Frozen):
    """How often a label was taken for another, or rightly for itself."""

    truth: str
    answer: str
    n: int


class KindScore(Frozen):
    """The share of wrong answers within one kind, with its 95 % interval."""

    n: int
    error: float
    error_low: float
    error_high: float


class Amount(Frozen):
    """A mean of dollars or milliseconds with its 95 % interval; None where too little was seen to give one."""

    value: float
    low: float | None = None
    high: float | None = None


class Score(Frozen):
    """What one way of answering reached on the golden set. Bounds are 95 % intervals."""

    error: float
    error_low: float
    error_high: float
    p50_ms: float
    p99_ms: float
    usd_per_million: float  # dollars per million requests
    prompt_tokens: float  # mean per request, over all models asked
    completion_tokens: float
    teacher_share: float  # share of requests that the teacher answered
    fields: dict[str, FieldScore] = {}
    labels: dict[str, FieldScore] = {}  # of a task that names labels
    confusion: list[Confused] = []  # the commonest first
    kinds: dict[str, KindScore] = {}
    latency_quantiles_ms: list[float] = []  # 101 of them: 0 %, 1 %, ... 100 %
    cost: Amount | None = None  # usd_per_million with its interval
    mean_ms: Amount | None = None
    saved: Amount | None = None  # dollars per million requests less than the teacher's, of the same requests


class Difference(Frozen):
    """A difference of two figures over the same examples, with its 95 % interval unless a level is named."""

    difference: float
    low: float
    high: float


class Figure(Frozen):
    """A share, or a mean of values from 0 to 1, over `n` examples with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


class Metric(Frozen):
    """One way of looking at the answers, beside the error that decides; more is better. The differences are paired."""

    name: str
    what: str  # is counted, for people
    teacher: Figure
    student: Figure
    cascade: Figure
    student_minus_teacher: Difference
    cascade_minus_teacher: Difference


class Paired(Frozen):
    """Below zero: fewer errors than the teacher."""

    cascade_minus_teacher: Difference
    student_minus_teacher: Difference


class Interval(Frozen):
    """An error share with its bounds."""

    error: float
    low: float
    high: float


class Proof(Frozen):
    """What a verdict goes by: the errors with intervals so wide that many decisions on one golden set, too, promote a
    student wrongly in 5 % of all cases at most.
    """

    look: int  # 1, 2, 3 ...
    level: float  # of the intervals, two-sided
    teacher: Interval
    student: Interval
    cascade: Interval
    paired: Paired


class Leaks(Frozen):
    """Golden examples that stand among the rows learnt or tuned on, too, and so prove nothing: none of them counts."""

    questions: int = 0  # the same question, case and white space aside
    near: int = 0  # nearly the same question, with the same answer or of free texts any
    groups: int = 0  # their customer or conversation is learnt from


class Judgement(Frozen):
    """What a language model that was asked to judge thinks of the student's answers beside the teacher's.

    Each pair is asked twice, with the answers' places changed; only a preference that stays is one, all else is a tie.
    """

    judge: str  # the model's name
    pairs: int
    wins: int  # the student's answer was preferred
    ties: int
    losses: int
    preferred: Figure  # mean of 1 for a win, 1/2 for a tie, 0 for a loss
    first_place: Figure  # share of the preferences that go to whatever stands first: 1/2 without a bias
    steady: Figure  # share of the pairs whose two verdicts agree
    agreement: Figure | None = None  # as `preferred`, for answers that people preferred: 1/2 is what chance reaches
    unanswered: int = 0  # pairs that it gave no readable verdict on
    why: str = ""  # the first of these failed


class Bin(Frozen):
    """Answers that the student was about equally sure of. Bounds are 95 % intervals."""

    n: int
    sure: float  # mean probability that it gave them, 0 to 1
    right: float  # share
    low: float
    high: float


class Calibration(Frozen):
    """Whether the student's confidence is the share of its right answers, and whether it tells right from wrong.

    A confidence is the probability of the least likely part of an answer: a token, a tag, or the label.
    """

    bins: list[Bin]  # the least sure first
    mean_sure: float
    mean_right: float
    error: float  # mean distance of confidence and share right over the bins, by their answers: 0 to 1
    by_chance: float  # what `error` stays below in 95 % of cases where confidences are true
    ranks: Figure | None = None  # how often a right answer is surer than a wrong one; None: there is none of either


class CurvePoint(Frozen):
    """One point of the learning curve. `eval_loss` is None between evaluations."""

    step: int
    train_loss: float
    eval_loss: float | None
    tokens_per_s: float


class ThresholdRow(Frozen):
    """What the eval split says a threshold would do."""

    threshold: float
    kept: float  # share of requests that the student would answer
    error: float  # estimated error of the cascade
    error_se: float  # standard error of that estimate


class Mistake(Frozen):
    """A golden example that the student got wrong."""

    question: str
    truth: str
    answer: str
    confidence: float
    kind: str
    kept: bool  # whether the cascade would have let it through


StudentKind = Literal["causal", "tagger", "classifier"]
"""It writes the answer, takes it out of the text, or names a label."""


class Opinions(Frozen):
    """What a second teacher said of answers that are likely wrong."""

    teacher: str  # the model's name
    asked: int
    agreed: int  # with the teacher
    differed: int
    failed: int  # nothing came, or it was not asked any more as nothing came
    why: str = ""  # the first of these failed


class Helped(Frozen):
    """What a linear student errs on in the golden set, taught the answers as given and taught them as settled."""

    given: Interval
    settled: Interval
    settled_minus_given: Difference  # below zero: it helped


class Doubted(Frozen):
    """What became of the teacher's answers that are likely wrong, and whether that helped."""

    wanted: Doubtful
    rows: int  # that were looked at, those of people aside
    judged: bool = True  # by linear students, too, and not by validators alone
    why: dict[str, int]  # answers by the reason of the doubt
    kept: int = 0  # as a second teacher says the same
    relabelled: int = 0
    left_out: int = 0
    down_weighted: int = 0
    opinions: Opinions | None = None  # None: no second teacher was asked
    helped: Helped | None = None
    unmeasured: str = ""  # why `helped` is not known


class Candidate(Frozen):
    """One of the students that a run fitted. Its whole report is `candidates/<name>/report.json`."""

    name: str  # of its training config
    kind: StudentKind
    base_model: str
    engine: str
    train: int
    left_out: dict[str, int]
    threshold: float
    student: Score
    cascade: Score
    on_eval: ThresholdRow  # what the eval split says of its cascade, by which the choice is made
    seconds: float  # from its start to its report
    calibration: Calibration | None = None


class Preferences(Frozen):
    """What learning from pairs of answers did to held-out pairs. Margins are in nats: by how much likelier the student
    holds the preferred answer than the other.
    """

    pairs: int = 0  # learnt from
    held_out: int = 0
    preferred_before: float = 0.0  # share of held-out pairs whose preferred answer was the likelier one
    preferred_after: float = 0.0
    margin_gain: Difference | None = None  # after less before
    why: str = ""  # nothing was learnt, or can be said


class Forgetting(Frozen):
    """How well the student still predicts texts that have nothing to do with its task."""

    source: str  # what the texts are
    texts: int
    tokens: int
    perplexity_before: float  # of the base model, per token
    perplexity_after: float
    nats_lost: Difference  # mean over texts of the loss per token, after less before; above 0: something was forgotten


class Pruning(Frozen):
    """What a student does not read, as all prompts have it in common, and what that saves."""

    head: str
    lines: list[str]
    tail: str
    golden_refused: int  # golden prompts that lack a part of it; the student refuses them, and the teacher answers
    tokens_before: float  # mean of the other golden prompts, by the student's own tokenizer
    tokens_after: float
    usd_saved_per_million: float  # requests that the student answers
    cost: Difference | None = None  # its golden errors less those of the same student on whole prompts
    used: bool = True  # False: the report's own student, that of the `cost`, reads whole prompts


class Trial(Frozen):
    """One trial of a search."""

    settings: dict[str, float | bool | str]  # what was tried
    examples: int  # learnt from
    steps: int
    eval_loss: float | None  # the last one, nats a token
    ended: Literal["done", "stopped early", "failed"]


class DataPoint(Frozen):
    """The held-out loss that so many examples lead to, with the config that won."""

    examples: int
    eval_loss: float
    standard_error: float


class Growth(Frozen):
    """Whether more data would help: a power law through the points, drawn out to twice the data."""

    points: list[DataPoint]
    law: str  # as fitted; empty where it could not be
    twice_loss: float | None = None  # predicted at twice the examples
    gain: Difference | None = None  # the loss now less that at twice the examples
    answer: str  # for people


class Search(Frozen):
    """What a search tried, and what it chose."""

    trials: list[Trial]
    chosen: dict[str, float | bool | str]
    growth: Growth | None = None


class Report(Frozen):
    """What a run reached; `report.json`. `threshold` 0 keeps no answer of the student's.

    Where there were several candidates, all figures but `candidates` and `seconds` are those of the chosen one.
    """

    task: str
    golden: int
    train: int
    eval: int
    threshold: float
    teacher: Score
    student: Score
    cascade: Score
    paired: Paired
    learning_curve: list[CurvePoint]
    threshold_curve: list[ThresholdRow]
    mistakes: list[Mistake]  # the worst first: those kept, then the surest
    seconds: dict[str, float]  # per stage
    train_tokens_per_s: float
    engine: str
    base_model: str
    error_ceiling: float
    truth: Truth = "people"
    metrics: list[Metric] = []  # beside the error
    proof: Proof | None = None  # None in reports from before there were such
    leaks: Leaks = Leaks()  # `golden` counts what is left
    judgement: Judgement | None = None  # None: no judge was asked
    preferences: Preferences | None = None
    forgetting: Forgetting | None = None
    search: Search | None = None
    pruning: Pruning | None = None
    stopping: str = ""  # by what the run ended, and whose weights are kept where early stopping was asked for
    cut_short: bool = False  # by the clock
    kind: StudentKind = "causal"
    left_out: dict[str, int] = {}  # examples that could not be learnt from, by reason
    candidates: list[Candidate] = []
    passed_over: dict[str, str] = {}  # candidates that can't do the task, and why
    chosen: str = ""  # the candidate's name
    why: str = ""  # it was chosen
    calibration: Calibration | None = None
    doubted: Doubted | None = None  # None: all answers were kept as they are
    manifest: Manifest | None = None  # of the dataset
    description: str = ""  # of the task
    teacher_proves: bool = False
    requests_per_day: float | None = None
    training_usd_per_hour: Decimal | None = None
