"""What an answer must satisfy to be kept; pure.

The gateway applies these to a student's answer before a caller sees it, and the evaluation applies the same code
to the golden set, so that what is proven is what is served. Imports nothing of ours.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

import jsonschema_rs
from pydantic import BaseModel, ConfigDict, Field, model_validator

WORD = re.compile(r"[^\W_]+(?:['\u2019\-/.&][^\W_]+)*")


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JsonSchema(_Spec):
    """The answer is JSON and satisfies the schema."""

    kind: Literal["json_schema"]
    json_schema: dict[str, Any] = Field(alias="schema")

    @model_validator(mode="after")
    def _is_a_schema(self) -> "JsonSchema":
        check_schema(self._text)  # else it would refuse every answer
        return self

    def refusal(self, question: str, answer: str) -> str:  # noqa: ARG002
        return schema_refusal(self._text, answer)

    @cached_property
    def _text(self) -> str:
        return json.dumps(self.json_schema, sort_keys=True)


class OneOf(_Spec):
    """The answer is one of a closed set of texts."""

    kind: Literal["one_of"]
    values: tuple[str, ...] = Field(min_length=1)

    def refusal(self, question: str, answer: str) -> str:  # noqa: ARG002
        return (
            ""
            if answer.strip() in self.values
            else f"one_of: {answer.strip()[:40]!r} is none of the {len(self.values)} values"
        )


class Regex(_Spec):
    """The whole answer matches a pattern."""

    kind: Literal["regex"]
    pattern: str

    def refusal(self, question: str, answer: str) -> str:  # noqa: ARG002
        return "" if re.fullmatch(self.pattern, answer) else f"regex: does not match {self.pattern}"


class Length(_Spec):
    """The answer is as long as it should be, outer white space aside."""

    kind: Literal["length"]
    least_characters: int = Field(1, ge=1)
    most_characters: int | None = Field(None, ge=1)
    least_words: int = Field(0, ge=0)
    most_words: int | None = Field(None, ge=1)

    def refusal(self, question: str, answer: str) -> str:  # noqa: ARG002
        return _beyond("characters", len(answer.strip()), self.least_characters, self.most_characters) or _beyond(
            "words", len(answer.split()), self.least_words, self.most_words
        )


class Grounded(_Spec):
    """Every value of the JSON answer stands in the question, word for word and in one piece."""

    kind: Literal["grounded"]

    def refusal(self, question: str, answer: str) -> str:
        text = f" {' '.join(words(question))} "
        strange = [value for value in _values(answer) if f" {' '.join(words(value))} " not in text]
        return f"grounded: {strange[0][:60]!r} does not stand in the input" if strange else ""


class Covers(_Spec):
    """The values of the JSON answer use up the question's words, each as often as it stands there."""

    kind: Literal["covers"]
    ignore: frozenset[str] = frozenset()  # Words that need no field, in lower case.

    def refusal(self, question: str, answer: str) -> str:
        asks = words(question)
        uses = [word for value in _values(answer) for word in words(value)]
        if sorted(asks) == sorted(uses):
            return ""
        asked, used = (Counter(word for word in found if word not in self.ignore) for found in (asks, uses))
        if left := sorted((asked - used).elements()):
            return f"covers: {' '.join(left)[:60]!r} is in no field"
        if extra := sorted((used - asked).elements()):
            return f"covers: {' '.join(extra)[:60]!r} is used too often"
        return ""


Validator = Annotated[JsonSchema | OneOf | Regex | Length | Grounded | Covers, Field(discriminator="kind")]


def refusal(validators: Sequence[Validator], question: str, answer: str) -> str:
    """Why the answer must not be kept, by the first validator that refuses; '' if all accept. An empty answer is
    refused always.

    `question` is the last user message's text, `answer` the model's text.
    """
    if not answer.strip():
        return "empty: no text"
    return next((why for validator in validators if (why := validator.refusal(question, answer))), "")


def _beyond(unit: str, counted: int, least: int, most: int | None) -> str:
    if counted < least:
        return f"length: {counted} {unit}, fewer than {least}"
    return f"length: {counted} {unit}, more than {most}" if most is not None and counted > most else ""


def schema_refusal(schema: str, answer: str) -> str:
    """Why `answer` does not satisfy `schema` (both JSON texts); '' if it does."""
    try:
        error = next(_compiled(schema).iter_errors(_parsed(answer)), None)
    except (ValueError, RecursionError) as problem:
        return f"json_schema: not JSON: {problem}"
    return f"json_schema: {error.message[:120]}" if error else ""


def check_schema(schema: str) -> None:
    """Raise ValueError, with what to change, unless `schema` is a JSON Schema as text."""
    try:
        _compiled(schema)
    except (ValueError, RecursionError, jsonschema_rs.ValidationError) as problem:
        raise ValueError(f"not a JSON Schema: {problem}".splitlines()[0][:300]) from problem


@lru_cache(maxsize=256)  # Two validators ask the same of each value.
def words(text: str) -> Sequence[str]:
    """The words of a text in lower case, without the punctuation around them; '12-B' and "O'Hare" are one word."""
    return tuple(WORD.findall(text.lower()))


@lru_cache(maxsize=256)
def _compiled(schema: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(json.loads(schema), offline=True)  # a $ref must not reach out


@lru_cache(maxsize=16)
def _values(answer: str) -> Sequence[str]:
    """The leaves of a JSON answer as texts; the answer itself where it is not JSON."""
    return tuple(_leaves(answer))


@lru_cache(maxsize=16)
def _parsed(answer: str) -> Any:
    return json.loads(answer)


def _leaves(answer: str) -> Iterator[str]:
    try:
        todo = [_parsed(answer)]
    except (ValueError, RecursionError):
        todo = [answer]
    while todo:
        match todo.pop():
            case dict() as fields:
                todo.extend(fields.values())
            case list() as items:
                todo.extend(items)
            case None | True | False:
                pass
            case leaf:
                yield str(leaf)
