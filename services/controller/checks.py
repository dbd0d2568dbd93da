"""What callers of Control may ask; pure. Every refusal names the field and what to change."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import grpc
import xxhash
import yaml

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.controller.guards import normalised
from services.tasks import Task
from services.validators import JsonSchema, Length, OneOf, Regex

MAX_EXAMPLES: Final = 10_000
MAX_OVERRIDES: Final = 64
MAX_CONFIG_CHARACTERS: Final = 20_000
MAX_METADATA: Final = 32
MAX_KINDS: Final = 256
MAX_LABEL_CHARACTERS: Final = 256
MAX_REASON_CHARACTERS: Final = 2_000
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
KEY: Final = re.compile(r"(?=.{1,64}$)\w+(\.\w+)?", re.ASCII)
EXPONENT: Final = re.compile(r"[-+]?\d+e[-+]?\d+", re.IGNORECASE)
"""1e-3 is a number to everyone but YAML 1.1."""
KINDS: Final = frozenset(events.PolicyKind.values()) - {events.POLICY_KIND_UNSPECIFIED}


class Rejected(Exception):  # noqa: N818 - the call was, by us
    """A call that cannot be done as it was asked."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def invalid(field: str, text: str) -> Rejected:
    """The caller must change `field`."""
    return Rejected(grpc.StatusCode.INVALID_ARGUMENT, f"{field}: {text}")


def known_task(tasks: Mapping[str, Task], name: str) -> Task:
    """The task of a required field `task`."""
    defined = ", ".join(sorted(tasks))
    if not name:
        raise invalid("task", f"is required; defined are {defined}")
    if name not in tasks:
        raise Rejected(grpc.StatusCode.NOT_FOUND, f"task: {name[:64]!r} is not defined; defined are {defined}")
    return tasks[name]


def required(field: str, text: str, limit: int = MAX_LABEL_CHARACTERS) -> str:
    """A text that must be there and not be longer than `limit` characters."""
    if not text.strip():
        raise invalid(field, "is required")
    return limited(field, text, limit)


def label(field: str, text: str) -> str:
    """A required name of one line, without the spaces around it."""
    if CONTROL.search(required(field, text)):
        raise invalid(field, f"{text[:64]!r} has a control character")
    return text.strip()


def limited(field: str, text: str, limit: int) -> str:
    """A text not longer than `limit` characters."""
    if len(text) > limit:
        raise invalid(field, f"has {len(text)} characters; the limit is {limit}")
    return text


def overrides(given: Mapping[str, str]) -> dict[str, Any]:
    """Training config keys with their values read as YAML scalars: "2" is a number, "true" a truth value."""
    if len(given) > MAX_OVERRIDES:
        raise invalid("overrides", f"has {len(given)} keys; the limit is {MAX_OVERRIDES}")
    return {key: _scalar(f"overrides[{key!r}]", key, text) for key, text in given.items()}


def config(text: str) -> dict[str, Any]:
    """A training config from its YAML, flat: {"lora.rank": 8}. What it says of `search` stays together."""
    try:
        given = yaml.safe_load(limited("config", text, MAX_CONFIG_CHARACTERS))
    except yaml.YAMLError as error:
        raise invalid("config", "is not YAML") from error
    if not isinstance(given, dict | None):
        raise invalid("config", "must be a mapping of training settings")
    return dict(_flat(given or {}))


def _flat(section: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, Mapping) and value and name != "search":  # an empty one asks for its defaults: `dpo: {}`
            yield from ((f"{name}.{inner}", deep) for inner, deep in _flat(value))
        else:
            yield str(name), value


def policy(given: events.Policy) -> events.Policy:
    """A policy whose parameter is in its range."""
    if given.kind not in KINDS:
        raise invalid(
            "policy.kind", f"must be one of {', '.join(events.PolicyKind.Name(kind) for kind in sorted(KINDS))}"
        )
    if not 0 <= given.share <= 1:
        raise invalid("policy.share", f"is {given.share:g}; it must be 0 to 1")
    if len(given.share_of_kind) > MAX_KINDS:
        raise invalid("policy.share_of_kind", f"has {len(given.share_of_kind)} kinds; the limit is {MAX_KINDS}")
    for kind, share in given.share_of_kind.items():
        if not 0 <= share <= 1:
            raise invalid(f"policy.share_of_kind[{kind[:64]!r}]", f"is {share:g}; it must be 0 to 1")
    if given.kind == events.POLICY_KIND_SHARE and not any((given.share, *given.share_of_kind.values())):
        raise invalid(
            "policy.share", "give a part above 0, as 0.05; to take all calls back, ask for POLICY_KIND_TEACHER_ONLY"
        )
    if not (given.min_confidence <= 0 and math.isfinite(given.min_confidence)):
        raise invalid("policy.min_confidence", f"is {given.min_confidence:g}; a log-probability is 0 or less")
    return given


def golden_rows(task: Task, examples: list[control.GoldenExample], now: datetime) -> list[list[Any]]:
    """Rows of table golden. The id is the input's hash; of the same input twice the last counts."""
    if not 1 <= len(examples) <= MAX_EXAMPLES:
        raise invalid("examples", f"has {len(examples)}; 1 to {MAX_EXAMPLES} can be added at once")
    rows = (_golden_row(task, f"examples[{place}]", example, now) for place, example in enumerate(examples))
    return list({row[1]: row for row in rows}.values())


def _golden_row(task: Task, field: str, example: control.GoldenExample, now: datetime) -> list[Any]:
    text = required(f"{field}.input", example.input, task.limits.max_input_bytes)
    truth = required(f"{field}.truth", example.truth, task.limits.max_input_bytes)
    if why := _truth_refusal(task, text, truth):
        raise invalid(f"{field}.truth", why)
    group_key = limited(f"{field}.group_key", example.group_key, MAX_LABEL_CHARACTERS)
    metadata = _metadata(f"{field}.metadata", dict(example.metadata))
    example_id = xxhash.xxh3_128_hexdigest(normalised(text).encode())
    return [task.name, example_id, text, truth, group_key, metadata.get("kind", ""), metadata, now]


def _truth_refusal(task: Task, text: str, truth: str) -> str:
    """A truth that no kept answer could equal would count every answer as wrong."""
    if task.answer == "json" and not _is_json(truth):
        return "is not JSON, as the task's answers are"
    shape = [validator for validator in task.validators if isinstance(validator, JsonSchema | OneOf | Regex | Length)]
    return next((why for validator in shape if (why := validator.refusal(text, truth))), "")


def _metadata(field: str, given: dict[str, str]) -> dict[str, str]:
    if len(given) > MAX_METADATA:
        raise invalid(field, f"has {len(given)} labels; the limit is {MAX_METADATA}")
    for key, value in given.items():
        limited(f"{field}[{key[:40]!r}]", max(key, value, key=len), MAX_LABEL_CHARACTERS)
    return given


def _scalar(field: str, key: str, text: str) -> Any:
    if not KEY.fullmatch(key):
        raise invalid(field, "a training config's key has letters, digits and underscores, as lora.rank; 64 at most")
    try:
        value = yaml.safe_load(limited(field, text, MAX_LABEL_CHARACTERS))
    except yaml.YAMLError as error:
        raise invalid(field, f"{text!r} is not a YAML scalar") from error
    if not isinstance(value, str | int | float | bool | None):
        raise invalid(field, f"{text!r} is not a YAML scalar")
    return float(text) if isinstance(value, str) and EXPONENT.fullmatch(text.strip()) else value


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
