"""`import`: a log of requests with their answers into the exchanges, as a source with a beginning and an end.

An import is a source as a gateway's start is. Its name follows from the task and the file's bytes, so one that was
killed and runs again goes on under the same name and numbers: what had not been sent is filled in, what had been is
folded, and the source ends. Until then the audit has it as silent, and as missing what is known to be left out.
"""

import hashlib
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import typer

from protos import control_pb2 as pb
from protos import events_pb2 as events
from services import topics
from services.cli.controller import controller
from services.cli.logs import File, Lines, TaskName, send
from services.cli.settings import STATE, StateOption, settings
from services.intake import openai_log
from services.kafka import Producer
from services.screen import clear_errors, console, fail, progress

app = typer.Typer()
FLUSH_S: Final = 60.0
TELL_EVERY_S: Final = 30.0
"""A third of the silence after which the audit takes a source for dead."""


@app.command("import")
def import_(task: TaskName, file: File, state: StateOption = STATE) -> None:
    """Take requests with their answers, as a JSONL log in OpenAI's shapes, into the exchanges.

    The same file again adds nothing: one that was interrupted is brought to its end by importing it again.
    """
    with clear_errors():
        lines = Lines(file, lambda data: openai_log.parse_log(data, task))
        found = settings(state)
        with controller(found) as stub:
            stub.Status(pb.StatusRequest(task=task), timeout=10)  # NOT_FOUND names the tasks that there are.
        source = Source(Producer(found), source_of(task, file))
        with progress() as bar:
            shown = bar.add_task("lines", total=lines.count(), note="")
            for sequence in source.take(lines):
                bar.update(shown, completed=sequence + len(lines.bad))
            bar.update(shown, completed=source.sequence + len(lines.bad))
        sent = source.sequence - source.refused.total()
        console.print(f"{sent} exchanges imported as source {source.name}", highlight=False)
        lines.show_bad()
        for error, count in source.refused.items():
            console.print(f"{count} refused by Kafka: {error}", highlight=False)
        if source.refused or not source.sequence:
            raise typer.Exit(1)


def source_of(task: str, file: Path) -> str:
    """The import's name in the ledger: the same for the same bytes of the same task."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return str(uuid.uuid5(openai_log.NAMESPACE, f"import {task} {digest}"))


class Source:
    """Numbers exchanges, sends them, and says on topic `sources` how far it is."""

    def __init__(self, producer: Producer, name: str) -> None:
        self.name = name
        self.sequence = 0
        self.refused = Counter[str]()
        self._producer = producer
        self._told_s = 0.0

    def take(self, exchanges: Iterable[events.Exchange]) -> Iterable[int]:
        """Send all, yielding the sequence of each; then end. Raises typer.Exit where Kafka does not acknowledge."""
        self._tell()
        for exchange in exchanges:
            self.sequence += 1
            exchange.source, exchange.sequence = self.name, self.sequence
            send(self._producer, topics.encode(topics.EXCHANGES, exchange), self._acked)
            if time.monotonic() - self._told_s >= TELL_EVERY_S:
                self._tell()
            yield self.sequence
        self._tell(ended=True)

    def _acked(self, error: str) -> None:
        self.refused.update([error] if error else [])

    def _tell(self, *, ended: bool = False) -> None:
        """Kafka has all up to here; and now it knows."""
        self._flush()
        state = events.SourceState(source=self.name, last_sequence=self.sequence, acknowledged=self.sequence)
        state.put_aside, state.ended, state.host = self.refused.total(), ended, socket.gethostname()
        state.at.GetCurrentTime()
        send(self._producer, topics.encode(topics.SOURCES, state), self._acked)
        self._flush()
        self._told_s = time.monotonic()

    def _flush(self) -> None:
        if waiting := self._producer.flush(FLUSH_S):
            raise fail(f"Kafka did not acknowledge {waiting} records within {FLUSH_S:.0f} s: import the file again")
