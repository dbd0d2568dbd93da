"""Producers that say of a record that Kafka has it when Kafka does not."""

from typing import Any

from services.errors import Overloaded
from services.kafka import Acked, Producer
from services.settings import KafkaSettings
from services.topics import Record


class Early(Producer):
    """Takes what is in its own memory for delivered: that memory dies with the process."""

    def __init__(self, settings: KafkaSettings, linger_ms: int = 5, **options: str) -> None:
        changed = settings.model_copy(update={"kafka_options": {**settings.kafka_options, **options}})
        super().__init__(changed, linger_ms)
        self._said: list[Acked] = []

    def send(self, record: Record, acked: Acked = lambda _error: None) -> None:
        super().send(record)
        self._said.append(acked)

    def poll(self, timeout_s: float) -> int:
        said, self._said = self._said, []
        for acked in said:
            acked("")
        return super().poll(0 if said else timeout_s) + len(said)

    def flush(self, _timeout_s: float) -> int:
        self.poll(0)
        return 0


class GivesUp(Producer):
    """Tries for a second, and then goes on as if it had succeeded."""

    def __init__(self, settings: KafkaSettings, linger_ms: int = 5) -> None:
        options = {**settings.kafka_options, "delivery.timeout.ms": "1000"}
        super().__init__(settings.model_copy(update={"kafka_options": options}), linger_ms)

    def _answer(self, _error: Any, _record: Record, acked: Acked) -> None:
        acked("")


class DropsWhenFull(Early):
    """Has a short queue, and throws away what finds no room in it."""

    def __init__(self, settings: KafkaSettings, _linger_ms: int = 5) -> None:
        super().__init__(settings, **{"queue.buffering.max.messages": "6", "linger.ms": "100"})

    def send(self, record: Record, acked: Acked = lambda _error: None) -> None:
        try:
            super().send(record, acked)
        except Overloaded:
            self._said.append(acked)
