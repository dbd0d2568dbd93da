"""An erasure, from the request to the receipt: ClickHouse, snapshots, marks on students, what Kafka holds.

The order is what makes it whole. First the erasure is recorded, from which on the sink lets nothing old of the
customer in. Then ClickHouse's rows go, so that a snapshot taken from now on has none; then those that are there are
written anew. It is done when its receipt is stored: one without is carried on at the next start, by its digest.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from google.protobuf import json_format

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.controller import receipts, snapshot_erasure
from services.controller.actions import Actions
from services.controller.desk import Desk
from services.controller.erasure_tables import ErasureTables
from services.controller.snapshot_erasure import Customer, Note
from services.controller.state import State
from services.erasures import EPOCH, Erasure, digest, digests, micros
from services.kafka import Keeping

log = structlog.stdlib.get_logger("tutelage")


@dataclass(frozen=True)
class Asked:
    """Whom to erase, checked."""

    group_key: str
    task: str
    decided_by: str


@dataclass(frozen=True)
class Kafka:
    """What an erasure asks of Kafka."""

    keeping: Callable[[], list[Keeping]]
    """How long the topics that carry customers keep records."""
    bury: Callable[[Sequence[tuple[str, int]]], int]
    """Take keys, each with its partition, out of the sampler's changelog and memory."""


@dataclass(frozen=True)
class Erasing:
    """One erasure at a time. Raises Overloaded while ClickHouse or Kafka is away, Refused if it can't be done."""

    tables: ErasureTables
    actions: Actions
    state: State
    desk: Desk
    kafka: Kafka
    directory: Path
    """Where the receipts lie as files."""
    new_id: Callable[[], str]
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def plan(self, asked: Asked) -> control.ErasureReceipt:
        """What an erasure would remove and leave now."""
        receipt = await asyncio.to_thread(self._found, asked)
        receipt.dry_run, receipt.id = True, ""
        receipt.remains.extend(receipts.remains(receipt))
        return receipt

    async def erase(self, asked: Asked) -> control.ErasureReceipt:
        """Erase the customer, and return the receipt once it is stored."""
        erasure = await asyncio.to_thread(self._erasure, asked)
        async with self._one_at_a_time:
            await asyncio.to_thread(self.tables.begin, erasure, asked.decided_by, self.actions.now())
            return await self._carry_out(erasure, asked.decided_by, asked.group_key)

    async def resume(self) -> None:
        """Finish what an earlier controller began."""
        async with self._one_at_a_time:
            for erasure, decided_by in await asyncio.to_thread(self.tables.pending):
                log.warning("an erasure was interrupted: finishing it", erasure=erasure.id)
                await self._carry_out(erasure, decided_by)

    def _erasure(self, asked: Asked) -> Erasure:
        known_as = digest(asked.group_key, self.tables.secret())
        return Erasure(self.new_id(), known_as, asked.task, micros(self.actions.now()))

    def _customer(self, erasure: Erasure, group_key: str = "") -> Customer:
        """Without the group key, which nobody has kept, older snapshots' rows are known by their ids alone."""
        secret = self.tables.secret()
        known_as = digests(group_key, secret) if group_key else frozenset({erasure.digest})
        return Customer(known_as, secret, self.tables.exchange_ids(erasure))

    async def _carry_out(self, erasure: Erasure, decided_by: str, group_key: str = "") -> control.ErasureReceipt:
        receipt = await asyncio.to_thread(self._remove, erasure, decided_by, group_key)
        for student in receipt.students:
            if student.train_rows:
                await self.desk.mark(student.run_id, erasure.id)
        receipt.finished_at.FromDatetime(self.actions.now())
        receipt.remains.extend(receipts.remains(receipt))
        await asyncio.to_thread(self._keep, receipt, erasure, decided_by)
        log.info("erased", erasure=erasure.id, rows=dict(receipt.rows), students=len(receipt.students))
        return receipt

    def _remove(self, erasure: Erasure, decided_by: str, group_key: str) -> control.ErasureReceipt:
        customer = self._customer(erasure, group_key)
        receipt = self._told(erasure, decided_by)
        self.kafka.bury(self.tables.remembered(erasure))
        self.tables.delete(erasure)
        with self.actions.datasets:
            self._search(receipt, erasure, customer)
            for found in receipt.snapshots:
                self._rewrite(found, erasure, customer)
        return receipt

    def _found(self, asked: Asked) -> control.ErasureReceipt:
        erasure = self._erasure(asked)
        receipt = self._told(erasure, asked.decided_by)
        self._search(receipt, erasure, self._customer(erasure, asked.group_key))
        return receipt

    def _told(self, erasure: Erasure, decided_by: str) -> control.ErasureReceipt:
        """The receipt as far as ClickHouse and Kafka tell it, before anything is removed."""
        at = _time(erasure)
        receipt = control.ErasureReceipt(
            id=erasure.id, group_digest=erasure.digest, task=erasure.task, decided_by=decided_by
        )
        receipt.erased_at.FromDatetime(at)
        receipt.rows.update(self.tables.counts(erasure))
        receipt.kafka.extend(receipts.held(keeping, at) for keeping in self.kafka.keeping())
        return receipt

    def _search(self, receipt: control.ErasureReceipt, erasure: Erasure, customer: Customer) -> None:
        for task in [erasure.task] if erasure.task else sorted(self.actions.tasks):
            for number in sorted(self.actions.snapshots(task)):
                if rows := snapshot_erasure.rows_of(customer, self.actions.snapshots_dir / task / str(number)):
                    receipt.snapshots.add(task=task, number=number, rows=rows)
                    receipt.students.extend(self._students(task, number, rows))
        receipt.nothing_found = not receipts.found(receipt)

    def _students(self, task: str, number: int, rows: dict[str, int]) -> Iterator[control.TrainedStudent]:
        for run in self._trained(task, number):
            yield control.TrainedStudent(
                task=task,
                student_version=run.student_version,
                run_id=run.id,
                train_rows=rows.get("train", 0) + rows.get("eval", 0),
                serving=self.state.promotion(task).student_version == run.student_version,
                report_quotes="golden" in rows,
            )

    def _trained(self, task: str, number: int) -> list[events.Run]:
        """The runs that have begun to learn from a snapshot: the job's file is written first."""
        runs = [run for run in self.state.runs(task) if run.snapshot == number]
        return [run for run in runs if (self.actions.output(run) / "job.json").exists()]

    def _rewrite(self, found: control.ErasedSnapshot, erasure: Erasure, customer: Customer) -> None:
        directory = self.actions.snapshots_dir / found.task / str(found.number)
        snapshot_erasure.sweep(directory.parent)
        if not self._trained(found.task, found.number):
            found.rewritten = snapshot_erasure.remove(customer, directory, Note(erasure.id, _time(erasure)))
            found.removed = not found.rewritten

    def _keep(self, receipt: control.ErasureReceipt, erasure: Erasure, decided_by: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = (self.directory / f"{erasure.id}.json").resolve()
        receipt.path = str(path)
        text = json_format.MessageToJson(receipt, preserving_proto_field_name=True, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
        self.tables.finish(erasure, decided_by, text, self.actions.now())


def _time(erasure: Erasure) -> datetime:
    return (EPOCH + timedelta(microseconds=erasure.at_us)).astimezone(UTC)
