"""`tutelage decisions`, against the engine and the sink's own rows."""

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from protos import events_pb2 as events
from services.cli.commands import app
from services.screen import Screen
from services.topics import PROMOTIONS, encode
from tests.fixtures.tables import Tables
from tests.services.cli.test_snapshots import world
from tests.services.controller.world import World

__all__ = ["world"]
pytestmark = pytest.mark.contract

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def shown(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name in ("promotions", "ramp_looks"):
        tables.connection.command(f"TRUNCATE TABLE {name}")
    settings = tables.connection._settings
    monkeypatch.setenv("CLICKHOUSE_URL", settings.clickhouse_url)
    monkeypatch.setenv("CLICKHOUSE_DATABASE", settings.clickhouse_database)
    monkeypatch.setattr("services.cli.decisions.console", Screen(width=140))
    return CliRunner()


def decided(number: int, policy: events.Policy, reason: str, by: str = "controller") -> events.Promotion:
    made = events.Promotion(id=str(number), task="labels", student_version=3, reason=reason, decided_by=by)
    made.policy.CopyFrom(policy)
    made.decided_at.FromDatetime(NOON + timedelta(hours=number))
    return made


def put(tables: Tables) -> None:
    shadow = events.Policy(kind=events.POLICY_KIND_SHADOW, share=1)
    share = events.Policy(kind=events.POLICY_KIND_SHARE, share=0.01, share_of_kind={"long": 0.0})
    made = [decided(0, shadow, "the report supports it"), decided(2, share, "ramp: unseen -> 1 %, 412 pairs", "ada")]
    tables.load(*(encode(PROMOTIONS, one) for one in made))
    columns = ("task", "at", "promotion_id", "student_version", "reason")
    note = ("labels", NOON + timedelta(hours=1), "0", 3, "unseen, waits for 40 more pairs")
    tables.connection.insert("ramp_looks", columns, [note], token="one")


def test_it_says_what_was_decided_when_by_whom_and_why_and_why_nothing_was(shown: CliRunner, tables: Tables) -> None:
    put(tables)
    output = shown.invoke(app, ["decisions", "labels"]).output
    assert [line.rstrip() for line in output.splitlines()] == [
        "2026-01-02 12:00:00  teacher -> teacher, the student unseen in 100%, student version 3, by controller",
        "    the report supports it",
        "2026-01-02 13:00:00  stays, student version 3",
        "    unseen, waits for 40 more pairs",
        "2026-01-02 14:00:00  teacher, the student unseen in 100% -> share 1%, long 0% by the student, "
        "student version 3, by ada",
        "    ramp: unseen -> 1 %, 412 pairs",
    ]


@pytest.mark.parametrize("columns", [80, 100])
def test_the_whole_reason_is_there_however_narrow_the_screen(
    shown: CliRunner, tables: Tables, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr("services.cli.decisions.console", Screen(width=columns))
    why = " ".join(f"cause {number} of [many]" for number in range(30))
    tables.load(encode(PROMOTIONS, decided(0, events.Policy(kind=events.POLICY_KIND_STUDENT_ONLY), why)))
    _heading, *reason = shown.invoke(app, ["decisions", "labels"]).output.splitlines()
    assert " ".join(line.strip() for line in reason) == why
    assert all(line.startswith("    ") and len(line) <= columns for line in reason)


def test_it_shows_so_many_with_what_the_first_of_them_followed(shown: CliRunner, tables: Tables) -> None:
    put(tables)
    heading, _reason = shown.invoke(app, ["decisions", "labels", "--last", "1", "--no-notes"]).output.splitlines()
    assert heading.startswith("2026-01-02 14:00:00  teacher, the student unseen in 100% -> share 1%")


def test_of_a_task_that_nobody_decided_about_it_says_so(shown: CliRunner, world: World) -> None:
    told = shown.invoke(app, ["decisions", "labels"])
    assert (told.exit_code, told.output) == (0, "nothing was decided about labels yet: the teacher answers\n")


def test_of_a_task_that_there_is_not_it_says_which_there_are(shown: CliRunner, world: World) -> None:
    told = shown.invoke(app, ["decisions", "nosuch"])
    assert told.exit_code == 1
    assert "task: 'nosuch' is not defined; defined are labels" in told.output
