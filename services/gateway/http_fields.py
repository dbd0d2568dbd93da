"""Fields of OpenAI's requests: JSON into shapes, names into ours and back, and what can't be carried. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from services.gateway.fields import BadInput, UnknownTask
from services.openai_request import MODEL_PREFIX, first_problem

ID_PREFIX: Final = "chatcmpl-"
OURS: Final = {"task": "model", "response_schema": "response_format", "group_key": "user"}
"""What our checks call a field that OpenAI calls otherwise."""
FIELD: Final = re.compile(r"[\w.\[\]]+(?=: )")
UNLESS: Final[Mapping[str, tuple[tuple[Any, ...], str]]] = {
    "tool_choice": ((None, "auto", "none"), 'it can\'t be forced which tools are called: take "auto" or "none"'),
    "parallel_tool_calls": ((None, True), "it can't be forbidden to call several tools: leave it out"),
    "logprobs": ((None, False), "they are not told: leave it out; `tutelage.confidence` is the student's"),
    "top_logprobs": ((None, 0), "they are not told: leave it out"),
    "logit_bias": ((None, {}), "not every backend has it: leave it out"),
    "presence_penalty": ((None, 0), "not every backend has it: leave it out"),
    "frequency_penalty": ((None, 0), "not every backend has it: leave it out"),
    "modalities": ((None, ["text"]), "only text is answered: leave it out"),
    "audio": ((None,), "only text is answered: leave it out"),
    "functions": ((None, []), "send them as `tools`"),
    "function_call": ((None,), "send `tools` and leave it out"),
    "web_search_options": ((None,), "no backend searches: leave it out"),
}
"""Fields that would change what the caller gets and that we can't carry: the values that change nothing, and advice."""
Body = TypeVar("Body", bound=BaseModel)


def read_body(shape: type[Body], body: bytes) -> Body:
    """JSON as that shape. Raises BadInput that names the first key that is wrong."""
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        problem = first_problem(error)[:500]
        raise BadInput(f"body{problem}" if problem.startswith(": ") else problem) from error


def check_carried(fields: Mapping[str, object]) -> None:
    """Raises BadInput for a field that asks for what can't be had."""
    for name in sorted(fields.keys() & UNLESS.keys()):
        value, (harmless, advice) = fields[name], UNLESS[name]
        if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in harmless):
            raise BadInput(f"{name}: {advice}")


def task_name(model: str) -> str:
    """The task that a model's name chooses. Raises UnknownTask."""
    if not model.startswith(MODEL_PREFIX):
        raise UnknownTask(f"model: {model[:64]!r} is not {MODEL_PREFIX}<task>; GET /v1/models tells which there are")
    return model.removeprefix(MODEL_PREFIX)


def field_of(text: str) -> str | None:
    """Which field of the body an error's text begins with, as OpenAI calls it; None where it speaks of none."""
    found = FIELD.match(text)
    if found is None:
        return None
    field = found[0].removeprefix("sampling.")
    return OURS.get(field, field)
