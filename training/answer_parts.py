"""What answers are made of, and how much of one stands in another; pure.

A JSON answer's fields are its leaves by their path; the items of a list share one, whatever their order.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.validators import words
from training.contract import AnswerKind

Parts = Counter[tuple[str, str]]


def is_json(answer: str) -> bool:
    """Whether it can be read as JSON."""
    return _read(answer) is not None


def plain(kind: AnswerKind, answer: str) -> Any:
    """An answer without case, punctuation and white space: what two answers that mean the same have in common."""
    if kind != "json" or not is_json(answer):
        return _words(answer)
    return Counter((path, _words(_text(value))) for path, value in parts(answer).elements())


def parts(answer: str) -> Parts:
    """The leaves of a JSON answer with their paths; none where it is no JSON. Texts are told from numbers."""
    read = _read(answer)
    return Counter(_leaves("", read[0])) if read else Counter()


def fields_f1(truth: str, answer: str) -> float:
    """How many of the fields are right: F1 over both answers' leaves, each by its exact value."""
    return _f1(parts(truth), parts(answer)) if is_json(answer) else 0.0


def words_f1(truth: str, answer: str) -> float:
    """How much of the fields is right: F1 of the words in each, mean over the fields of both."""
    meant, said = words_by_field(truth), words_by_field(answer)
    names = meant.keys() | said.keys()
    if not names:
        return float(is_json(answer))
    return sum(_f1(meant.get(name, Counter()), said.get(name, Counter())) for name in names) / len(names)


def words_by_field(answer: str) -> dict[str, Counter[str]]:
    """The words of a JSON answer, by the path of the field that they stand in."""
    found: dict[str, Counter[str]] = {}
    for (path, value), times in parts(answer).items():
        for _ in range(times):
            found.setdefault(path, Counter()).update(_words(_text(value)) or [value])
    return found


def text_f1(truth: str, answer: str) -> float:
    """How much of a text is right: F1 of the words, whatever their order."""
    return _f1(Counter(_words(truth)), Counter(_words(answer)))


def _f1(meant: Counter[Any], said: Counter[Any]) -> float:
    """Nothing said where nothing was meant is right."""
    whole = meant.total() + said.total()
    return 2 * (meant & said).total() / whole if whole else 1.0


def _words(text: str) -> tuple[str, ...]:
    return tuple(words(unicodedata.normalize("NFKC", text).casefold()))


def _text(leaf: str) -> str:
    """A leaf's text without quotation marks and escapes, where it is one."""
    value = json.loads(leaf)
    return value if isinstance(value, str) else leaf


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    todo = [(path, value)]
    while todo:
        at, found = todo.pop()
        if isinstance(found, dict) and found:
            todo += [(f"{at}.{name}" if at else name, inner) for name, inner in found.items()]
        elif isinstance(found, list) and found:
            todo += [(f"{at}[]", inner) for inner in found]
        else:
            yield at, json.dumps(found, sort_keys=True, ensure_ascii=False)


def _read(answer: str) -> list[Any] | None:
    """The value in a list, as it may be null; None where it is no JSON."""
    try:
        return [json.loads(answer)]
    except (ValueError, RecursionError):
        return None
