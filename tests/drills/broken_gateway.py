"""A gateway that is wrong on purpose: no spool, each exchange goes straight to the producer and its memory."""

from pathlib import Path

import uuid_utils

from protos import events_pb2 as events
from services import telemetry
from services.gateway import __main__ as gateway
from services.gateway.spool import Fsync
from services.kafka import Producer
from services.topics import EXCHANGES, Record, encode


class NoSpool:
    """What looks like a spool and keeps nothing."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._source = str(uuid_utils.uuid7())
        self._sequence = 0

    @classmethod
    def open(cls, _directory: Path, producer: Producer, _max_bytes: int, _fsync: Fsync) -> "NoSpool":
        telemetry.SPOOL_BYTES.set_function(lambda: float(producer.poll(0)))
        return cls(producer)

    def admit(self) -> None:
        pass

    async def append_exchange(self, exchange: events.Exchange) -> None:
        self._sequence += 1
        exchange.source, exchange.sequence = self._source, self._sequence
        await self.append(encode(EXCHANGES, exchange))

    async def append(self, record: Record) -> None:
        self._producer.send(record)
        self._producer.poll(0)

    async def close(self) -> None:
        self._producer.flush(10)


if __name__ == "__main__":
    gateway.Spool = NoSpool
    gateway.main()
