"""The audit's metrics: sums and the worst source, and no harm to the controller."""

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from services import telemetry
from services.audit import audit
from services.audit.arithmetic import Course, Look
from services.audit.letters import DeadPlaces
from services.controller import auditing
from services.controller.auditing import Auditor, show
from services.errors import Overloaded
from tests.fakes.clickhouse import FakeClickHouse, FakeServer
from tests.fakes.kafka import FakeBroker, FakeFollower


def shown(state: str) -> float | None:
    return REGISTRY.get_sample_value("tutelage_audit_exchanges", {"state": state})


def worst() -> dict[str, float]:
    [metric] = telemetry.AUDIT_WORST.collect()
    return {sample.labels["source"]: sample.value for sample in metric.samples}


def test_the_sums_are_shown_and_of_the_sources_the_worst_alone() -> None:
    looks = [Look("a", 10, 10, [(1, 2)]), Look("b", 20, 20, [(1, 5)], oldest_s=3.0), Look("c", 5, 5)]
    show(audit(looks, {"a": 10, "b": 20, "c": 5}, {"a": {2}}), duplicates=4, vanished=3)
    names = ("answered", "stored", "dead_letters", "missing", "duplicates", "vanished")
    assert [shown(state) for state in names] == [35, 28, 1, 6, 4, 3]
    assert worst() == {"b": 5}
    show(audit(looks[2:], {"c": 5}, {}), duplicates=0, vanished=0)
    assert (worst(), shown("missing")) == ({}, 0)


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
