"""The address task of benchmarks.student_quality: the demo's addresses, learnt from people's labels.

Right is what gives all fields of the truth and no others, in any order. The demo's customers are the groups.

`usaddress` is the parser that the addresses come from: a conditional random field, and what it was fitted on are these
very files, those that the golden examples are drawn from included. What it errs on here is less than it would err on
addresses that it never saw. Its labels become fields as those of the truth did.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.quality_neighbours import asked
from benchmarks.quality_reading import first_object
from benchmarks.quality_task import Answers, Example, Splits, Task
from deploy.demo.addresses import addresses, fields
from deploy.demo.scale import SEED
from services import tasks
from training import scoring
from training.linear import Tagger

TASK: Final = tasks.load(Path("deploy/tasks"))["address-extraction"]
COUNT: Final = 8_000


def examples(cache_dir: Path) -> list[Example]:
    """The demo's addresses, in its shares of register, map and people."""
    return [Example(one.text, one.answer, one.group_key, one.kind) for one in addresses(COUNT, SEED, cache_dir)]


def usaddress(splits: Splits, seed: int, directory: Path) -> Answers:  # noqa: ARG001 - it learns nothing
    """The parser's own labels as fields."""
    labelled = asked("usaddress", [one.text for one in splits.golden], directory)
    return [as_answer(words) for words in labelled]


def as_answer(labelled: Sequence[tuple[str, str]]) -> str:
    """(word, label) pairs as the answer that they amount to."""
    return json.dumps(fields((label, word) for word, label in labelled), separators=(",", ":"), ensure_ascii=False)


def linear(splits: Splits, seed: int, directory: Path) -> Answers:  # noqa: ARG001 - as every contestant
    """Logistic regression on each word's own form and its neighbours', which labels word by word."""
    texts, answers = [one.text for one in splits.train], [one.answer for one in splits.train]
    return Tagger(seed).fit(texts, answers, [1.0] * len(texts)).answer([one.text for one in splits.golden])


ADDRESSES: Final = Task(
    name="addresses",
    answer_kind="json",
    config="minilm-tagger-cpu",
    max_tokens=TASK.student.max_tokens,
    examples=examples,
    right=lambda one, answer: scoring.right("json", one.answer, answer),
    instruction=TASK.instructions,
    read=lambda _, said: first_object(said),
    shots=0,  # the instructions have examples
    learners={"linear, word by word": linear},
    fixed={"usaddress": usaddress},
)
