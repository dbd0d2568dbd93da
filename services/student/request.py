"""A request's inputs, checked against the student's limits. Pure; errors name the field and the limit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.pruning import pruned
from services.student.config import Limits, Student
from services.student.engine import Prompt

MAX_STOP_TEXTS = 4  # as many as the gateway lets through

Encode = Callable[[str], tuple[int, ...]]


class BadRequest(ValueError):  # noqa: N818 - as gRPC and HTTP call it
    """The caller must change the request; the text says what."""


class Inputs(BaseModel):
    """The inputs of the wire as they come: texts in UTF-8 bytes, absent ones absent."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    text_input: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0)] | None = None
    stop: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=MAX_STOP_TEXTS)] = ()
    stream: bool = False
    partial: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that can be answered."""

    prompt: Prompt
    stop: tuple[str, ...]
    stream: bool
    partial: str = ""
    partial_ids: tuple[int, ...] = ()  # the last of the prompt's


def read_ask(request_id: int, values: Mapping[str, object], encode: Encode, limits: Limits, student: Student) -> Ask:
    """Raises BadRequest. A request without a seed draws by its own id, so that it differs from the others."""
    inputs = _parse(values)
    max_tokens = inputs.max_tokens or limits.max_tokens
    if max_tokens > limits.max_tokens:
        raise BadRequest(f"max_tokens: {max_tokens} is above the limit {limits.max_tokens}")
    text = inputs.text_input if student.pruning is None else pruned(inputs.text_input, student.pruning)
    if text is None:
        raise BadRequest("text_input: lacks what all prompts had in common when this version was trained")
    # Encoded apart, as prompts and answers are in training, so that no token spans the two.
    token_ids, partial_ids = encode(text), _partial_ids(inputs.partial, max_tokens, encode, student)
    max_tokens -= len(partial_ids)
    _check_prompt(len(token_ids) + len(partial_ids), max_tokens, limits)
    seed = request_id if inputs.seed is None else inputs.seed
    read = (*token_ids, *partial_ids)
    prompt = Prompt(request_id, read, max_tokens, inputs.temperature, inputs.top_p, seed, text)
    return Ask(prompt, inputs.stop, inputs.stream, inputs.partial, partial_ids)


def _partial_ids(partial: str, max_tokens: int, encode: Encode, student: Student) -> tuple[int, ...]:
    if not partial:
        return ()
    if student.engine == "encoder":
        raise BadRequest("partial: this student gives whole answers and can't go on from the beginning of another's")
    token_ids = encode(partial)
    if len(token_ids) >= max_tokens:
        raise BadRequest(f"partial: its {len(token_ids)} tokens leave nothing of the {max_tokens} of an answer")
    return token_ids


def _parse(values: Mapping[str, object]) -> Inputs:
    try:
        return Inputs.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{field}: {first['msg']}") from error


def _check_prompt(prompt_tokens: int, max_tokens: int, limits: Limits) -> None:
    if prompt_tokens == 0:
        raise BadRequest("text_input: has no tokens")
    if prompt_tokens > limits.max_prompt_tokens:
        raise BadRequest(f"text_input: {prompt_tokens} tokens are above the limit {limits.max_prompt_tokens}")
    if prompt_tokens + max_tokens > limits.context_tokens:
        room = limits.context_tokens - prompt_tokens
        raise BadRequest(f"max_tokens: {max_tokens} is above the {room} that {prompt_tokens} prompt tokens leave")
