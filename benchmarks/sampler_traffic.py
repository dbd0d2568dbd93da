"""What benchmarks.sampler lets a sampler read: traffic as the demo has it, and its two extremes."""

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

from benchmarks import messages
from deploy.demo.addresses import Address, addresses
from deploy.demo.scale import FULL, SEED, STAND_IN_ERROR_RATE
from deploy.demo.spoiling import Oracle, normal
from deploy.demo.traffic import feedback
from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import tasks
from services.topics import EXCHANGES, FEEDBACK, Record, encode

TASKS: Final = Path("deploy/tasks")
REVIEWED_AFTER: Final = 500
"""How many exchanges later a user says something of an answer."""
ADDRESSES: Final = 15_000
"""The demo's sources hold hardly more."""


def choosing(directory: Path) -> Path:
    """A folder with the demo's task as one that asks for what the stream can do, but for novelty."""
    definition = yaml.safe_load((TASKS / f"{messages.TASK}.yaml").read_text(encoding="utf-8"))
    wanted = {"near_duplicates_in_stream": True, "hard_weight": 4, "strata": {"per_day": 1000}}
    definition["sampling"] = {**definition.get("sampling", {}), **wanted}
    directory.mkdir()
    (directory / f"{messages.TASK}.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    return directory


def as_the_demo(count: int, cache_dir: Path) -> Iterator[Record]:
    """The demo's addresses and the stand-in's answers, 11 % of them wrong; of each tenth a user says what is right."""
    given = addresses(count, SEED, cache_dir)
    oracle = Oracle({normal(one.text): one.truth for one in given}, STAND_IN_ERROR_RATE, SEED)
    said: deque[Record | None] = deque([None] * REVIEWED_AFTER)
    for sequence, one in enumerate(given, start=1):
        made = messages.exchange_of(one.text, oracle.answer(one.text) or "", one.group_key, 900_000, one.kind, "")
        made.source, made.sequence = "demo", sequence
        yield encode(EXCHANGES, made)
        said.append(_said(one, made))
        if (due := said.popleft()) is not None:
            yield due
    yield from (due for due in said if due is not None)


def _said(address: Address, made: events.Exchange) -> Record | None:
    for record in feedback([address], {address.text: made.reply}, FULL.reviewed):
        record.created_at.CopyFrom(made.finished_at)
        return encode(FEEDBACK, record)
    return None


def all_kept(count: int) -> Iterator[Record]:
    """Whole and valid answers of the teacher, of customers who are not set aside to prove: candidates, all."""
    shares = tasks.load(TASKS)[messages.TASK].sampling.split
    return _exchanges(count, lambda made: tasks.split(shares, made.request.group_key) != events.SPLIT_GOLDEN)


def none_kept(count: int) -> Iterator[Record]:
    """The student's own answers: remembered, never emitted."""

    def by_the_student(made: events.Exchange) -> bool:
        made.reply.answered_by = made.attempts[0].backend = inference.BACKEND_STUDENT
        return True

    return _exchanges(count, by_the_student)


def _exchanges(count: int, wanted: Callable[[events.Exchange], bool]) -> Iterator[Record]:
    rng, sequence = random.Random(11), 0
    while sequence < count:
        made = messages.exchange(sequence + 1, "benchmark", rng)
        if wanted(made):
            sequence += 1
            yield encode(EXCHANGES, made)


def kinds(count: int, cache_dir: Path) -> Mapping[str, list[Record]]:
    """The three kinds of traffic; `count` exchanges, of the demo's 15,000 at most."""
    demo = list(as_the_demo(min(count, ADDRESSES), cache_dir))
    return {"as the demo": demo, "all kept": list(all_kept(count)), "none kept": list(none_kept(count))}
