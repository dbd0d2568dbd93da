"""The function-calling questions of benchmarks.student_quality, from bfcl-eval 2026.3.23 (Apache-2.0).

Two tasks are made of the Berkeley function-calling leaderboard's questions:

- `calls`: the 656 questions with a single function on offer (`simple_python`, `live_simple`). The answer is the call as
  JSON, `{"name": {"parameter": value}}`. Questions about one function are a group, so those that all are judged on are
  about functions that nobody learnt from: a call must be made out of the function's description.
- `functions`: which function a question is for (`live_multiple`, `live_simple`), of those that FEWEST questions or more
  are for, as traffic has it that asks for the same functions over and over. A closed set of labels.

What is right in `calls` follows the leaderboard's own rule: of each parameter several values may be allowed, and one
that may be left out has '' among them; texts are compared without case, spaces and the marks ,./-_*^. Two
simplifications: numbers are compared by value, 5.0 as 5, and of the description's types nothing else is checked.
"""

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.quality_task import Example
from deploy.demo.archive import Source, fetched

VERSION: Final = "2026.3.23"
SOURCE: Final = Source(
    "bfcl-eval",
    VERSION,
    f"bfcl_eval-{VERSION}-py3-none-any.whl",
    "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
)
SINGLE: Final = ("simple_python", "live_simple")
CLOSED: Final = ("live_multiple", "live_simple")
FEWEST: Final = 5
ALLOWED_TO_LACK: Final = ""
UNREAD: Final = re.compile(r"[ ,./\-_*^]")


def calls(cache_dir: Path) -> list[Example]:
    """The questions of `calls`."""
    found = [(*pair, kind) for kind in SINGLE for pair in _questions(cache_dir, kind)]
    return [_call(question, possible, kind) for question, possible, kind in found if answerable(possible)]


def functions(cache_dir: Path) -> list[Example]:
    """The questions of `functions`, none twice."""
    found = [_function(*pair, kind) for kind in CLOSED for pair in _questions(cache_dir, kind)]
    return common(list({one.group: one for one in found}.values()))


def common(examples: Iterable[Example]) -> list[Example]:
    """Those whose answer FEWEST have."""
    given = list(examples)
    counts = Counter(one.answer for one in given)
    return [one for one in given if counts[one.answer] >= FEWEST]


def _questions(cache_dir: Path, kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(question, its one right call with the values allowed)"""
    with zipfile.ZipFile(fetched(SOURCE, cache_dir)) as wheel:
        names = (f"bfcl_eval/data/{folder}BFCL_v4_{kind}.json" for folder in ("", "possible_answer/"))
        asked, truths = ([json.loads(line) for line in wheel.read(name).splitlines()] for name in names)
    return paired(asked, truths)


def paired(
    asked: Iterable[dict[str, Any]], truths: Iterable[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each question with its one right call, by their ids."""
    of = {truth["id"]: truth["ground_truth"] for truth in truths}
    return ((question, of[question["id"]][0]) for question in asked if len(of[question["id"]]) == 1)


def _call(question: Mapping[str, Any], possible: dict[str, Any], kind: str) -> Example:
    """The text is the one that the gateway makes by its rule `transcript`, where a request names its tools."""
    (tool,) = question["function"]
    lines = [f"tool {tool['name']}: {_compact(tool['parameters'])}", *_turns(question), "assistant:"]
    return Example("\n".join(lines), _compact(plainest(possible)), tool["name"], kind, (tool, possible))


def _function(question: Mapping[str, Any], possible: dict[str, Any], kind: str) -> Example:
    (name,) = possible
    text = "\n".join(turn["content"] for turn in question["question"][0])
    offered = [f"{tool['name']}: {tool['description']}" for tool in question["function"]]
    return Example(text, name, " ".join(text.casefold().split()), kind, context="\n".join(offered))


def answerable(possible: Mapping[str, Any]) -> bool:
    """Whether every parameter has a value that is allowed; in two questions some have none."""
    return all(values for arguments in possible.values() for values in arguments.values())


def _turns(question: Mapping[str, Any]) -> list[str]:
    return [f"{turn['role']}: {turn['content']}" for turn in question["question"][0]]


def plainest(possible: Mapping[str, Any]) -> dict[str, Any]:
    """The call to learn: of each parameter the first value allowed; what may be left out is."""
    return {name: _first(arguments) for name, arguments in possible.items()}


def _first(value: Any) -> Any:
    """A value as it is written in a call; of an object with values allowed, the first of each."""
    if isinstance(value, list):
        return [_first(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _first(allowed[0]) for name, allowed in value.items() if ALLOWED_TO_LACK not in allowed}


def right(one: Example, answer: str) -> bool:
    """Whether the call is one of those allowed."""
    (name, allowed), *_ = one.possible[1].items()
    try:
        said = json.loads(answer)
    except ValueError:
        return False
    return isinstance(said, dict) and list(said) == [name] and _fits(said[name], allowed)


def _fits(arguments: Any, allowed: Mapping[str, Any]) -> bool:
    """Each value is one of those allowed, and what is not there may be left out."""
    if not isinstance(arguments, dict) or not arguments.keys() <= allowed.keys():
        return False
    return all(
        any(same(arguments[name], value) for value in values) if name in arguments else ALLOWED_TO_LACK in values
        for name, values in allowed.items()
    )


def same(value: Any, allowed: Any) -> bool:
    """Whether a value is the one allowed; an object's own values have lists of what is allowed."""
    if isinstance(allowed, dict):
        return _fits(value, allowed)
    if isinstance(allowed, list):
        same_size = isinstance(value, list) and len(value) == len(allowed)
        return same_size and all(same(*pair) for pair in zip(value, allowed, strict=True))
    if isinstance(allowed, str):
        return isinstance(value, str) and _plain(value) == _plain(allowed)
    return isinstance(value, bool) == isinstance(allowed, bool) and bool(value == allowed)


def _plain(text: str) -> str:
    return UNREAD.sub("", text).lower().replace("'", '"')


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
