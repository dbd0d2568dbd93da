"""Rows of erased customers are kept out, whether the erasure was known before or came in between."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protos import events_pb2 as events
from services.erasures import digest
from services.sink.forgetting import Forgetting
from services.sink.wire import row
from services.topics import CANDIDATES, PROMOTIONS, SHADOWS, Record, decode, encode
from tests.fakes.clickhouse import FakeClickHouse, FakeServer
from tests.services.sink.messages import exchange, uuid7

AT = datetime(2026, 1, 1, tzinfo=UTC)


SECRET = "known to this installation alone"


class Server(FakeServer):
    """Remembers the statements."""

    def erase(self, group_key: str, task: str = "") -> None:
        erased = {"id": uuid7(), "digest": digest(group_key, SECRET), "task": task, "at": AT.replace(tzinfo=None)}
        self.tables.setdefault("erasures", []).append(erased)
        self.tables["erasure_key"] = [{"key": SECRET, "made_at": AT.replace(tzinfo=None)}]


@pytest.fixture
def server() -> Server:
    return Server()


def candidate(group_key: str, asked_at: datetime, decided_at: datetime = AT + timedelta(days=1)) -> Record:
    made = events.Candidate(id=uuid7(), task="address", request=exchange().request)
    made.request.group_key = group_key
    made.asked_at.FromDatetime(asked_at)
    made.decided_at.FromDatetime(decided_at)
    return encode(CANDIDATES, made)


def rows(*records: Record) -> list[tuple[Record, Any]]:
    return [(record, row(record)) for record in records]


BEFORE, AFTER = AT - timedelta(seconds=1), AT + timedelta(seconds=1)


def test_where_nobody_was_erased_all_rows_are_kept(server: Server) -> None:
    batch = rows(candidate("acme", BEFORE))
    assert Forgetting(FakeClickHouse(server)).parted("candidates", batch) == (batch, [])


def test_what_was_asked_before_the_erasure_is_kept_out_however_late_it_was_decided(server: Server) -> None:
    server.erase("acme")
    old, new, other = batch = rows(candidate("acme", BEFORE), candidate("acme", AFTER), candidate("others", BEFORE))
    assert Forgetting(FakeClickHouse(server)).parted("candidates", batch) == ([new, other], [old])


def test_a_pair_goes_by_when_its_customer_asked(server: Server) -> None:
    server.erase("acme")
    pairs = [events.ShadowPair(id=uuid7(), task="address", group_key="acme") for _ in range(2)]
    pairs[0].asked_at.FromDatetime(BEFORE)
    pairs[1].asked_at.FromDatetime(AFTER)
    old, new = batch = rows(*(encode(SHADOWS, pair) for pair in pairs))
    assert Forgetting(FakeClickHouse(server)).parted("shadows", batch) == ([new], [old])


def test_a_candidate_of_an_older_sampler_goes_by_when_it_was_decided(server: Server) -> None:
    server.erase("acme")
    made = CANDIDATES.message.FromString(candidate("acme", AFTER, decided_at=BEFORE).value)
    made.ClearField("asked_at")
    batch = rows(encode(CANDIDATES, made))
    assert Forgetting(FakeClickHouse(server)).parted("candidates", batch) == ([], batch)


def test_an_erasure_that_came_between_the_look_and_the_insert_is_made_good_before_the_commit(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(FakeClickHouse, "command", lambda _self, sql: said.append(sql))
    forgetting = Forgetting(FakeClickHouse(server))
    kept, gone = forgetting.parted("candidates", rows(candidate("acme", BEFORE), candidate("others", BEFORE)))
    server.erase("acme")
    forgetting.settle("candidates", kept, gone)
    [statement] = said
    assert f"id IN ('{decode(kept[0][0]).id}')" in statement
    forgetting.settle("candidates", kept[1:], [])
    assert said == [statement]


def test_topics_that_do_not_speak_of_customers_are_not_looked_at(server: Server) -> None:
    server.away = True
    batch = rows(encode(PROMOTIONS, events.Promotion(id="p")))
    forgetting = Forgetting(FakeClickHouse(server))
    assert forgetting.parted("promotions", batch) == (batch, [])
    forgetting.settle("promotions", batch, [])
