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
from services.controller.takeover import CONTROLLER
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
        world, settings = self.world, self.database._settings
        self.watch = RampWatch(
            world.tasks, world.state, world.desk, lambda: ClickHousePairs(ClickHouse(settings)), lambda: self.now
        )

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


@pytest.fixture(scope="module")
def tables(clickhouse: str) -> Iterator[ClickHouse]:
    name = f"ramp_{uuid_utils.uuid7().hex}"
    connection = ClickHouse(ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=name))
    schema.apply(connection)
    right: list[tuple[Any, ...]] = [("labels", "1", "golden 1?", "yes", "", "", {}, NOON)]
    connection.insert("golden", GOLDEN_COLUMNS, right, token="golden")
    yield connection
    connection.command(f"DROP DATABASE {name}")
    connection.close()


@pytest.fixture
def database(tables: ClickHouse) -> ClickHouse:
    """The sink's tables, empty but for one golden example."""
    for name in ("exchanges", "feedback", "promotions", "ramp_looks", "shadows"):
        tables.command(f"TRUNCATE TABLE {name}")
    return tables


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


async def at_a_quarter(database: ClickHouse, directory: Path, **ramp: Any) -> Ramped:
    """A ramp whose student has 25 %."""
    one = ramped(database, directory, **ramp)
    run = await one.world.a_run()
    one.now += timedelta(minutes=20)
    share = events.Policy(kind=events.POLICY_KIND_SHARE, share=0.25)
    await one.world.desk.promote(one.world.state.promotion("labels"), share, run, "for the test", CONTROLLER)
    return one


async def test_a_student_that_turns_bad_goes_back_unseen_and_needs_new_pairs(
    database: ClickHouse, tmp_path: Path
) -> None:
    one = await at_a_quarter(database, tmp_path)
    one.ask(60)
    one.now += timedelta(minutes=1)
    one.ask(60, student="no")
    decision = await one.looks_later()
    assert decision.move is Move.ROLL_BACK
    assert (one.policy.kind, decision.reason[:31]) == (events.POLICY_KIND_SHADOW, "25 % -> unseen, surely too much")
    assert (await one.looks_later()).reason.startswith("unseen, waits for 40 more pairs")


async def test_an_answer_that_validators_refuse_counts_as_the_teachers_and_against_the_guard(
    database: ClickHouse, tmp_path: Path
) -> None:
    one = await at_a_quarter(database, tmp_path)
    one.now += timedelta(minutes=1)
    refused = [one.pair(number, "maybe", "", agreed=False) for number in range(60)]
    for made in refused:
        made.student.refusal = "one_of: is none of yes, no"
    Tables(database).load(*(encode(SHADOWS, made) for made in refused))
    decision = await one.looks_later()
    assert one.policy.kind == events.POLICY_KIND_TEACHER_ONLY
    assert decision.reason.startswith(
        "back to the teacher alone, as a guard is broken: answers refused by validators 100.0"
    )


async def test_calls_that_the_student_left_unanswered_break_a_guard(database: ClickHouse, tmp_path: Path) -> None:
    one = await at_a_quarter(database, tmp_path)
    one.now += timedelta(minutes=1)
    Tables(database).load(*(encode(EXCHANGES, fallen_back(one.now, number)) for number in range(40)))
    decision = await one.looks_later()
    assert decision.reason.startswith("back to the teacher alone, as a guard is broken: calls without an answer 100.0")


async def test_complaints_of_the_students_answers_are_held_against_those_of_the_teachers(
    database: ClickHouse, tmp_path: Path
) -> None:
    one = await at_a_quarter(database, tmp_path)
    one.now += timedelta(minutes=1)
    for backend, complained in ((inference.BACKEND_TEACHER, False), (inference.BACKEND_STUDENT, True)):
        calls = [answered(one.now, number, backend) for number in range(120)]
        Tables(database).load(*(encode(EXCHANGES, call) for call in calls))
        if complained:
            Tables(database).load(*(encode(FEEDBACK, dislike(call, one.now)) for call in calls))
    decision = await one.looks_later()
    assert "answers that callers complain of 100.0 %" in decision.reason
    assert one.policy.share == 0.05


async def test_only_the_kind_that_fails_stays_with_the_teacher(database: ClickHouse, tmp_path: Path) -> None:
    one = ramped(database, tmp_path)
    for kind in ("short", "long"):
        calls = [answered(NOON - timedelta(hours=1), number, inference.BACKEND_TEACHER, kind) for number in range(20)]
        Tables(database).load(*(encode(EXCHANGES, call) for call in calls))
    await one.world.a_run()
    for _ in range(4):
        one.ask(80, kind="short")
        one.ask(80, kind="long", student="no")
        await one.looks_later()
    assert dict(one.policy.share_of_kind) == {"short": 1.0, "long": 0.0}
    assert one.policy.share == 0.0, "a kind that nobody knows goes with the slowest"


