"""The watch where ClickHouse is away, and beside people and runs that decide, too."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from protos import events_pb2 as events
from services.controller.pairs import Calls, Complaints, Observed, Sought
from services.controller.ramp_watch import RampWatch
from services.controller.worth import Pair
from services.errors import Overloaded
from tests.services.controller.test_ramp_on_engine import STUDENT_ALONE
from tests.services.controller.test_worth import GOLDEN
from tests.services.controller.world import NOON, World, a_task


class FakeObserved(Observed):
    """ClickHouse that has all promotions, and as many pairs as the test says, all good."""

    def __init__(self, world: World) -> None:
        self.world, self.good, self.away, self.notes = world, 100, False, list[str]()
        self.asked: list[Sought] = []
        self.when_asked: Callable[[], object] = lambda: None

    def promotions(self, task: str) -> list[events.Promotion]:
        if self.away:
            raise Overloaded("ClickHouse can't be used now")
        return self.world.promotions()

    def kinds(self, task: str, before: datetime, least_share: float) -> tuple[tuple[str, ...], bool]:
        return (), True

    def pairs(self, sought: Sought) -> list[Pair]:
        self.asked.append(sought)
        self.when_asked()
        return [GOLDEN] * self.good

    def calls(self, task: str, version: int, since: datetime, p95_ms: int, p99_ms: int) -> list[Calls]:
        return []

    def complaints(self, task: str, since: datetime) -> list[Complaints]:
        return []

    def note(self, promotion: events.Promotion, reason: str, at: datetime) -> None:
        self.notes.append(reason)

    def close(self) -> None:
        pass


class Watched:
    """A ramp over the fakes."""

    def __init__(self, directory: Path) -> None:
        self.world = World(directory, a_task(ramp={"least_pairs": 50, "least_s": 0})).filled()
        self.world.launcher.report = STUDENT_ALONE
        self.observed = FakeObserved(self.world)
        world = self.world
        self.watch = RampWatch(world.tasks, world.state, world.desk, lambda: self.observed, world.actions.now)

    async def look(self) -> None:
        await self.watch.look(self.world.tasks["labels"])

    @property
    def policy(self) -> events.Policy:
        return self.world.state.promotion("labels").policy


@pytest.fixture
async def watched(tmp_path: Path) -> Watched:
    found = Watched(tmp_path)
    await found.world.a_run()
    return found


async def test_the_first_student_begins_unseen_with_the_reason(watched: Watched) -> None:
    assert watched.policy.kind == events.POLICY_KIND_SHADOW
    assert watched.world.state.promotion("labels").reason.endswith("; by the task's ramp it is asked unseen first")


async def test_while_clickhouse_is_away_the_watch_waits_and_then_goes_on(watched: Watched) -> None:
    watched.observed.away = True
    with pytest.raises(Overloaded):
        await watched.look()
    going_on = asyncio.create_task(watched.watch.go_on(0.01))
    for _ in range(5):
        await asyncio.sleep(0)
    assert watched.policy.kind == events.POLICY_KIND_SHADOW
    watched.observed.away = False
    changed = watched.world.desk.changed
    while watched.policy.kind != events.POLICY_KIND_STUDENT_ONLY:
        changed.clear()
        await changed.wait()
    going_on.cancel()
    shares = [made.policy.share for made in watched.world.promotions()]
    assert shares == [1.0, 0.01, 0.05, 0.25, 0.0]


async def test_a_stage_is_judged_by_pairs_since_it_began(watched: Watched) -> None:
    for _ in range(2):
        await watched.look()
    began = [made.decided_at.ToDatetime().replace(tzinfo=NOON.tzinfo) for made in watched.world.promotions()]
    assert [sought.since for sought in watched.observed.asked] == began[:2]


async def test_who_decides_while_it_looks_is_not_overruled(watched: Watched) -> None:
    desk, state = watched.world.desk, watched.world.state
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    watched.observed.when_asked = lambda: loop.call_soon_threadsafe(asked.set)
    async with desk.deciding:
        looking = asyncio.create_task(watched.look())
        await asked.wait()
        await desk.roll_back(state.promotion("labels"), "I do not like it", "ada")
    await looking
    assert state.promotion("labels").decided_by == "ada"


async def test_without_a_report_that_supports_anything_the_student_is_only_compared(watched: Watched) -> None:
    weak = STUDENT_ALONE.model_copy(update={"golden": 3})
    watched.world.state.known_run(watched.world.state.promotion("labels").run_id).report = weak.model_dump_json()
    await watched.look()
    assert watched.policy.kind == events.POLICY_KIND_SHADOW
    assert watched.observed.asked == []


async def test_without_a_ramp_a_student_has_all_calls_at_once(tmp_path: Path) -> None:
    world = World(tmp_path).filled()
    world.launcher.report = STUDENT_ALONE
    await world.a_run()
    assert world.state.promotion("labels").policy.kind == events.POLICY_KIND_STUDENT_ONLY
