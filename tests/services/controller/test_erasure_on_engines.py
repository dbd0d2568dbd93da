"""An erasure against the real engines: a broker, ClickHouse and the sink as a process."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from protos import events_pb2 as events
from services.clickhouse import ClickHouse
from services.controller.erasing import Asked, Erasing, Kafka
from services.controller.erasure_tables import ErasureTables
from services.controller.receipts import holds_customers, tells_sampler
from services.controller.store import GOLDEN_COLUMNS
from services.erasures import Erasure, digest, micros
from services.kafka import bury, keeping
from services.sampler.memory import Kind
from services.topics import CANDIDATES, EXCHANGES, FEEDBACK, SHADOWS, Record, encode
from tests.services.controller.world import World
from tests.services.sink.messages import exchange, uuid7
from tests.services.sink.test_sink import AUDIT, Stack, stack_on

pytestmark = pytest.mark.contract

BEFORE = datetime.now(UTC) - timedelta(hours=1)
TABLES = ("exchanges", "feedback", "candidates", "shadows", "golden")


@dataclass
class Place:
    """The engines, and an erasure that works on them."""

    stack: Stack
    erasing: Erasing
    tables: ErasureTables

    def digest(self, group_key: str) -> str:
        return digest(group_key, self.tables.secret())

    def count(self, table: str, group_key: str = "acme") -> int:
        [row] = self.stack.rows(f"SELECT count() AS n FROM {table} FINAL WHERE group_key = '{group_key}'")
        return int(str(row["n"]))

    def counts(self, group_key: str = "acme") -> dict[str, int]:
        return {table: self.count(table, group_key) for table in TABLES}

    def add_golden(self, text: str, group_key: str) -> None:
        connection = ClickHouse(self.stack.clickhouse)
        row = ("address", text, text, "{}", group_key, "", {}, BEFORE)
        connection.insert("golden", GOLDEN_COLUMNS, [row], token=text)
        connection.close()


@pytest.fixture
def place(clickhouse: str, tmp_path: Path) -> Iterator[Place]:
    with stack_on(clickhouse, tmp_path) as stack:
        world = World(tmp_path / "world")
        world.actions.tasks["address"] = world.actions.tasks["labels"]  # type: ignore[index]
        object.__setattr__(world.actions, "now", lambda: datetime.now(UTC))
        tables = ErasureTables(lambda: ClickHouse(stack.clickhouse))
        erasing = Erasing(
            tables,
            world.actions,
            world.state,
            world.desk,
            Kafka(lambda: keeping(stack.kafka, holds_customers), lambda keys: bury(stack.kafka, tells_sampler, keys)),
            directory=tmp_path / "erasures",
            new_id=uuid7,
        )
        yield Place(stack, erasing, tables)


def said(group_key: str, sequence: int, at: datetime = BEFORE) -> list[Record]:
    """An exchange, its candidate, its pair, and feedback on it twice: with the group key and without."""
    made = exchange(sequence, group_key)
    made.request.group_key = group_key
    for field in (made.started_at, made.finished_at):
        field.FromDatetime(at)
    chosen = events.Candidate(id=made.id, task="address", request=made.request, probability=1, asked_at=made.started_at)
    chosen.decided_at.FromDatetime(datetime.now(UTC))
    record = events.FeedbackRecord(id=uuid7(), exchange_id=made.id, task="address", created_at=made.started_at)
    keyed = events.FeedbackRecord(id=uuid7(), exchange_id=made.id, task="address", created_at=made.started_at)
    keyed.group_key = group_key
    feedback = [encode(FEEDBACK, one) for one in (record, keyed)]
    pair = events.ShadowPair(id=made.id, task="address", group_key=group_key, asked_at=made.started_at)
    return [encode(EXCHANGES, made), encode(CANDIDATES, chosen), *feedback, encode(SHADOWS, pair)]


async def test_an_erased_customer_is_gone_and_does_not_come_back_when_topics_are_read_again(place: Place) -> None:
    stack = place.stack
    old = [record for n in range(1, 41) for record in said("acme", n)]
    others = [record for n in range(1, 21) for record in said("others", n)]
    stack.put(*old, *others)
    with stack.sink():
        stack.until("SELECT count() AS n FROM exchanges FINAL", 60)
        stack.until("SELECT count() AS n FROM feedback FINAL", 120)
        stack.until("SELECT count() AS n FROM candidates FINAL", 60)
        stack.until("SELECT count() AS n FROM shadows FINAL", 60)
        for number in range(3):
            place.add_golden(f"question {number}", "acme")
        place.add_golden("their own", "others")

        plan = await place.erasing.plan(Asked("acme", "", "ann"))
        receipt = await place.erasing.erase(Asked("acme", "", "ann"))
        expected = {"exchanges": 40, "feedback": 80, "candidates": 40, "shadows": 40, "golden": 3}
        assert dict(plan.rows) == dict(receipt.rows) == expected
        assert place.counts() == dict.fromkeys(TABLES, 0)
        assert place.counts("others") == {"exchanges": 20, "feedback": 20, "candidates": 20, "shadows": 20, "golden": 1}
        assert stack.rows("SELECT count() AS n FROM feedback FINAL") == [{"n": 40}]
        assert {held.topic for held in receipt.kafka} >= {"exchanges", "feedback", "candidates", "dead-letters"}

        late = said("acme", 41)  # It had waited in a spool.
        new = said("acme", 42, at=datetime.now(UTC) + timedelta(seconds=1))
        stack.put(*late, *new)
        stack.until("SELECT uniqExact(sequence) AS n FROM ledger WHERE source = 'acme'", 42)
        stack.until("SELECT count() AS n FROM exchanges FINAL WHERE group_key = 'acme'", 1)

    with stack.sink(SINK_GROUP="reads-all-again", SINK_BATCH_ROWS="30"):
        stack.put(*said("others", 21))
        stack.until("SELECT count() AS n FROM exchanges FINAL WHERE group_key = 'others'", 21)
        stack.until("SELECT count() AS n FROM candidates FINAL WHERE group_key = 'others'", 21)
        stack.until("SELECT count() AS n FROM candidates FINAL WHERE group_key = 'acme'", 1)
        stack.until("SELECT count() AS n FROM feedback FINAL WHERE group_key = 'acme'", 1)
        stack.until("SELECT count() AS n FROM shadows FINAL WHERE group_key = 'acme'", 1)
        stack.until("SELECT count() AS n FROM feedback FINAL WHERE group_key = ''", 22)
        deadline_s = time.monotonic() + 3
        while time.monotonic() < deadline_s:
            assert place.counts() == {"exchanges": 1, "feedback": 1, "candidates": 1, "shadows": 1, "golden": 0}
            await asyncio.sleep(0.3)
    assert stack.rows(AUDIT) == [
        {"source": "acme", "last": 42, "missing": 0},
        {"source": "others", "last": 21, "missing": 0},
    ]
    assert stack.rows("SELECT count() AS n FROM feedback FINAL WHERE group_key = ''") == [{"n": 22}]


def read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


async def test_what_an_erasure_wrote_names_the_customer_nowhere(place: Place) -> None:
    place.stack.put(*said("a very private customer", 1))
    with place.stack.sink():
        place.stack.until("SELECT count() AS n FROM exchanges FINAL", 1)
        place.stack.until("SELECT count() AS n FROM candidates FINAL", 1)
        place.stack.until("SELECT count() AS n FROM shadows FINAL", 1)
        receipt = await place.erasing.erase(Asked("a very private customer", "", "ann"))
    assert "private" not in read(receipt.path)
    commands = place.stack.rows("SELECT command FROM system.mutations WHERE database = currentDatabase()")
    assert len(commands) == len(TABLES)
    assert not any("private" in str(row["command"]) for row in commands)
    assert not any(place.tables.secret() in str(row["command"]) for row in commands)
    assert place.tables.secret() not in read(receipt.path)
    [row] = place.stack.rows("SELECT digest, receipt != '' AS done FROM erasures FINAL")
    assert row == {"digest": place.digest("a very private customer"), "done": 1}


async def test_a_row_that_the_sink_was_inserting_while_it_was_erased_is_taken_back(place: Place) -> None:
    """The sink looked before the erasure, the erasure deleted before the insert: only the look behind it is left."""
    place.stack.put(*said("others", 1))
    with place.stack.sink(SINK_BATCH_AGE_S="2"):
        place.stack.until("SELECT count() AS n FROM exchanges FINAL", 1)
        acme = Erasure(uuid7(), place.digest("acme"), "", micros(datetime.now(UTC)))
        place.tables.begin(acme, "ann", datetime.now(UTC))
        place.stack.put(*(said("acme", number)[0] for number in range(1, 5_001)))
        place.stack.until("SELECT uniqExact(sequence) AS n FROM ledger WHERE source = 'acme'", 5_000)
        place.stack.until("SELECT count() AS n FROM exchanges WHERE group_key = 'acme'", 0)
        place.stack.until("SELECT uniqExact(id) AS n FROM erased_exchanges", 5_000)


async def test_what_the_sampler_remembers_of_them_is_known_by_key_and_partition(place: Place) -> None:
    mine, _, feedback, *_ = said("acme", 1)
    place.stack.put(*said("others", 1), mine, feedback)
    with place.stack.sink():
        place.stack.until("SELECT count() AS n FROM exchanges FINAL", 2)
        place.stack.until("SELECT count() AS n FROM feedback FINAL", 3)
    [row] = place.stack.rows("SELECT toString(id) AS id, kafka_partition FROM exchanges WHERE group_key = 'acme'")
    acme = Erasure(uuid7(), place.digest("acme"), "", micros(datetime.now(UTC)))
    found = dict(place.tables.remembered(acme))
    assert set(found) == {f"{kind}:{row['id']}" for kind in (Kind.EXCHANGE, Kind.RATING, Kind.CORRECTION)}
    assert found[f"{Kind.EXCHANGE}:{row['id']}"] == row["kafka_partition"]


async def test_an_interrupted_erasure_is_found_and_finished_by_its_digest(place: Place) -> None:
    place.stack.put(*said("acme", 1), *said("others", 1))
    with place.stack.sink():
        place.stack.until("SELECT count() AS n FROM candidates FINAL", 2)
        place.stack.until("SELECT count() AS n FROM exchanges FINAL", 2)
        place.stack.until("SELECT count() AS n FROM feedback FINAL", 4)
    acme = Erasure(uuid7(), place.digest("acme"), "", micros(datetime.now(UTC)))
    place.tables.begin(acme, "ann", datetime.now(UTC))
    assert [pending for pending, _ in place.tables.pending()] == [acme]
    await place.erasing.resume()
    assert place.tables.pending() == []
    assert place.counts() == dict.fromkeys(TABLES, 0)
    assert place.counts("others")["exchanges"] == 1


async def test_an_erasure_of_one_task_leaves_the_customers_other_tasks(place: Place) -> None:
    other = exchange(2, "acme", id=uuid7())
    other.request.task, other.request.group_key = "other", "acme"
    place.stack.put(*said("acme", 1), encode(EXCHANGES, other))
    with place.stack.sink():
        place.stack.until("SELECT count() AS n FROM exchanges FINAL", 2)
        place.stack.until("SELECT count() AS n FROM candidates FINAL", 1)
    receipt = await place.erasing.erase(Asked("acme", "address", "ann"))
    assert receipt.rows["exchanges"] == 1
    assert place.stack.rows("SELECT task FROM exchanges FINAL") == [{"task": "other"}]