async def test_a_correction_counts_where_the_call_was_drawn_and_not_where_it_was_only_wrong(
    database: ClickHouse, tmp_path: Path
) -> None:
    one = ramped(database, tmp_path)
    await one.world.a_run()
    pairs = one.ask(60, student="no", question="nobody knows?")
    Tables(database).load(*(encode(FEEDBACK, correction(made, "no", one.now)) for made in pairs))
    assert (await one.looks_later()).reason.startswith(
        "unseen, waits for 40 more pairs: more wrong than the teacher: noth"
    )
    Tables(database).load(*(encode(FEEDBACK, correction(made, "no", one.now, audit=1.0)) for made in pairs))
    assert (await one.looks_later()).reason.startswith("unseen -> 1 %, more wrong than the teacher -100.0 points")


async def test_a_customer_counts_once_a_day(database: ClickHouse, tmp_path: Path) -> None:
    one = ramped(database, tmp_path)
    await one.world.a_run()
    one.ask(60, group_key="acme")
    assert (await one.looks_later()).reason.startswith("unseen, waits for 39 more pairs")


async def test_a_new_controller_decides_the_same(database: ClickHouse, tmp_path: Path) -> None:
    one = await at_a_quarter(database, tmp_path)
    one.ask(60)
    one.restarted()
    assert (await one.looks_later()).move is Move.FINISH
    assert one.policy.kind == events.POLICY_KIND_STUDENT_ONLY


async def test_while_clickhouse_lacks_the_last_decision_nothing_is_decided(
    database: ClickHouse, tmp_path: Path
) -> None:
    one = await at_a_quarter(database, tmp_path)
    one.ask(60, student="no")
    one.now += timedelta(minutes=20)
    assert await one.watch.look(one.world.tasks["labels"]) is None
    assert one.policy.share == 0.25


async def test_what_a_person_rolled_back_is_left_alone(database: ClickHouse, tmp_path: Path) -> None:
    one = await at_a_quarter(database, tmp_path)
    await one.world.desk.roll_back(one.world.state.promotion("labels"), "I do not like it", "ada")
    one.ask(60)
    one.now += timedelta(minutes=20)
    assert await one.look() is None


async def test_why_it_stays_is_written_down_once_an_hour(database: ClickHouse, tmp_path: Path) -> None:
    one = ramped(database, tmp_path)
    await one.world.a_run()
    for _ in range(4):
        await one.looks_later()
    notes = database.query("SELECT reason FROM ramp_looks ORDER BY at")
    assert [note["reason"][:32] for note in notes] == ["unseen, waits for 40 more pairs:"] * 2


def answered(at: datetime, number: int, backend: inference.Backend, kind: str = "") -> events.Exchange:
    request = inference.Request(task="labels", metadata={"kind": kind} if kind else {})
    made = events.Exchange(
        id=str(uuid_utils.uuid7()), source="gateway", sequence=number + 1, request=request, origin="grpc"
    )
    made.outcome = events.OUTCOME_ANSWERED
    made.reply.answered_by, made.reply.message.content = backend, "yes"
    if backend == inference.BACKEND_STUDENT:
        made.reply.timings.student_us = 20_000
    made.started_at.FromDatetime(at + timedelta(seconds=number))
    made.finished_at.FromDatetime(at + timedelta(seconds=number + 1))
    return made


def fallen_back(at: datetime, number: int) -> events.Exchange:
    """A call that the student left to the teacher."""
    made = answered(at, number, inference.BACKEND_TEACHER)
    made.reply.timings.student_us = 5_000_000
    made.attempts.add(backend=inference.BACKEND_STUDENT, refusal="timeout: no answer within 5.00 s")
    return made


def dislike(call: events.Exchange, at: datetime) -> events.FeedbackRecord:
    return said(call.id, at, rating=-1)


def correction(pair: events.ShadowPair, right: str, at: datetime, audit: float = 0.0) -> events.FeedbackRecord:
    return said(pair.id, at, correction=right, metrics={"audit": audit} if audit else {})


def said(exchange_id: str, at: datetime, **what: Any) -> events.FeedbackRecord:
    made = events.FeedbackRecord(id=str(uuid_utils.uuid7()), exchange_id=exchange_id, task="labels", **what)
    made.created_at.FromDatetime(at)
    return made
