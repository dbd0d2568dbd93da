"""The demo's traffic: requests by gRPC and by Kafka, and what users say of the answers."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import uuid_utils

from deploy.demo.addresses import Address
from protos import control_pb2 as control
from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import client, tasks
from services.kafka import Producer
from services.settings import GatewayAccess
from services.topics import CONTENT_TYPE, REQUESTS, Record

TASK: Final = "address-extraction"
CALL_TIMEOUT_S: Final = 60.0


@dataclass
class Tally:
    """What callers got back: the replies by the address's text, and every status that took a reply's place."""

    replies: dict[str, inference.Reply] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, answer: client.Answer) -> None:
        if answer.reply is None:
            self.failures.append(answer.status)
        else:
            self.replies[tasks.question(answer.request)] = answer.reply


def request(address: Address) -> inference.Request:
    """What a caller asks about one address."""
    message = inference.Message(role=inference.ROLE_USER, content=address.text)
    return inference.Request(
        task=TASK,
        messages=[message],
        group_key=address.group_key,
        metadata={"kind": address.kind},
        request_id=str(uuid_utils.uuid7()),
    )


def call(address: str, addresses: Sequence[Address], concurrency: int, step: Callable[[], None]) -> Tally:
    """Ask the gateway at `address` about every address, as a gRPC client does; `step` runs after each answer."""
    tally = Tally()

    def on_answer(answer: client.Answer) -> None:
        tally.add(answer)
        step()

    gateway = GatewayAccess(gateway_address=address)
    asyncio.run(client.answer_all(gateway, map(request, addresses), concurrency, CALL_TIMEOUT_S, on_answer))
    return tally


def produce(producer: Producer, addresses: Sequence[Address]) -> set[str]:
    """Put OpenAI-shaped JSON on topic `requests`, as a log producer does; return the ids to look for on `exchanges`."""
    asked = [request(address) for address in addresses]
    for one in asked:
        producer.send(
            Record(REQUESTS.name, one.group_key.encode(), _openai_json(one), {CONTENT_TYPE: b"application/json"})
        )
    if waiting := producer.flush(30):
        raise OSError(f"Kafka did not acknowledge {waiting} requests within 30 s")
    return {one.request_id for one in asked}


def _openai_json(one: inference.Request) -> bytes:
    body = {
        "id": one.request_id,
        "task": one.task,
        "messages": [{"role": "user", "content": one.messages[0].content}],
        "user": one.group_key,
        "metadata": dict(one.metadata),
    }
    return json.dumps(body, ensure_ascii=False).encode()


def feedback(
    addresses: Iterable[Address], replies: Mapping[str, inference.Reply], reviewed: float
) -> Iterator[events.FeedbackRecord]:
    """What the users who look at an answer say: a good rating where it is right, the right answer where it is not."""
    for address in addresses:
        reply = replies.get(address.text)
        if reply and tasks.fraction(address.text, salt="reviewed") < reviewed:
            right = is_right(reply, address)
            yield events.FeedbackRecord(
                exchange_id=reply.exchange_id,
                task=TASK,
                group_key=address.group_key,
                rating=1.0 if right else None,
                correction=None if right else address.answer,
            )


def is_right(reply: inference.Reply, address: Address) -> bool:
    """Whether the answer gives exactly the fields of the truth."""
    try:
        return bool(json.loads(reply.message.content) == dict(address.truth))
    except ValueError:
        return False


def golden(task: tasks.Task, addresses: Iterable[Address]) -> list[control.GoldenExample]:
    """The addresses on the golden side of the wall, with their truth."""
    return [
        control.GoldenExample(
            input=address.text, truth=address.answer, group_key=address.group_key, metadata={"kind": address.kind}
        )
        for address in addresses
        if tasks.split(task.sampling.split, address.group_key) == events.SPLIT_GOLDEN
    ]
