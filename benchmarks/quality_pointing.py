"""A linear contestant for the calls of benchmarks.student_quality: it points at the values of each parameter.

What could be a parameter's value is listed by its type: numbers, quoted texts, names and runs of words out of the
question, the values that its description allows, its default, or nothing where it may be left out. A logistic
regression on TF-IDF of what is seen of parameter, value and the words around it says which of them is likeliest.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from benchmarks.quality_calls import ALLOWED_TO_LACK, same
from benchmarks.quality_task import Answers, Example, Splits

NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
QUOTED: Final = re.compile(r"['\"]([^'\"]+)['\"]")
NAME: Final = re.compile(r"[A-Z][\w.]*(?:,? [A-Z][\w.]*)*")
WORD: Final = re.compile(r"[\w@.+\-/:]*\w")
LONGEST: Final = 4  # words in a run
MOST_WORDS: Final = 15  # of a parameter's description
Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Offer:
    """What could be a parameter's value: where it is from, and where it stands in the question."""

    value: Any  # NOTHING leaves the parameter out
    source: str
    start: int = -1
    end: int = -1


NOTHING: Final = object()


def pointing(splits: Splits, seed: int, directory: Path) -> Answers:  # noqa: ARG001 - as every contestant
    """The calls whose values it points at."""
    pairs = [pair for one in splits.train for pair in _judged(one)]
    regression = LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced", random_state=seed)
    model = make_pipeline(TfidfVectorizer(analyzer=list, sublinear_tf=True), regression)
    model.fit([bag for bag, _ in pairs], [fits for _, fits in pairs])
    return [_called(one, model.decision_function) for one in splits.golden]


def _judged(one: Example) -> Iterator[tuple[list[str], bool]]:
    """What is seen of each value that could be, and whether it is right."""
    (allowed,) = one.possible[1].values()
    for name, spec, offer in _offers(one):
        values = allowed.get(name, [ALLOWED_TO_LACK])
        lacks = ALLOWED_TO_LACK in values
        fits = lacks if offer.value is NOTHING else not lacks and any(same(offer.value, value) for value in values)
        yield seen(name, spec, offer, question(one)), fits


def _called(one: Example, likely: Callable[[list[list[str]]], Any]) -> str:
    best: dict[str, tuple[float, Any]] = {}
    given = list(_offers(one))
    if given:
        scores = likely([seen(name, spec, offer, question(one)) for name, spec, offer in given])
        for (name, _, offer), score in zip(given, scores, strict=True):
            best[name] = max(best.get(name, (float("-inf"), NOTHING)), (score, offer.value), key=lambda pair: pair[0])
    arguments = {name: value for name, (_, value) in best.items() if value is not NOTHING}
    return json.dumps({one.possible[0]["name"]: arguments})


def question(one: Example) -> str:
    """What the user asks, without the tool."""
    return one.text.split("\n", 1)[1].removesuffix("\nassistant:").removeprefix("user: ")


def _offers(one: Example) -> Iterator[tuple[str, Spec, Offer]]:
    parameters = one.possible[0]["parameters"]
    for name, spec in parameters["properties"].items():
        for offer in offers(spec, name in parameters.get("required", ()), question(one)):
            yield name, spec, offer


def offers(spec: Spec, required: bool, text: str) -> Iterator[Offer]:
    """What could be the value of a parameter of that description."""
    if not required:
        yield Offer(NOTHING, "nothing")
    if "default" in spec:
        yield Offer(spec["default"], "default")
    if "enum" in spec:
        yield from (Offer(value, "enum", text.casefold().find(str(value).casefold())) for value in spec["enum"])
    elif spec["type"] == "array":
        yield from _lists(spec.get("items", {}), text)
    else:
        yield from _single(spec["type"], text)


def _single(kind: str, text: str) -> Iterator[Offer]:
    match kind:
        case "integer" | "float" | "number":
            for found in NUMBER.finditer(text):
                value = float(found[0].replace(",", ""))
                yield Offer(int(value) if value.is_integer() else value, "number", *found.span())
        case "boolean":
            yield from (Offer(value, str(value)) for value in (True, False))
        case "dict":
            yield Offer({}, "empty")
        case _:
            yield from _texts(text)


def _texts(text: str) -> Iterator[Offer]:
    yield from (Offer(found[1], "quoted", *found.span()) for found in QUOTED.finditer(text))
    yield from (Offer(found[0], "name", *found.span()) for found in NAME.finditer(text))
    words = [found.span() for found in WORD.finditer(text)]
    for first, size in product(range(len(words)), range(1, LONGEST + 1)):
        if first + size <= len(words):
            start, end = words[first][0], words[first + size - 1][1]
            yield Offer(text[start:end], f"words {size}", start, end)


def _lists(items: Spec, text: str) -> Iterator[Offer]:
    """All numbers, all names, or all quoted texts as one list; each alone."""
    if "enum" in items:
        yield Offer([value for value in items["enum"] if str(value).casefold() in text.casefold()], "all enum")
        return
    found = [one for one in _single(items.get("type", "string"), text) if one.start >= 0]
    for source in ("number", "name", "quoted"):
        some = [one for one in found if one.source == source]
        yield Offer([one.value for one in some], f"all {source}")
        yield from (Offer([one.value], f"one {source}", one.start, one.end) for one in some)


def seen(name: str, spec: Spec, offer: Offer, text: str) -> list[str]:
    """The features by name."""
    words = re.findall(r"[a-z]+", f"{name} {spec.get('description', '')}".replace("_", " ").casefold())[:MOST_WORDS]
    before, after = (re.findall(r"\w+", part.casefold()) for part in (text[: max(0, offer.start)], text[offer.end :]))
    around = [*(f"-{word}" for word in before[-2:]), *(f"+{word}" for word in after[:1] if offer.end >= 0)]
    kind = f"{spec['type']} {offer.source}"
    place = f"{kind} {'absent' if offer.start < 0 else 'first' if not before else 'there'}"
    value = str(offer.value).casefold()
    shared = len(set(words) & {*before[-3:], *after[:2], *value.split()})
    features = [kind, place, f"{kind} shared {shared}", f"{name.casefold()} {offer.source}", f"is {value[:20]} {name}"]
    features += [f"{kind} {word}" for word in around]
    return features + [f"{word} {one}" for word in words for one in (*around, offer.source)]
