"""The address task of benchmarks.student_quality: the demo's addresses, learnt from people's labels.

Right is what gives all fields of the truth and no others, in any order. The demo's customers are the groups.

`usaddress` is the parser that the addresses come from: a conditional random field, which was fitted on these files, the
golden examples included. What it errs on here says nothing of addresses that it never saw, so it stands here twice: as
it is shipped, and fitted anew, its words, features and model, on what all others learn from. Its own labels become
fields as those of the truth did; fitted anew, it learns the fields.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.quality_neighbours import asked
from benchmarks.quality_reading import first_object
from benchmarks.quality_task import Answers, Example, Splits, Task
from deploy.demo.addresses import ENDS, addresses, fields
from deploy.demo.scale import SEED
from services import tagging as pieces
from services import tasks
from training import scoring, tagging
from training.linear import Tagger, aligned

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


def refitted(splits: Splits, seed: int, directory: Path) -> Answers:  # noqa: ARG001 - as every contestant
    """The parser's own model, fitted on the training split."""
    known = {field.name: field for field in tagging.fields(one.answer for one in splits.train)}
    tagged = [(one.text, pieces.spans(one.text), aligned(one.text, one.answer, known)) for one in splits.train]
    learn = [row for row in tagged if row[2]]
    said = asked("refit", [one.text for one in splits.golden], directory, learn)
    return [of_tags(words) for words in said]


def of_tags(tagged: Sequence[tuple[str, str]]) -> str:
    """(word, tag) pairs as the answer that they amount to, the words without the marks around them."""
    found: dict[str, list[str]] = {}
    for word, tag in tagged:
        if tag != pieces.OUTSIDE and (bare := word.strip(ENDS)):
            found.setdefault(tag[2:], []).append(bare)
    return json.dumps({name: " ".join(words) for name, words in found.items()}, ensure_ascii=False)


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
    learners={"linear, word by word": linear, "usaddress, fitted anew": refitted},
    fixed={"usaddress": usaddress},
    informed=("usaddress",),
)
