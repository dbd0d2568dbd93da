"""A task fed by a log: an address's city and state, and whether a parcel goes to a flat or to a house, as JSON.

City and state stand in the address, flat or house do not. Each request brings the same instructions along, the teacher
is wrong about every tenth parcel, and customers correct half of that.
"""

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.demo.addresses import Address, addresses
from deploy.demo.show import CACHE
from protos import events_pb2 as events
from services import tasks

NAME: Final = "parcels"
FLATS: Final = 200
HOUSES: Final = 400
SEED: Final = 31
WRONG_EVERY: Final = 10
OTHER: Final = {"flat": "house", "house": "flat"}
INSTRUCTIONS: Final = "Give the city and the state of the address, and whether the parcel goes to a flat or to a house."
CEILING: Final = 0.5


def write_task(folder: Path) -> None:
    (folder / f"{NAME}.yaml").write_text(
        yaml.safe_dump(
            {
                "name": NAME,
                "answer": "json",
                "teacher": {
                    "model": "gpt-4",
                    "may_be_trained_on": True,
                    "prices": {"input_usd_per_million": 30, "output_usd_per_million": 60},
                },
                "student": {
                    "prompt": "transcript",
                    "max_tokens": 48,
                    "prices": {"input_usd_per_million": 0.02, "output_usd_per_million": 0.04},
                },
                "error_ceiling": CEILING,
                "sampling": {"split": {"golden": 0.2, "eval": 0.15}},
            }
        )
    )


def records() -> list[Address]:
    drawn = [one for one in addresses(8_000, SEED, CACHE) if {"city", "state"} <= one.truth.keys()]
    flats, houses = ([one for one in drawn if _sort(one) == sort] for sort in OTHER)
    some = flats[:FLATS] + houses[:HOUSES]
    random.Random(SEED).shuffle(some)
    return some


def truth(record: Address) -> str:
    return _answer(record, _sort(record))


def corrected(some: Sequence[Address]) -> dict[str, str]:
    """The right answers by the addresses' texts, of every other one that the teacher got wrong."""
    return {one.text: truth(one) for one in some[:: 2 * WRONG_EVERY]}


def golden(folder: Path, some: Iterable[Address]) -> list[dict[str, str]]:
    """Those on the golden side of the wall, as people would answer them."""
    shares = tasks.load(folder)[NAME].sampling.split
    return [
        {"input": one.text, "truth": truth(one), "group_key": one.group_key}
        for one in some
        if tasks.split(shares, one.group_key) == events.SPLIT_GOLDEN
    ]


def write_log(path: Path, some: Iterable[Address]) -> None:
    path.write_text("".join(json.dumps(_exchange(place, one)) + "\n" for place, one in enumerate(some)))


def _exchange(place: int, record: Address) -> dict[str, Any]:
    told = _answer(record, OTHER[_sort(record)]) if place % WRONG_EVERY == 0 else truth(record)
    messages = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": record.text}]
    return {
        "request": {"model": "gpt-4", "messages": messages, "user": record.group_key},
        "response": {
            "model": "gpt-4",
            "choices": [{"message": {"role": "assistant", "content": told}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 60, "completion_tokens": 20},
        },
    }


def _answer(record: Address, sort: str) -> str:
    made = {"city": record.truth["city"], "state": record.truth["state"], "to": sort}
    return json.dumps(made, separators=(",", ":"))


def _sort(record: Address) -> str:
    return "flat" if "unit" in record.truth else "house"
