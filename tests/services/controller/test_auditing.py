"""The audit's metrics: sums, the sources that are worth a look, and no harm to the controller."""

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from services import telemetry
from services.audit import audit, settled
from services.audit.arithmetic import Course, Look
from services.audit.letters import DeadPlaces
from services.controller import auditing
from services.controller.auditing import SHOWN, Auditor, show, watched
from services.errors import Overloaded
from tests.fakes.clickhouse import FakeClickHouse, FakeServer
from tests.fakes.kafka import FakeBroker, FakeFollower


def shown(state: str) -> float | None:
    return REGISTRY.get_sample_value("tutelage_audit_exchanges", {"state": state})


def by_source(state: str) -> dict[str, float]:
    [metric] = telemetry.AUDIT_SOURCE.collect()
    return {one.labels["source"]: one.value for one in metric.samples if one.labels["state"] == state}


def oldest() -> dict[str, float]:
    [metric] = telemetry.AUDIT_SOURCE_OLDEST.collect()
    return {one.labels["source"]: one.value for one in metric.samples}


def test_the_sums_are_shown_and_the_sources_that_go_on_or_lack_something() -> None:
    looks = [
        Look("a", 10, 10, [(1, 2)]),
        Look("b", 20, 20, [(1, 5)], oldest_s=3.0),
        Look("c", 5, 5, course=Course.ENDED),
    ]
    show(audit(looks, {"a": 10, "b": 20, "c": 5}, {"a": {2}}), duplicates=4, vanished=3)
    names = ("answered", "stored", "dead_letters", "missing", "duplicates", "vanished")
    assert [shown(state) for state in names] == [35, 28, 1, 6, 4, 3]
    assert by_source("missing") == {"a": 1, "b": 5}
    assert by_source("answered") == {"a": 10, "b": 20}
    assert by_source("dead_letters") == {"a": 1, "b": 0}
    assert oldest() == {"a": 0, "b": 3}
    show(audit([Look("a", 11, 11), *looks[2:]], {"c": 5}, {}), duplicates=0, vanished=0)
    assert (by_source("missing"), by_source("stored"), oldest()) == ({"a": 0}, {"a": 11}, {"a": 0})
    assert shown("missing") == 0


def test_of_too_many_sources_those_that_lack_something_stay_then_those_that_go_on_the_latest_first() -> None:
    ended = [Look(f"{number:03}", 5, 5, [(1, 1)], course=Course.ENDED) for number in range(3)]
    silent = [Look(f"{number:03}", 5, 5, course=Course.SILENT) for number in range(3, 100)]
    going_on = [Look(f"{number:03}", 5, 5) for number in range(100, 140)]
    looks = [*silent, *going_on, *ended]
    chosen = [one.source for one in watched(audit(looks, settled(looks), {}).sources)]
    expected = [*range(2, -1, -1), *range(139, 99, -1), *range(99, 92, -1)]
    assert chosen == [f"{number:03}" for number in expected]
    assert len(chosen) == SHOWN


def test_what_ended_and_is_stored_or_written_off_needs_no_look() -> None:
    lost = Look("a", 5, 5, [(2, 3)], course=Course.ENDED, written_off=[(2, 3)])
    looks = [lost, Look("b", 5, 5, course=Course.ENDED), Look("c", 5, 5, course=Course.UNTOLD)]
    assert watched(audit(looks, settled(looks), {}).sources) == []


@pytest.fixture
def auditor(monkeypatch: pytest.MonkeyPatch) -> Auditor:
    monkeypatch.setattr(auditing.asking, "duplicates", lambda _clickhouse, _days: 0)
    monkeypatch.setattr(auditing.asking, "vanished", lambda _clickhouse: {})
    broker = FakeBroker()
    broker.create_topics()
    return Auditor(FakeClickHouse(FakeServer()), DeadPlaces(FakeFollower(broker, "dead-letters")))


def test_what_was_on_kafka_a_minute_ago_and_is_not_stored_is_missing_at_the_second_look(
    auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [Look("a", 10, 10, [(3, 3)], course=Course.ENDED)]
    monkeypatch.setattr(auditing, "look", lambda _clickhouse: looks)
    show(audit([], {}, {}), duplicates=0, vanished=0)
    auditor.look()  # Nothing is told: what an ended source lacks would be called in flight.
    assert (shown("answered"), shown("missing"), shown("in_flight")) == (0, 0, 0)
    auditor.look()
    assert (shown("answered"), shown("missing"), shown("in_flight")) == (10, 1, 0)


def test_a_ledger_without_sources_is_audited_at_the_second_look_too(
    auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry.AUDIT_AT.set(0)
    monkeypatch.setattr(auditing, "look", lambda _clickhouse: [])
    auditor.look()
    assert REGISTRY.get_sample_value("tutelage_audit_time_seconds") == 0
    auditor.look()
    assert REGISTRY.get_sample_value("tutelage_audit_time_seconds") != 0


async def test_whatever_a_look_meets_the_next_one_comes(auditor: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Callable[[], Exception]] = [lambda: Overloaded("ClickHouse is away"), lambda: ValueError("a fault")]
    looked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look(_clickhouse: object) -> list[Look]:
        if errors:
            raise errors.pop(0)()
        loop.call_soon_threadsafe(looked.set)
        return []

    monkeypatch.setattr(auditing, "look", look)
    going_on = asyncio.create_task(auditor.go_on(0.01))
    await looked.wait()
    assert not going_on.done()
    going_on.cancel()
