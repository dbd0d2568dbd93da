"""Exchanges of a kilobyte, as the gateway writes them: addresses with short instructions, answered by the teacher."""

import random
import time
from collections.abc import Iterable, Iterator
from typing import Final

import uuid_utils

from deploy.demo.addresses import Address
from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.errors import Overloaded
from services.kafka import Producer
from services.topics import EXCHANGES, Record, encode

TASK: Final = "address-extraction"
INSTRUCTIONS: Final = (
    "Take the address apart into number, street, unit, city, state and zip. Answer with one JSON object on one line, "
    "without spaces between its parts. Copy the words exactly as they stand in the address; do not correct, expand or "
    "translate them. Leave out a field that the address does not have, and never guess what is not written. "
)
STREETS: Final = (
    "Oakland Rd NE",
    "Sherman Avenue",
    "s. lake st.",
    "W. Madison",
    "Juniper Ln",
    "118th St",
    "1st Ave SE",
)
CITIES: Final = (("Cedar Rapids", "IA"), ("Evanston", "IL"), ("chicago", "il"), ("Soldotna", "AK"), ("Marion", "Iowa"))


def exchange(sequence: int, source: str, rng: random.Random) -> events.Exchange:
    """One answered exchange, different in everything that differs in traffic."""
    number, street, unit = str(rng.randrange(9999)), rng.choice(STREETS), f"Unit {rng.randrange(99)}"
    (city, state), zip_code = rng.choice(CITIES), str(rng.randrange(10_000, 99_999))
    asked = f"{number} {street} {unit} {city} {state} {zip_code}"
    answer = (
        f'{{"number":"{number}","street":"{street}","unit":"{unit}",'
        f'"city":"{city}","state":"{state}","zip":"{zip_code}"}}'
    )
    made = exchange_of(
        asked, answer, group_key=f"customer-{rng.randrange(1000)}", took_us=rng.randrange(400_000, 2**21)
    )
    made.source, made.sequence = source, sequence
    return made


def exchange_of(  # noqa: PLR0913, PLR0917
    asked: str, answer: str, group_key: str, took_us: int, kind: str = "register", instructions: str = INSTRUCTIONS
) -> events.Exchange:
    """The exchange of this question and answer; `instructions` may be empty. It has no sequence yet."""
    made = events.Exchange(id=str(uuid_utils.uuid7()), origin="grpc", outcome=events.OUTCOME_ANSWERED)
    made.request.task, made.request.group_key, made.request.metadata["kind"] = TASK, group_key, kind
    if instructions:
        made.request.messages.add(role=inference.ROLE_SYSTEM, content=instructions)
    made.request.messages.add(role=inference.ROLE_USER, content=asked)
    _answered(made, answer, took_us)
    return made


def _answered(made: events.Exchange, answer: str, took_us: int) -> None:
    attempt = made.attempts.add(backend=inference.BACKEND_TEACHER, model="gpt-4", latency_us=took_us)
    attempt.message.role, attempt.message.content = inference.ROLE_ASSISTANT, answer
    attempt.finish, attempt.cost_usd = inference.FINISH_STOP, "0.00648"
    attempt.usage.prompt_tokens, attempt.usage.completion_tokens = 140, len(answer) // 3
    reply = inference.Reply(exchange_id=made.id, message=attempt.message, answered_by=inference.BACKEND_TEACHER)
    reply.model, reply.why, reply.cost_usd = attempt.model, "no student has been promoted", attempt.cost_usd
    reply.finish = attempt.finish
    reply.usage.CopyFrom(attempt.usage)
    reply.timings.total_us, reply.timings.teacher_us = took_us + 900, took_us
    made.reply.CopyFrom(reply)
    finished_ns = time.time_ns()
    made.finished_at.FromNanoseconds(finished_ns)
    made.started_at.FromNanoseconds(finished_ns - 1000 * (took_us + 900))


def records_of(given: Iterable[Address], instructions: str) -> list[Record]:
    """One exchange for each address, of one source, as records of topic `exchanges`."""
    rng, made, source = random.Random(7), [], str(uuid_utils.uuid7())
    for sequence, one in enumerate(given, 1):
        took_us = rng.randrange(400_000, 2_500_000)
        message = exchange_of(one.text, one.answer, one.group_key, took_us, one.kind, instructions)
        message.source, message.sequence = source, sequence
        made.append(encode(EXCHANGES, message))
    return made


def records(count: int, source: str, seed: int = 7) -> Iterator[Record]:
    """`count` exchanges of one source, as records of topic `exchanges`."""
    rng = random.Random(seed)
    return (encode(EXCHANGES, exchange(sequence, source, rng)) for sequence in range(1, count + 1))


def produce(producer: Producer, made: Iterable[Record]) -> int:
    """Bring the records to Kafka; returns how many bytes their values have."""
    size = 0
    for record in made:
        while not _sent(producer, record):
            producer.poll(0.1)
        size += len(record.value)
    if left := producer.flush(60):
        raise OSError(f"Kafka did not acknowledge {left} records within a minute")
    return size


def _sent(producer: Producer, record: Record) -> bool:
    try:
        producer.send(record)
    except Overloaded:
        return False
    return True
