"""What is made of ClickHouse's answers, and what the engine answers."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import uuid_utils
from hypothesis import given
from hypothesis import strategies as st

from protos import events_pb2 as events
from services.audit import asking
from services.audit.arithmetic import Course, Look
from services.clickhouse import ClickHouse
from services.topics import EXCHANGES, SOURCES, Topic, encode
from tests.fixtures.tables import Tables
from tests.services.sink.messages import exchange


@given(st.sets(st.integers(1, 40), min_size=1), st.integers(1, 9))
def test_the_holes_are_those_before_between_and_inside_the_blocks(stored: set[int], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "BLOCK", block)
        arrived = asking.arrived_of(list(_rows(stored, block)))["s"]
    assert arrived.last == max(stored)
    holes = {number for first, last in arrived.holes for number in range(first, last + 1)}
    assert holes == set(range(1, max(stored))) - stored


def _rows(stored: set[int], size: int) -> Iterator[dict[str, object]]:
    """As the query ARRIVED gives them."""
    for block in sorted({(one - 1) // size for one in stored}):
        begin = block * size
        here = {one for one in stored if begin < one <= begin + size}
        holes = sorted(set(range(begin + 1, max(here) + 1)) - here)
        yield {"source": "s", "block": block, "last": max(here), "holes": holes}


def put(connection: ClickHouse, topic: Topic, *messages: object) -> None:
    Tables(connection).load(*(encode(topic, message) for message in messages))  # type: ignore[arg-type]


def state(source: str, last: int, acknowledged: int, ended: bool = False, at_s: int = 0) -> events.SourceState:
    made = events.SourceState(source=source, last_sequence=last, acknowledged=acknowledged, ended=ended)
    made.at.FromDatetime(datetime.now(UTC) + timedelta(seconds=at_s))
    return made


@pytest.mark.contract
def test_an_empty_ledger_has_no_sources(ledger: ClickHouse) -> None:
    assert asking.look(ledger) == []
    assert asking.duplicates(ledger, days=7) == 0


@pytest.mark.contract
def test_the_engine_knows_the_holes_the_tail_and_what_came_twice(ledger: ClickHouse) -> None:
    big = asking.BLOCK * 2 + 5
    put(ledger, EXCHANGES, *(exchange(n, "a") for n in (1, 2, 4, 7)))
    put(ledger, EXCHANGES, *(exchange(n, "a") for n in (2, 4)), exchange(0, ""), exchange(big, "b"))
    put(ledger, SOURCES, state("a", 9, 8), state("c", 3, 3, ended=True))
    assert [replace(one, heard_s=0.0) for one in asking.look(ledger)] == [
        Look("a", 9, 8, [(3, 3), (5, 6), (8, 9)]),
        Look("b", big, big, [(1, big - 1)], course=Course.UNTOLD),
        Look("c", 3, 3, [(1, 3)], course=Course.ENDED),
    ]


@pytest.mark.contract
def test_of_two_states_the_most_counts_whichever_came_last(ledger: ClickHouse) -> None:
    put(ledger, SOURCES, state("a", 20, 15))
    put(ledger, SOURCES, state("a", 18, 18, ended=True, at_s=1))
    put(ledger, SOURCES, state("b", 20, 15, at_s=1))
    put(ledger, SOURCES, state("b", 10, 5))
    ledger.command("OPTIMIZE TABLE sources FINAL")
    assert [(one.source, one.answered, one.acknowledged, one.course) for one in asking.look(ledger)] == [
        ("a", 20, 20, Course.ENDED),
        ("b", 20, 15, Course.OPEN),
    ]


@pytest.mark.contract
def test_a_source_that_is_not_heard_of_is_silent_and_the_oldest_ages(ledger: ClickHouse) -> None:
    old = state("a", 5, 3)
    old.oldest_unacknowledged_at.FromDatetime(datetime.now(UTC) - timedelta(seconds=300))
    put(ledger, SOURCES, old)
    [open_] = asking.look(ledger)
    assert open_.course is Course.OPEN
    assert 299 < open_.oldest_s < 400
    ledger.command("ALTER TABLE sources UPDATE inserted_at = now() - 1000 WHERE 1 SETTINGS mutations_sync = 1")
    [silent] = asking.look(ledger)
    assert silent.course is Course.SILENT


@pytest.mark.contract
def test_an_id_of_two_tasks_is_a_duplicate_and_a_row_twice_is_not(ledger: ClickHouse) -> None:
    now, early = str(uuid_utils.uuid7()), "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    for sequence, (id_, task) in enumerate([(now, "a"), (now, "a"), (now, "b"), (early, "a"), (early, "b")], start=1):
        made = exchange(sequence, "s", id=id_)
        made.request.task = task
        put(ledger, EXCHANGES, made)
    assert asking.duplicates(ledger, days=1) == 2
    assert asking.answered_ids(ledger) == 2


@pytest.mark.contract
def test_what_was_inserted_and_is_gone_has_vanished_and_an_erased_one_has_not(ledger: ClickHouse) -> None:
    ids = [str(uuid_utils.uuid7()) for _ in range(6)]
    put(ledger, EXCHANGES, *(exchange(sequence, "s", id=id_) for sequence, id_ in enumerate(ids, start=1)))
    assert asking.vanished(ledger, settled_s=0) == {}
    ledger.command("DELETE FROM exchanges WHERE sequence IN (2, 3, 5)")
    ledger.insert("erased_exchanges", ("id", "erasure"), [(ids[4], str(uuid_utils.uuid7()))], str(uuid_utils.uuid7()))
    assert asking.vanished(ledger, settled_s=0) == {"s": 2}
    assert asking.vanished(ledger) == {}  # It is too young to be told from what is on its way.
    ledger.command("TRUNCATE TABLE exchanges")
    assert asking.vanished(ledger, settled_s=0) == {"s": 5}


@pytest.mark.contract
def test_a_call_sent_again_under_its_id_is_one_row_and_nothing_has_vanished(ledger: ClickHouse) -> None:
    again, lost = str(uuid_utils.uuid7()), str(uuid_utils.uuid7())
    for sequence, id_ in enumerate([again, again, again, lost, lost], start=1):
        put(ledger, EXCHANGES, exchange(sequence, "s", id=id_, outcome=events.OUTCOME_FAILED))
    put(ledger, EXCHANGES, exchange(1, "other", id=again))  # Answered, by another gateway: the row that stays.
    ledger.command("OPTIMIZE TABLE exchanges FINAL")
    assert ledger.query("SELECT source FROM exchanges WHERE id = {id:UUID}", {"id": again}) == [{"source": "other"}]
    assert asking.vanished(ledger, settled_s=0) == {}
    ledger.command(f"DELETE FROM exchanges WHERE id = '{lost}'")
    assert asking.vanished(ledger, settled_s=0) == {"s": 1}


@pytest.mark.contract
@pytest.mark.parametrize("first", ["failed", "answered"])
def test_a_failed_try_does_not_stand_for_an_answer_of_its_id_that_is_gone(ledger: ClickHouse, first: str) -> None:
    id_ = str(uuid_utils.uuid7())
    answer, failed = exchange(1, "s", id=id_), exchange(2, "s", id=id_, outcome=events.OUTCOME_FAILED)
    ledger.command("SYSTEM STOP MERGES exchanges")
    for one in (failed, answer) if first == "failed" else (answer, failed):
        put(ledger, EXCHANGES, one)
    assert asking.vanished(ledger, settled_s=0) == {}
    [row] = ledger.query("SELECT _part AS part FROM exchanges WHERE sequence = 1")
    ledger.command(f"ALTER TABLE exchanges DROP PART '{row['part']}'")
    assert asking.vanished(ledger, settled_s=0) == {"s": 1}
    put(ledger, EXCHANGES, answer)
    assert asking.vanished(ledger, settled_s=0) == {}


@pytest.mark.contract
def test_what_an_older_sink_put_into_the_ledger_is_looked_for_by_its_id_alone(ledger: ClickHouse) -> None:
    id_ = str(uuid_utils.uuid7())
    put(ledger, EXCHANGES, exchange(1, "s", id=id_), exchange(2, "s", id=id_, outcome=events.OUTCOME_FAILED))
    ledger.command("ALTER TABLE ledger UPDATE answered = false WHERE 1 SETTINGS mutations_sync = 1")
    ledger.command("DELETE FROM exchanges WHERE sequence = 1")
    put(ledger, EXCHANGES, exchange(3, "s", id=id_, outcome=events.OUTCOME_FAILED))
    assert asking.vanished(ledger, settled_s=0) == {}


@pytest.mark.contract
def test_a_try_of_today_folded_into_an_older_row_has_not_vanished(ledger: ClickHouse) -> None:
    id_ = str(uuid_utils.uuid7())
    put(ledger, EXCHANGES, exchange(1, "s", id=id_))
    for table in ("exchanges", "ledger"):
        ledger.command(f"ALTER TABLE {table} UPDATE inserted_at = now() - 172800 WHERE 1 SETTINGS mutations_sync = 1")
    put(ledger, EXCHANGES, exchange(2, "s", id=id_, outcome=events.OUTCOME_FAILED))
    ledger.command("OPTIMIZE TABLE exchanges FINAL")
    assert asking.vanished(ledger, settled_s=0) == {}
