"""A whole ramp on ClickHouse itself: what the sink writes goes in, promotions come out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uuid_utils

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.clickhouse import ClickHouse
from services.controller.pairs import ClickHousePairs
from services.controller.ramp import Decision, Move
from services.controller.ramp_watch import RampWatch
from services.controller.store import GOLDEN_COLUMNS
from services.settings import ClickHouseSettings
from services.sink import schema
from services.topics import EXCHANGES, FEEDBACK, PROMOTIONS, SHADOWS, encode
from tests.fixtures.tables import Tables
from tests.services.controller.world import NOON, World, a_report, a_score, a_task

pytestmark = pytest.mark.contract

RAMP = {"margin": 0.15, "least_pairs": 40, "least_s": 600}
STUDENT_ALONE = a_report(
    student=a_score(0.05, 0.03, 0.07),
    paired={
        "student_minus_teacher": {"difference": -0.05, "low": -0.08, "high": -0.02},
        "cascade_minus_teacher": {"difference": -0.05, "low": -0.08, "high": -0.02},
    },
)


@dataclass
class Ramped:
    """A world whose ramp is watched on ClickHouse, at a time that the test sets."""

    world: World
    database: ClickHouse
    now: datetime = NOON
    stored: int = 0
    made: int = 0
    watch: RampWatch = field(init=False)

    def __post_init__(self) -> None:
        self.restarted()

    def restarted(self) -> None:
        self.world.restarted()
        object.__setattr__(self.world.actions, "now", lambda: self.now)
        self.world.desk._now = lambda: self.now
        observed = ClickHousePairs(lambda: ClickHouse(self.database._settings))
        self.watch = RampWatch(self.world.tasks, self.world.state, self.world.desk, observed, lambda: self.now)

    def sink(self) -> None:
        """What was decided comes to ClickHouse."""
        decided = self.world.promotions()
        if new := decided[self.stored :]:
            Tables(self.database).load(*(encode(PROMOTIONS, one) for one in new))
        self.stored = len(decided)

    async def look(self) -> Decision | None:
        self.sink()
        return await self.watch.look(self.world.tasks["labels"])

    async def looks_later(self) -> Decision:
        """Looks once enough time has passed."""
        self.now += timedelta(minutes=20)
        decision = await self.look()
        assert decision is not None
        return decision

    def ask(self, calls: int, student: str = "yes", kind: str = "", **changes: Any) -> list[events.ShadowPair]:
        """Calls about which both are asked, from now on, a second each. The teacher says "yes"."""
        pairs = [self.pair(number, student, kind, **changes) for number in range(calls)]
        Tables(self.database).load(*(encode(SHADOWS, one) for one in pairs))
        return pairs

    def pair(self, number: int, student: str, kind: str, **changes: Any) -> events.ShadowPair:
        self.made += 1
        made = events.ShadowPair(
            id=str(uuid_utils.uuid7()),
            task="labels",
            group_key=f"group {self.made}",
            kind=kind,
            question="golden 1?",
            student_version=self.world.state.promotion("labels").student_version,
            probability=1.0,
            answered_by=inference.BACKEND_TEACHER,
            teacher=attempt("yes", inference.BACKEND_TEACHER, "0.01"),
            student=attempt(student, inference.BACKEND_STUDENT, "0.0001"),
            agreed=student == "yes",
        )
        for name, value in changes.items():
            setattr(made, name, value)
        made.asked_at.FromDatetime(self.now + timedelta(seconds=number))
        made.compared_at.FromDatetime(self.now + timedelta(seconds=number))
        return made

    @property
    def policy(self) -> events.Policy:
        return self.world.state.promotion("labels").policy


def attempt(answer: str, backend: inference.Backend, cost_usd: str) -> events.Attempt:
    message = inference.Message(role=inference.ROLE_ASSISTANT, content=answer)
    return events.Attempt(
        backend=backend, message=message, finish=inference.FINISH_STOP, latency_us=20_000, cost_usd=cost_usd
    )


@pytest.fixture
def database(clickhouse: str) -> Iterator[ClickHouse]:
    name = f"ramp_{uuid_utils.uuid7().hex}"
    connection = ClickHouse(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=name))
    schema.apply(connection)
    right = [("labels", "1", "golden 1?", "yes", "", "", {}, NOON)]
    connection.insert("golden", GOLDEN_COLUMNS, right, token="golden")
    yield connection
    connection.command(f"DROP DATABASE {name}")
    connection.close()


def ramped(database: ClickHouse, directory: Path, **ramp: Any) -> Ramped:
    world = World(directory, a_task(ramp=RAMP | ramp)).filled()
    world.launcher.report = STUDENT_ALONE
    return Ramped(world, database)


async def test_a_good_student_comes_from_unseen_to_all_calls(database: ClickHouse, tmp_path: Path) -> None:
    one = ramped(database, tmp_path)
    await one.world.a_run()
    assert one.policy.kind == events.POLICY_KIND_SHADOW
    seen = []
    for _ in range(4):
        one.ask(60)
        assert (await one.looks_later()).policy is not None
        seen.append((one.policy.kind, one.policy.share))
    share = events.POLICY_KIND_SHARE
    assert seen == [(share, 0.01), (share, 0.05), (share, 0.25), (events.POLICY_KIND_STUDENT_ONLY, 0.0)]
    told = [made.reason for made in one.world.promotions()]
    assert told[1].startswith("ramp: unseen -> 1 %, more wrong than the teacher 0.0 points [")
    assert "of 60, 15 allowed" in told[1]
    assert told[4].startswith("ramp: 25 % -> 100 %")
