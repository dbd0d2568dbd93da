"""What an answer must satisfy to be kept; pure.

The gateway applies these to a student's answer before a caller sees it, and the evaluation applies the same code
to the golden set, so that what is proven is what is served. Imports nothing of ours.
"""

import json
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

import jsonschema_rs
from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_CHARACTERS = 200
"""Of a refusal by somebody else's function."""
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


class Range(_Spec):
    """A number lies within limits, both of which count: the whole answer, or a field of a JSON one.

    `{kind: range, field: total.amount, least: 0, most: 10000}`. A field is named by its path with dots, places of lists
    by their number from 0 (`items.0.price`), or as a JSON pointer (`/items/0/price`) where names hold dots. A text that
    is a number ("12.50") counts as one. One that is not there, or null, is refused unless it is `optional`.
    """

    kind: Literal["range"]
    field: str = ""
    least: Decimal | None = None
    most: Decimal | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _has_a_limit(self) -> "Range":
        if self.least is None and self.most is None:
            raise ValueError("range: needs least or most")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"range: least {self.least} is above most {self.most}")
        return self

    def refusal(self, question: str, answer: str) -> str:  # noqa: ARG002
        told = self.field or "the answer"
        try:
            value = _at(parsed(answer), self._path) if self.field else answer
        except (ValueError, RecursionError) as problem:
            return f"range: not JSON: {problem}"
        if value is None:
            return "" if self.optional else f"range: {told} is missing"
        number = _number(value)
        if number is None:
            return f"range: {told} is {str(value)[:40]!r}, not a number"
        if self.least is not None and number < self.least:
            return f"range: {told} is {str(value)[:40]}, below {self.least}"
        return f"range: {told} is {str(value)[:40]}, above {self.most}" if self._above(number) else ""

    def _above(self, number: Decimal) -> bool:
        return self.most is not None and number > self.most

    @cached_property
    def _path(self) -> Sequence[str]:
        if not self.field.startswith("/"):
            return self.field.split(".")
        return [name.replace("~1", "/").replace("~0", "~") for name in self.field[1:].split("/")]


class Python(_Spec):
    """A function of yours accepts the answer: `{kind: python, function: "package.module:function"}`.

    It is called with the question and the answer, and returns why the answer must not be kept, '' if it may. It must be
    importable wherever tasks are loaded (PYTHONPATH of every service) and where students are trained (on Ray, a
    package of the workers' environment), give the same for the same texts, and be quick: the gateway's calls wait for
    it. Where it raises, or returns something else than a text, the answer is refused.
    """

    kind: Literal["python"]
    function: str = Field(pattern=r"^\w+(\.\w+)*:\w+(\.\w+)*$")

    @model_validator(mode="after")
    def _can_be_called(self) -> "Python":
        _function(self.function)
        return self

    def refusal(self, question: str, answer: str) -> str:
        try:
            said = _function(self.function)(question, answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, no call may end for it
            return f"python: {self.function} raises {type(error).__name__}: {error}"[:MOST_CHARACTERS]
        if not isinstance(said, str):
            return f"python: {self.function} returns {type(said).__name__}, not a text"
        return f"python: {said}"[:MOST_CHARACTERS] if said else ""


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


Validator = Annotated[
    JsonSchema | OneOf | Regex | Length | Range | Grounded | Covers | Python, Field(discriminator="kind")
]


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
        error = next(_compiled(schema).iter_errors(parsed(answer)), None)
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
def parsed(answer: str) -> Any:
    """A JSON text's value. Raises ValueError or RecursionError."""
    return json.loads(answer)


def _at(value: Any, path: Sequence[str]) -> Any:
    """What stands at a path of a JSON value; None where there is nothing."""
    for name in path:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _number(value: Any) -> Decimal | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value).strip())
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() else None


@lru_cache(maxsize=64)
def _function(named: str) -> Callable[[str, str], object]:
    """The function of that name. Raises ValueError with what to change."""
    try:
        found = pkgutil.resolve_name(named)
    except (ImportError, AttributeError) as problem:
        raise ValueError(
            f"python: {named} can't be had: {problem}. Put its folder on PYTHONPATH wherever tasks are loaded"
        ) from problem
    if not callable(found):
        raise ValueError(f"python: {named} is no function")  # noqa: TRY004 - pydantic tells ValueErrors alone
    return found  # type: ignore[no-any-return]


def _leaves(answer: str) -> Iterator[str]:
    try:
        todo = [parsed(answer)]
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
